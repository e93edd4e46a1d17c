"""The OpenAPI document of a listener, made of its operations and of the types they answer with."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from linkjolt import __version__
from linkjolt.api.registry_answers import BulkRefused
from linkjolt.reasons import Problem

Method = Literal["GET", "HEAD", "POST", "PATCH", "DELETE"]
# What a schema is, for want of a type of its own (https://spec.openapis.org/oas/v3.1.0).
Schema = dict[str, Any]
_REF = "#/components/schemas/{name}"
JSON = "application/json"
_PROBLEM = "application/problem+json"
# Money and rates are read as a number or its text, and answered as a number.
_AMOUNT: Schema = {"type": ["number", "string"]}
_TITLES = {
    200: "Done.",
    201: "Made.",
    202: "Accepted; it is on disk.",
    204: "Gone.",
    302: "Onward.",
}


class Body(msgspec.Struct, frozen=True):
    """A body of a media type: one of some msgspec types, or what `schema` says.

    As a `page` it is a list of these, as `results` one for each of many, which may be refused.
    """

    types: tuple[object, ...] = ()
    media: str = JSON
    schema: Schema | None = None
    shape: Literal["one", "page", "results"] = "one"


def of(*types: object) -> Body:
    """A JSON body that is one of these."""
    return Body(types)


def text_body(media: str = "text/plain") -> Body:
    """A body that is a text."""
    return Body(media=media)


def page_of(kind: object) -> Body:
    """The answer of a list of these."""
    return Body((kind,), shape="page")


def results_of(kind: object) -> Body:
    """The answer to many at once: one of these for each that was not refused."""
    return Body((kind,), shape="results")


class Parameter(msgspec.Struct, frozen=True):
    """A parameter of the query, of a text unless its schema says otherwise."""

    name: str
    description: str
    schema: Schema = msgspec.field(default_factory=lambda: {"type": "string"})


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path. `scope` is what its key needs: None for no key, '' for any.

    `answers` are by status, None for an empty one; `refusals` the statuses of its problems beside
    those that every operation has.
    """

    method: Method
    path: str
    summary: str
    answers: Mapping[int, Body | None]
    scope: str | None = None
    bodies: Sequence[Body] = ()
    query: Sequence[Parameter] = ()
    refusals: Sequence[int] = ()


def paging() -> tuple[Parameter, ...]:
    """The parameters of every list."""
    return (
        Parameter("limit", "At most so many entries.", {"type": "integer"}),
        Parameter("cursor", "Where the page before said that the next one begins."),
    )


def document(operations: Sequence[Operation], server_url: str) -> bytes:
    """The document, in JSON."""
    kinds = list(dict.fromkeys([*_kinds(operations), Problem, BulkRefused]))
    refs, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    schemas: dict[object, Schema] = dict(zip(kinds, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, schemas)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "LinkJolt",
                "version": __version__,
                "description": "Clicks and conversions of affiliate links, each counted once.",
            },
            "servers": [{"url": server_url}],
            "paths": paths,
            "components": {
                "schemas": _with_amounts(components),
                "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _kinds(operations: Sequence[Operation]) -> Iterator[object]:
    for one in operations:
        for body in (*one.bodies, *one.answers.values()):
            if body is not None:
                yield from body.types


def _operation(one: Operation, schemas: Mapping[object, Schema]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "summary": one.summary,
        "responses": _responses(one, schemas),
    }
    if one.scope is not None:
        said["security"] = [{"key": []}]
    if one.scope:
        said["description"] = f"The key needs the scope {one.scope}."
    named = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in named
    ]
    parameters += [
        {"name": p.name, "in": "query", "description": p.description, "schema": p.schema}
        for p in one.query
    ]
    if parameters:
        said["parameters"] = parameters
    if one.bodies:
        content = {body.media: {"schema": _schema(body, schemas)} for body in one.bodies}
        said["requestBody"] = {"required": True, "content": content}
    return said


def _responses(one: Operation, schemas: Mapping[object, Schema]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, body in one.answers.items():
        answer: dict[str, Any] = {"description": _TITLES[status]}
        if body is not None:
            answer["content"] = {body.media: {"schema": _schema(body, schemas)}}
        found[str(status)] = answer
    problem = {"schema": schemas[Problem]}
    for status in sorted({*_refusals(one), *one.refusals}):
        found[str(status)] = {"description": "Refused.", "content": {_PROBLEM: problem}}
    return found


def _refusals(one: Operation) -> Iterator[int]:
    """What any operation of its kind may be refused with."""
    yield from (400, 414, 431, 503)
    if one.scope is not None:
        yield from (401, 403)
    if one.bodies:
        yield from (413, 415, 422)
    if one.query:
        yield 422


def _schema(body: Body, schemas: Mapping[object, Schema]) -> Schema:
    if not body.types:
        return body.schema or {"type": "string"}
    kinds = [schemas[kind] for kind in body.types]
    if body.shape == "results":
        kinds.append(schemas[BulkRefused])
    one = kinds[0] if len(kinds) == 1 else {"anyOf": kinds}
    if body.shape == "one":
        return one
    more: dict[str, Schema] = {"next_cursor": {"type": ["string", "null"]}}
    if body.shape == "results":
        more = {"accepted": {"type": "integer"}, "rejected": {"type": "integer"}}
    properties = {"data": {"type": "array", "items": one}, **more}
    return {"type": "object", "properties": properties, "required": [*properties]}


def _with_amounts(schema: Any) -> Any:
    if isinstance(schema, dict):
        fields: dict[str, Any] = schema  # pyright: ignore[reportUnknownVariableType]
        if fields.get("format") == "decimal":
            return _AMOUNT
        return {name: _with_amounts(value) for name, value in fields.items()}
    if isinstance(schema, list):
        return [_with_amounts(part) for part in schema]  # pyright: ignore[reportUnknownVariableType]
    return schema
