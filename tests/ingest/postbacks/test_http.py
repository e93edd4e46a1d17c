"""Postbacks and the pixel are recorded once, adjust later, and reveal nothing."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest

from ingest.postbacks.http import PIXEL
from linkjolt.datasets import Account
from linkjolt.registry.entries import ApiKey
from tests.ingest.conftest import Shop, add_campaign, make_key
from tests.ingest.conversions.test_http import click_id
from tests.ingest.producers import Lossy

DOCUMENT = Path(__file__).parents[3] / "docs" / "postbacks.md"


async def call(shop: Shop, path: str = "/postback", **parameters: Any) -> httpx2.Response:
    key = parameters.pop("key", None) or await make_key(shop.registry, ["postback"])
    return await shop.client.get(f"{path}?{urlencode(parameters | {'key': key})}")


async def test_a_postback_is_a_conversion(shop: Shop) -> None:
    click = click_id(shop)
    answer = await call(shop, click_id=click, payout="99.99", order_id="o1", status="approved")
    assert (answer.status_code, answer.text) == (200, "OK")
    [stored] = await shop.conversions()
    assert (stored.click_id, stored.order_id, stored.status) == (click, "o1", "approved")
    assert (stored.order_value_minor, stored.commission_minor, stored.event) == (9999, 2999, "sale")


async def test_told_again_it_is_not_doubled_and_answers_what_is_wanted(shop: Shop) -> None:
    parameters = {"click_id": click_id(shop), "payout": "10", "return": "success=true;"}
    answers = [await call(shop, **parameters) for _ in range(3)]
    assert [answer.text for answer in answers] == ["success=true;"] * 3
    assert answers[0].headers["content-type"] == "text/plain; charset=utf-8"
    assert len(await shop.facts()) == 1


async def test_a_later_amount_restates_and_a_status_approves_or_rejects(shop: Shop) -> None:
    click = click_id(shop)
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="lead")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="lead", payout="20")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="sale")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="sale", payout="20")
    await call(shop, "/postback/keitaro", subid=click, tid="o1", status="rejected")
    assert len(await shop.conversions()) == 1
    facts = [(fact.kind, fact.refundable_now) for fact in await shop.adjustments()]
    assert facts == [("restated", 2000), ("approved", 2000), ("rejected", 2000)]


async def test_a_first_postback_that_rejects_is_kept_as_rejected(shop: Shop) -> None:
    await call(shop, click_id=click_id(shop), payout="5", order_id="o1", status="declined")
    assert len(await shop.conversions()) == 1
    assert [fact.kind for fact in await shop.adjustments()] == ["rejected"]


async def test_a_form_and_a_json_object_are_postbacks_too(shop: Shop) -> None:
    key = await make_key(shop.registry, ["postback"])
    headers = {"Authorization": f"Bearer {key}"}
    parameters = {"click_id": click_id(shop), "payout": "5"}
    form = await shop.client.post("/postback", headers=headers, data=parameters | {"order_id": "a"})
    json = await shop.client.post("/postback", headers=headers, json=parameters | {"order_id": "b"})
    assert (form.status_code, json.status_code) == (200, 200)
    assert [stored.order_id for stored in await shop.conversions()] == ["a", "b"]


@pytest.mark.parametrize("executed", [False, True])
async def test_while_redis_is_away_it_is_to_be_sent_again(shop: Shop, executed: bool) -> None:
    producer = shop.edge.conversion_publishers[0].producer
    producer.publish = Lossy(producer.publish, 1, executed=executed)
    parameters = {"click_id": click_id(shop), "payout": "5", "status": "rejected"}
    answer = await call(shop, **parameters)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (await call(shop, **parameters)).status_code == 200
    assert [stored.order_value_minor for stored in await shop.conversions()] == [500]
    assert [fact.kind for fact in await shop.adjustments()] == ["rejected"]


REFUSED: list[tuple[str, dict[str, str], int, str]] = [
    ("/postback/none", {"click_id": "x"}, 404, "dialect"),
    ("/postback", {"key": "lj_live_x", "click_id": "x"}, 401, ""),
    ("/postback/voluum", {"cid": "x", "payout": "a"}, 422, "payout"),
    ("/postback", {"payout": "1"}, 422, "tracking_code"),
    ("/postback", {"click_id": "x", "return": "a\nb"}, 422, "return"),
    ("/postback", {"tracking_code": "none", "order_id": "o"}, 422, "tracking_code"),
]


@pytest.mark.parametrize(("path", "parameters", "status", "field"), REFUSED)
async def test_a_bad_postback_is_refused_and_changes_nothing(
    shop: Shop, path: str, parameters: dict[str, str], status: int, field: str
) -> None:
    answer = await call(shop, path, **parameters)
    assert answer.status_code == status
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])
    assert await shop.facts() == []


async def test_a_key_needs_the_scope_and_the_campaign(shop: Shop) -> None:
    parameters = {"click_id": click_id(shop), "payout": "1"}
    reader = await make_key(shop.registry, ["reports:read"])
    assert (await call(shop, key=reader, **parameters)).status_code == 403
    other = await make_key(shop.registry, ["postback"], campaign=99)
    assert (await call(shop, key=other, **parameters)).status_code == 403
    assert (await shop.client.get("/postback?click_id=x")).status_code == 401
    bound = await make_key(shop.registry, ["postback"], campaign=shop.link.campaign)
    assert (await call(shop, key=bound, **parameters)).status_code == 200


async def test_a_bound_key_touches_no_order_of_another_campaign(shop: Shop) -> None:
    await call(shop, click_id=click_id(shop), payout="5", order_id="o1", status="approved")
    link = await add_campaign(shop)
    bound = await make_key(shop.registry, ["postback"], campaign=link.campaign)
    parameters = {"tracking_code": link.tracking_code, "order_id": "o1", "status": "rejected"}
    assert (await call(shop, key=bound, **parameters)).status_code == 200
    [_, second] = await shop.conversions()
    assert (second.campaign, second.all_notes) == (link.campaign, ("order_in_two_campaigns",))
    assert {fact.conversion_id for fact in await shop.adjustments()} == {second.conversion_id}


async def test_a_signed_call_needs_no_key_in_its_url(shop: Shop) -> None:
    key = await make_key(shop.registry, ["postback"])
    number = max([entry.number async for entry in shop.registry.iterate(ApiKey, Account(1))])
    code = re.search(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    names: dict[str, Any] = {}
    exec(code[1], names)
    query = names["signed"](f"click_id={click_id(shop)}&payout=5", f"key_{number}", key)
    assert (await shop.client.get(f"/postback?{query}")).status_code == 200
    for broken in (
        query.replace("payout=5", "payout=6"),
        query[:-1],
        query + "&payout=6",
        query.replace(f"key_{number}", "key_999"),
        re.sub(r"ts=\d+", "ts=1", query),
    ):
        assert (await shop.client.get(f"/postback?{broken}")).status_code == 401
    assert len(await shop.facts()) == 1


async def test_a_pixel_is_always_the_same_image(shop: Shop) -> None:
    click = click_id(shop)
    parameters = [
        f"click_id={click}&order_id=o1&amount=5&status=approved",
        "click_id=forged&amount=5",
        f"click_id={click}&amount=x",
        "key=lj_live_x",
        "",
        f"click_id={click}&return=hello",
    ]
    answers = [await shop.client.get(f"/p.gif?{query}") for query in parameters]
    assert {answer.content for answer in answers} == {PIXEL}
    assert len(PIXEL) == 43
    bare = [{k: v for k, v in a.headers.items() if k != "x-request-id"} for a in answers]
    assert bare[0]["content-type"] == "image/gif"
    assert all(headers == bare[0] for headers in bare)
    assert await shop.facts() == []


async def test_a_pixel_with_a_key_says_what_a_postback_says(shop: Shop) -> None:
    parameters = {"click_id": click_id(shop), "amount": "5", "order_id": "o1", "status": "approved"}
    assert (await call(shop, "/p.gif", **parameters)).content == PIXEL
    [stored] = await shop.conversions()
    assert stored.status == "approved"
