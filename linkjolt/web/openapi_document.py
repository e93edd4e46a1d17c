"""Makes the OpenAPI document of a listener from its operations and the types they exchange."""

from collections.abc import Iterator, Mapping, Sequence
from inspect import cleandoc
from typing import Any, cast

import msgspec

from linkjolt import __version__
from linkjolt.reasons import Problem, Reason, RefusedEntry, Rejected
from linkjolt.registry.entries import SCOPES
from linkjolt.web.openapi import HEADERS, TAGS, Body, Operation, Schema

_REF = "#/components/schemas/{name}"
_PROBLEM = "application/problem+json"
# Money and rates are read as a number or a string, and answered as a number.
_AMOUNT: Schema = {
    "anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"}]
}
_ANSWERED = {
    200: "OK.",
    201: "Created.",
    202: "Accepted; the conversion is on disk.",
    204: "Deleted.",
    302: "Redirect to the destination.",
    304: "Not modified: the copy that `If-None-Match` names is current.",
}
# The problems by status: the name of the shared response, a reason that it may have, and a text.
_REFUSED = {
    400: ("BadRequest", Reason.bad_request, "The request is malformed."),
    401: ("Unauthorized", Reason.unauthorized, "The request carries no valid API key."),
    403: ("Forbidden", Reason.forbidden, "The API key lacks the scope."),
    404: ("NotFound", Reason.not_found, "There is no such object."),
    409: ("Conflict", Reason.conflict, "The request conflicts with the stored state."),
    410: ("Gone", Reason.gone, "The tracking link is closed."),
    413: ("ContentTooLarge", Reason.body_too_large, "The body is too large."),
    414: ("UrlTooLong", Reason.url_too_long, "The URL is too long."),
    415: (
        "UnsupportedMediaType",
        Reason.unsupported_media_type,
        "The body has another media type than those declared, or a content encoding.",
    ),
    422: (
        "Unprocessable",
        Reason.invalid_field,
        "A field or parameter is missing, unknown or invalid.",
    ),
    429: (
        "TooMany",
        Reason.rate_limited,
        "The key, its account or the address sent too many requests, has too much open or waiting,"
        " or sent too many click ids that were not genuine.",
    ),
    431: ("HeadTooLarge", Reason.head_too_large, "The request's head is too large."),
    503: (
        "Unavailable",
        Reason.unavailable,
        "A server that this one depends on is unavailable; nothing was changed.",
    ),
}
_PATH_PARAMETERS = {
    "id": "The public id, such as `cmp_1`.",
    "conversion_id": "The id of the conversion, `conv_…`.",
    "webhook_id": "The id of the delivery, `msg_…`, as its `webhook-id` header carried it.",
    "tracking_code": "The link's code; with a `+` at its end the link is shown, not followed.",
    "dialect": "Whose parameter names are used, such as `voluum` or `keitaro`.",
    "name": "The path of the file.",
}
_OF_EVERY_ANSWER = ("X-Request-Id", "Cache-Control", "X-Content-Type-Options")
_OF_REDIRECTS = ("X-Request-Id",)
_OF_RATE_LIMITS = (
    "RateLimit-Policy",
    "RateLimit",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
)
_FOUND = 302
TOKEN_PATH = "/oauth/token"
_WHOLE_SCOPES = {"admin": "Do everything.", "postback": "Send postbacks."}


def document(operations: Sequence[Operation], server_url: str, edge_url: str = "") -> bytes:
    """The document, in JSON; tokens are issued at `edge_url`, by default this server's."""
    used = {one.tag for one in operations}
    schemas = _Schemas(operations)
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
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": server_url}],
            "tags": [
                {"name": name, "description": text} for name, text in TAGS.items() if name in used
            ],
            "paths": paths,
            "components": {
                "schemas": dict(sorted(schemas.components.items())),
                "responses": {name: _problem(status) for status, (name, *_) in _REFUSED.items()},
                "headers": {
                    name: {"description": text, "schema": {"type": "string"}}
                    for name, text in HEADERS.items()
                },
                "securitySchemes": _security_schemes(edge_url or server_url),
            },
        }
    )


def _security_schemes(edge_url: str) -> dict[str, Any]:
    flow = {
        "tokenUrl": f"{edge_url}{TOKEN_PATH}",
        "scopes": {scope: _scope_text(scope) for scope in SCOPES},
    }
    return {
        "key": {"type": "http", "scheme": "bearer"},
        "keyInQuery": {"type": "apiKey", "in": "query", "name": "key"},
        "token": {"type": "oauth2", "flows": {"clientCredentials": flow}},
        "client": {"type": "http", "scheme": "basic"},
        "session": {"type": "apiKey", "in": "cookie", "name": "linkjolt_session"},
    }


def _scope_text(scope: str) -> str:
    """Describes a scope such as `links:read`: Read links."""
    noun, _, verb = scope.partition(":")
    return f"{verb.capitalize()} {noun}." if verb else _WHOLE_SCOPES[scope]


class _Schemas:
    """The schemas of all bodies; lists and results get components of their own."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        kinds = list(dict.fromkeys([*_kinds(operations), Problem, RefusedEntry]))
        refs, found = msgspec.json.schema_components(kinds, ref_template=_REF)
        self.components: dict[str, Schema] = {}
        for name, schema in found.items():
            public = _public_name(name)
            assert public not in self.components, f"{name} is not the only {public}"
            self.components[public] = _published(schema)
        self._refs = {kind: _published(ref) for kind, ref in zip(kinds, refs, strict=True)}

    def of(self, body: Body) -> Schema:
        if not body.types:
            return _published(body.schema or {"type": "string"})
        kinds = [self._refs[kind] for kind in body.types]
        if body.aliases:
            self._add_aliases(kinds[0], body.aliases)
        if body.shape in ("page", "counted"):
            total: dict[str, Schema] = {"total": {"type": "integer"}}
            more: dict[str, Schema] = {
                **(total if body.shape == "counted" else {}),
                "next_cursor": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            }
            return self._list(f"{_name_in(kinds[0])}Page", kinds[0], more)
        if body.shape == "results":
            more = {"accepted": {"type": "integer"}, "rejected": {"type": "integer"}}
            entry = {"anyOf": [kinds[0], self._refs[RefusedEntry]]}
            return self._list(f"{_name_in(kinds[0])}Results", entry, more)
        return kinds[0] if len(kinds) == 1 else {"anyOf": kinds}

    def problem(self) -> Schema:
        return self._refs[Problem]

    def _list(self, name: str, entry: Schema, more: Mapping[str, Schema]) -> Schema:
        properties = {"data": {"type": "array", "items": entry}, **more}
        self.components[name] = {
            "title": name,
            "type": "object",
            "properties": properties,
            "required": [*properties],
        }
        return {"$ref": _REF.format(name=name)}

    def _add_aliases(self, ref: Schema, aliases: Mapping[str, str]) -> None:
        properties = self.components[_name_in(ref)]["properties"]
        for alias, name in aliases.items():
            properties[alias] = {**properties[name], "description": f"Alias of `{name}`."}


def _kinds(operations: Sequence[Operation]) -> Iterator[object]:
    for one in operations:
        for body in (
            *one.bodies,
            *(body for answer in one.answers.values() for body in _each(answer)),
        ):
            yield from body.types


def _each(answer: Body | tuple[Body, ...] | None) -> tuple[Body, ...]:
    if answer is None:
        return ()
    return (answer,) if isinstance(answer, Body) else answer


def _operation(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": one.id,
        "tags": [one.tag],
        "summary": one.summary,
        "description": _description(one),
        "responses": _responses(one, schemas),
    }
    if one.for_clients:
        described["security"] = [{"client": []}]
    if one.by_session:
        described["security"] = [{"session": []}]
    elif one.scope is not None:
        described["security"] = list(_security(one, one.scope))
    if one.live_only:
        described["x-live-only"] = True
    if one.narrows:
        described["x-narrows-to-affiliate"] = True
    parameters = [*_path_parameters(one), *_parameters(one)]
    if parameters:
        described["parameters"] = parameters
    if one.bodies:
        described["requestBody"] = {"required": True, "content": _content(one.bodies, schemas)}
    return described


def _security(one: Operation, scope: str) -> Iterator[dict[str, list[str]]]:
    """Yields the ways to be authorized: the scopes of a key or token, all of which it needs."""
    for place in ("key", "keyInQuery", "token") if one.key_in_query else ("key", "token"):
        for way in scope.split(" or "):
            yield {place: way.split(" and ") if way else []}


def _description(one: Operation) -> str:
    if one.by_session:
        return f"{one.description}\n\nRequires a session, and `X-CSRF-Token` unless it only reads."
    if one.scope is None:
        return one.description
    scopes = one.scope.replace(" or ", "` or `").replace(" and ", "` and `")
    noun = "scopes" if " and " in scopes else "scope"
    needs = f"the {noun} `{scopes}`" if one.scope else "any API key"
    live = ", of a live key: a test key changes nothing that is live" if one.live_only else ""
    narrows = " A key bound to an affiliate is answered what is of it." if one.narrows else ""
    return f"{one.description}\n\nRequires {needs}{live}.{narrows}"


def _path_parameters(one: Operation) -> Iterator[dict[str, Any]]:
    for name in [part[1:-1] for part in one.path.split("/") if part.startswith("{")]:
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": _PATH_PARAMETERS[name],
            "schema": {"type": "string"},
        }


def _parameters(one: Operation) -> Iterator[dict[str, Any]]:
    for parameter in one.parameters:
        yield {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
            "description": parameter.description,
            "schema": parameter.schema,
        }


def _content(bodies: Sequence[Body], schemas: _Schemas) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for body in bodies:
        content[body.media] = {"schema": schemas.of(body)}
        if body.example is not None:
            content[body.media]["example"] = body.example
    return content


def _responses(one: Operation, schemas: _Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status, answer in one.answers.items():
        always = _OF_REDIRECTS if status == _FOUND else _OF_EVERY_ANSWER
        always += _OF_RATE_LIMITS if one.scope is not None else ()
        described: dict[str, Any] = {
            "description": one.texts.get(status) or _ANSWERED[status],
            "headers": _header_refs(*always, *one.headers.get(status, ())),
        }
        if answer is not None:
            described["content"] = _content(_each(answer), schemas)
        found[str(status)] = described
    for status in sorted({*_refusals(one), *one.refusals} - one.answers.keys()):
        found[str(status)] = {"$ref": f"#/components/responses/{_REFUSED[status][0]}"}
    return found


def _header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(one: Operation) -> Iterator[int]:
    """The statuses with which any operation of its kind may be refused."""
    yield from (400, 414, 431, 503)
    if one.scope is not None:
        yield from (401, 403, 429)
    if one.bodies and not one.for_clients:
        yield from (413, 415, 422)
    if one.parameters:
        yield 422


def _problem(status: int) -> dict[str, Any]:
    """The shared response of a refusal."""
    _, reason, text = _REFUSED[status]
    refused = Rejected(reason, text.rstrip("."))
    if status == 422:
        refused = Rejected(Reason.missing_field, "is required", field="order_value")
    example = msgspec.to_builtins(refused.problem("5f0c2a9be1d34708"))
    sent = [*_OF_EVERY_ANSWER]
    sent += ["WWW-Authenticate"] if status == 401 else []
    sent += ["Retry-After"] if status in (429, 503) else []
    sent += _OF_RATE_LIMITS if status in (403, 429) else []
    sent += ["Accept-Encoding"] if status == 415 else []
    content = {"schema": {"$ref": _REF.format(name="Problem")}, "example": example}
    return {
        "description": text,
        "headers": _header_refs(*sent),
        "content": {_PROBLEM: content},
    }


def _public_name(name: str) -> str:
    """The name of a type's schema: `CampaignAnswer` is published as `Campaign`."""
    return name.removesuffix("Answer") or name


def _name_in(ref: Schema) -> str:
    return str(ref["$ref"]).rpartition("/")[2]


def _published(schema: Any) -> Any:
    """A schema of msgspec as it is published.

    Amounts are numbers or strings, names are public, patterns are ECMA-262 (which has no `\\Z`),
    and `kind` alone tells variants apart: validators refuse a discriminator with a mapping.
    """
    if isinstance(schema, list):
        return [_published(part) for part in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast(dict[str, Any], schema)
    if fields.get("format") == "decimal":
        return _AMOUNT
    found = {name: _published(value) for name, value in fields.items() if name != "discriminator"}
    if isinstance(fields.get("title"), str):
        found["title"] = _public_name(fields["title"])
    if isinstance(fields.get("enum"), list) and all(isinstance(one, str) for one in fields["enum"]):
        found["type"] = "string"
    if isinstance(fields.get("description"), str):
        found["description"] = cleandoc(fields["description"])
    if isinstance(fields.get("pattern"), str):
        found["pattern"] = fields["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
    if isinstance(fields.get("$ref"), str):
        found["$ref"] = _REF.format(name=_public_name(_name_in(fields)))
    return found
