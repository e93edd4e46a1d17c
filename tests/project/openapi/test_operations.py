"""Every operation is documented as a developer needs it, and its examples fit its schemas."""

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from tests.project.openapi.conftest import DOCUMENTS, OPERATIONS

_CAMEL_CASE = re.compile(r"[a-z]+([A-Z][a-z]+)+|[a-z]+")
_SENTENCE = re.compile(r"[A-Z][^.]*\.")
_VERBS = (
    *(
        "Add",
        "Adjust",
        "Attribute",
        "Change",
        "Check",
        "Create",
        "Delete",
        "Erase",
        "Export",
        "Follow",
        "Get",
        "List",
        "Make",
        "Open",
    ),
    *("Post", "Preview", "Receive", "Record", "Replay", "Resend", "Revoke", "Rotate", "Send"),
    *("Sign", "Stream", "Turn", "Update"),
)
_NAME = re.compile(r"[A-Z][A-Za-z]*")
_VAGUE = {"Judged", "Listed", "Fact", "Found", "Wanted", "Page", "Meta", "Row", "Result"}


def each() -> list[Any]:
    """Every operation of every document, as pytest parameters."""
    return [
        pytest.param(document, operation, id=f"{name} {method} {path}")
        for name, document in DOCUMENTS.items()
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The media types of the request body and of every success answer."""
    yield from operation.get("requestBody", {}).get("content", {}).items()
    for status, answer in operation["responses"].items():
        if status < "300":
            yield from answer.get("content", {}).items()


@pytest.mark.parametrize(("document", "operation"), each())
def test_an_operation_has_an_id_a_tag_a_summary_and_a_description(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    tags = {tag["name"]: tag["description"] for tag in document["tags"]}
    assert _CAMEL_CASE.fullmatch(operation["operationId"])
    (tag,) = operation["tags"]
    assert tags[tag]
    assert _SENTENCE.fullmatch(operation["summary"])
    assert operation["summary"].split()[0] in _VERBS
    assert operation["description"].partition("\n")[0].endswith(".")
    parameters = operation.get("parameters", ())
    assert all(parameter["description"].endswith(".") for parameter in parameters)


@pytest.mark.parametrize(("document", "operation"), each())
def test_its_examples_are_as_its_schemas_say(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    for media, content in contents(operation):
        assert "example" in content, media
        schema = {**content["schema"], "components": document["components"]}
        jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate(
            content["example"]
        )


@pytest.mark.parametrize("name", DOCUMENTS)
def test_examples_of_problems_are_problems(name: str) -> None:
    components = DOCUMENTS[name]["components"]
    for response in components["responses"].values():
        content = response["content"]["application/problem+json"]
        schema = {**content["schema"], "components": components}
        jsonschema_rs.Draft202012Validator(schema).validate(content["example"])
        assert content["example"]["type"] == f"/docs/errors#{content['example']['code']}"


def test_an_id_names_one_operation_on_both_listeners() -> None:
    places: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for operations in OPERATIONS.values():
        ids = [one.id for one in operations]
        assert len(set(ids)) == len(ids)
        for one in operations:
            places[one.id].add((one.method, one.path))
    assert not {id: found for id, found in places.items() if len(found) > 1}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_valid_openapi(name: str) -> None:
    validate(DOCUMENTS[name])


@pytest.mark.parametrize("name", DOCUMENTS)
def test_schemas_have_public_names(name: str) -> None:
    names = set(DOCUMENTS[name]["components"]["schemas"])
    assert all(_NAME.fullmatch(schema) for schema in names)
    assert not names & _VAGUE


def test_aliases_of_a_conversion_are_listed_where_they_are_accepted() -> None:
    properties = DOCUMENTS["edge"]["components"]["schemas"]["ConversionPost"]["properties"]
    assert properties["orderValue"]["description"] == "Alias of `order_value`."
    assert properties["trackingCode"]["anyOf"] == properties["tracking_code"]["anyOf"]


def test_headers_are_declared_where_they_are_sent() -> None:
    paths, components = DOCUMENTS["edge"]["paths"], DOCUMENTS["edge"]["components"]
    assert "Location" in paths["/{tracking_code}"]["get"]["responses"]["302"]["headers"]
    assert "Retry-After" in components["responses"]["Unavailable"]["headers"]
    report = DOCUMENTS["reports"]["paths"]["/v1/reports"]["get"]["responses"]
    assert {"ETag", "X-Data-As-Of"} <= report["304"]["headers"].keys()
    for methods in paths.values():
        for operation in methods.values():
            for response in operation["responses"].values():
                answer = response
                if "$ref" in response:
                    answer = components["responses"][response["$ref"].rpartition("/")[2]]
                assert "X-Request-Id" in answer["headers"]


@pytest.mark.parametrize(("document", "operation"), each())
def test_an_operation_with_a_key_has_the_headers_of_rate_limits_and_their_refusal(
    document: dict[str, Any], operation: dict[str, Any]
) -> None:
    if not any("key" in way for way in operation.get("security", ())):
        return
    limits = {"RateLimit", "RateLimit-Policy"}
    limits |= {f"X-RateLimit-{name}" for name in ("Limit", "Remaining", "Reset")}
    for status, answer in operation["responses"].items():
        shared = answer.get("$ref", "").rpartition("/")[2]
        described = document["components"]["responses"][shared] if shared else answer
        if status < "300" or status == "429":
            assert limits <= described["headers"].keys(), status
        if status == "429":
            assert "Retry-After" in described["headers"]
    assert "429" in operation["responses"]
