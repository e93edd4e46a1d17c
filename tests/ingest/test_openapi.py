"""The document of the edge: every route is in it, and what is written by hand is as it says."""

import re
from typing import Any

import msgspec
import pytest
from starlette.routing import Route

from ingest.app import routed
from ingest.operations import operations
from linkjolt.conversions.answer import ConversionAnswer
from linkjolt.conversions.history import AdjustmentAnswer, ConversionDetailsAnswer
from linkjolt.reasons import Reason
from linkjolt.web.requests import NDJSON
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_http import ORDER


async def test_every_route_of_an_edge_has_its_place_in_the_document(shop: Shop) -> None:
    served = {
        (method, route.path)
        for route in routed(shop.edge).routes
        if isinstance(route, Route)
        for method in route.methods or ()
        # Starlette lets HEAD in wherever GET is.
        if method != "HEAD"
    }
    told = {(one.method, one.path) for one in operations() if one.method != "HEAD"}
    assert served == told


async def test_the_document_is_served_for_machines_and_for_people(shop: Shop) -> None:
    document = (await shop.client.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    page = await shop.client.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text)
    assert len(files) == 3
    for file in files:
        answer = await shop.client.get(file)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    assert "<script>" not in page.text


@pytest.mark.parametrize("media_type", NDJSON)
async def test_every_media_type_of_lines_is_accepted(shop: Shop, media_type: str) -> None:
    answer = await shop.post(ORDER, **{"Content-Type": media_type})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 1


async def test_a_problem_leads_to_what_to_do_about_it(shop: Shop) -> None:
    refused = await shop.post({"tracking_code": "nobody", "order_id": "e1"})
    problem = refused.json()
    assert problem["detail"] == "order_value is required."
    assert problem["errors"] == [{"field": "order_value", "message": "is required"}]
    path, _, anchor = problem["type"].partition("#")
    page = await shop.client.get(path)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert f'<section id="{anchor}">' in page.text
    assert page.text.count("<section ") == len(Reason)


def strictly(kind: type[msgspec.Struct], content: bytes) -> Any:
    """The answer as the document has it; fails where a field is missing."""
    read = msgspec.json.decode(content, type=kind, strict=False)
    given = msgspec.json.decode(content)
    unknown = given.keys() - set(kind.__struct_fields__)
    assert not unknown
    return read


async def test_answers_written_by_hand_have_the_fields_of_their_types(shop: Shop) -> None:
    made = await shop.post(ORDER)
    conversion: ConversionAnswer = strictly(ConversionAnswer, made.content)
    path = f"/v1/conversions/{conversion.conversion_id}"
    body = {"kind": "refund", "adjustment_id": "a", "amount": 1}
    adjusted = await shop.post(body, path=f"{path}/adjustments")
    answer: AdjustmentAnswer = strictly(AdjustmentAnswer, adjusted.content)
    read: ConversionDetailsAnswer = strictly(
        ConversionDetailsAnswer, (await shop.get(path)).content
    )
    assert read == answer.conversion
    assert len(read.history) == 2
