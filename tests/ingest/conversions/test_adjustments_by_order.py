"""Adjustments by order answer as those by conversion, alone, in arrays and in lines."""

from decimal import Decimal
from typing import Any

import httpx2
import msgspec
import pytest

from linkjolt.reasons import Reason
from linkjolt.registry.entries import Campaign
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_adjustments import adjust, created, read
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_http import ORDER

PATH = "/v1/adjustments"
ORDER_ID = ORDER["order_id"]
REFUND: dict[str, Any] = {"order_id": ORDER_ID, "kind": "refund", "amount": 10}


async def post(shop: Shop, **fields: object) -> httpx2.Response:
    return await shop.post({"adjustment_id": "a1", **fields}, path=PATH)


async def post_many(shop: Shop, *entries: object, key: str = "") -> dict[str, Any]:
    answer = await shop.post(entries, key, PATH)
    assert answer.status_code == 200
    return answer.json()


async def test_an_order_is_adjusted_as_its_conversion_is(shop: Shop) -> None:
    conversion = await created(shop)
    first = await post(shop, **REFUND)
    assert first.status_code == 201
    assert first.json()["conversion"] == await read(shop, conversion)
    by_id = await adjust(shop, conversion, kind="refund", amount="10.00")
    again = await post(shop, **REFUND, event="sale", campaign_id="cmp_1")
    assert (by_id.status_code, again.status_code) == (200, 200)
    assert again.json() == by_id.json() == {**first.json(), "duplicate": True}
    conflict = await post(shop, **{**REFUND, "amount": 11})
    assert (conflict.status_code, conflict.json()["code"]) == (409, "conflict")


async def test_a_conversion_id_serves_as_well(shop: Shop) -> None:
    conversion = await created(shop)
    named = {"conversion_id": conversion["conversion_id"], "kind": "approve"}
    assert (await post(shop, **named)).status_code == 201
    assert (await post(shop, **named)).status_code == 200
    unknown = await post(shop, conversion_id="conv_" + "0" * 26, kind="approve")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_the_event_tells_orders_of_one_id_apart(shop: Shop) -> None:
    sale, lead = await created(shop), await created(shop, event="lead")
    assert (await post(shop, **REFUND, event="lead")).status_code == 201
    assert (await read(shop, sale))["net_value"] == 99.99
    assert (await read(shop, lead))["net_value"] == 89.99


async def test_what_shops_write_is_read(shop: Shop) -> None:
    conversion = await created(shop, order_id="1001")
    empty = {"amount": "", "order_value": None, "reason": "", "event": "", "campaign_id": None}
    numbers = {"order_id": 1001, "kind": "approve", "adjustment_id": 7, **empty}
    assert (await post(shop, **numbers)).status_code == 201
    texts = {"order_id": " 1001\u200b ", "kind": "approve", "adjustment_id": "7"}
    assert (await post(shop, **texts)).status_code == 200
    again = await adjust(shop, conversion, kind="approve", adjustment_id=7)
    assert again.status_code == 200
    twice = b'{"order_id":"1001","kind":"refund","amount":1,"amount":90,"adjustment_id":"r"}'
    for body in (twice, b"\xef\xbb\xbf[" + twice + b"]"):
        answer = (await shop.post(body, path=PATH)).json()
        error = answer["errors"] if "errors" in answer else answer["data"][0]["errors"]
        assert error == [{"field": "amount", "message": "is given twice"}]


REFUSED: list[tuple[dict[str, object], int, str, Reason]] = [
    ({"kind": "approve"}, 422, "order_id", Reason.missing_field),
    ({**REFUND, "conversion_id": "conv_1"}, 422, "order_id", Reason.invalid_field),
    (
        {"kind": "approve", "conversion_id": "conv_1", "event": "sale"},
        422,
        "event",
        Reason.invalid_field,
    ),
    ({**REFUND, "order_id": "  "}, 422, "order_id", Reason.missing_field),
    ({**REFUND, "order_id": "a\x07b"}, 422, "order_id", Reason.invalid_field),
    ({**REFUND, "order_id": 10**128}, 422, "order_id", Reason.invalid_field),
    ({**REFUND, "event": "Sale"}, 422, "event", Reason.invalid_field),
    ({**REFUND, "campaign_id": "cmp_9"}, 422, "campaign_id", Reason.unknown_reference),
    ({**REFUND, "campaign_id": "nine"}, 422, "campaign_id", Reason.unknown_reference),
    ({**REFUND, "campaign_id": "cmp_2"}, 422, "campaign_id", Reason.unknown_reference),
    ({**REFUND, "amount": 100}, 422, "amount", Reason.amount_exceeds),
    ({**REFUND, "amount": 0}, 422, "amount", Reason.invalid_field),
    ({**REFUND, "amount": "1.00001"}, 422, "amount", Reason.invalid_field),
    ({**REFUND, "amount": "1e30"}, 422, "amount", Reason.invalid_field),
    ({**REFUND, "amount": "NaN"}, 422, "amount", Reason.invalid_field),
    ({**REFUND, "kind": "reject"}, 422, "amount", Reason.invalid_field),
    ({"order_id": ORDER_ID, "kind": "reject"}, 422, "reason", Reason.missing_field),
    ({"order_id": ORDER_ID, "kind": "restate"}, 422, "order_value", Reason.missing_field),
    ({"order_id": ORDER_ID, "kind": "pay"}, 409, "kind", Reason.not_adjustable),
    ({"order_id": ORDER_ID, "kind": "reinstate"}, 409, "kind", Reason.not_adjustable),
    ({**REFUND, "adjustment_id": ""}, 422, "adjustment_id", Reason.missing_field),
    ({**REFUND, "adjustment_id": "x" * 129}, 422, "adjustment_id", Reason.invalid_field),
    ({**REFUND, "amount": "1,5"}, 422, "amount", Reason.invalid_field),
    ({**REFUND, "because": "x"}, 422, "because", Reason.unknown_field),
]


@pytest.mark.parametrize(("body", "status", "field", "reason"), REFUSED)
async def test_a_bad_adjustment_names_its_field_and_changes_nothing_alone_or_among_others(
    shop: Shop, body: dict[str, object], status: int, field: str, reason: Reason
) -> None:
    await another_campaign(shop)
    await created(shop)
    alone = await post(shop, **body)
    assert (alone.status_code, alone.json()["code"]) == (status, reason.value)
    assert alone.json()["errors"][0]["field"] == field
    assert await shop.adjustments() == []
    good = {**REFUND, "adjustment_id": "good"}
    many = await post_many(shop, {"adjustment_id": "a1", **body}, good)
    assert (many["accepted"], many["rejected"]) == (1, 1)
    assert many["data"][0] == {
        "status": status,
        "code": reason.value,
        "errors": alone.json()["errors"],
    }
    assert [fact.adjustment_id for fact in await shop.adjustments()] == ["good"]


async def another_campaign(shop: Shop) -> Campaign:
    """Creates a second campaign of the account."""
    campaign = await shop.registry.get(Campaign, shop.link.account, 1)
    return await shop.registry.create(msgspec.structs.replace(campaign, number=0, name="Summer"))


async def test_many_are_made_in_order_with_a_result_each(shop: Shop) -> None:
    conversion = await created(shop)
    other = await created(shop, order_id="other")
    steps = [
        {**REFUND, "adjustment_id": "r1"},
        {"conversion_id": other["conversion_id"], "kind": "approve", "adjustment_id": "r1"},
        {"order_id": ORDER_ID, "kind": "refund", "adjustment_id": "r2"},
        {"order_id": ORDER_ID, "kind": "reinstate", "amount": 10, "adjustment_id": "r3"},
        {"conversion_id": conversion["conversion_id"], "kind": "approve", "adjustment_id": "r4"},
        {"order_id": ORDER_ID, "kind": "pay", "adjustment_id": "r5"},
        {**REFUND, "adjustment_id": "r1"},
        7,
    ]
    answer = await post_many(shop, *steps)
    statuses = [result["status"] for result in answer["data"]]
    assert statuses == [201, 201, 201, 201, 201, 201, 200, 422]
    assert (answer["accepted"], answer["rejected"]) == (7, 1)
    paid = answer["data"][5]
    assert (paid["adjustment"]["kind"], paid["duplicate"]) == ("paid", False)
    assert paid["conversion"]["net_value"] == 10
    assert "history" not in paid["conversion"]
    now = await read(shop, conversion)
    kinds = [entry["kind"] for entry in now["history"]]
    assert kinds == ["created", "refunded", "refunded", "reinstated", "approved", "paid"]
    assert (now["net_value"], now["commission_amount"], now["payout"]) == (10, 3, "paid")


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/jsonl"])
async def test_lines_are_adjustments_too(shop: Shop, media_type: str) -> None:
    await created(shop)
    lines = [msgspec.json.encode({**REFUND, "adjustment_id": name}) for name in "ab"]
    body = b"\r\n\n".join([*lines, b"{"])
    answer = await shop.post(body, path=PATH, **{"Content-Type": media_type})
    assert [result["status"] for result in answer.json()["data"]] == [201, 201, 400]
    assert len(await shop.adjustments()) == 2


async def test_an_array_is_bounded(shop: Shop) -> None:
    await created(shop)
    entry = {**REFUND, "adjustment_id": "a"}
    for body, status, code in (
        ([entry] * 1_001, 422, "invalid_field"),
        (b"[" + b" " * (10 << 20) + b"]", 413, "body_too_large"),
        (b" " * (64 << 10) + msgspec.json.encode(entry), 413, "body_too_large"),
        (b"[1,", 400, "malformed_json"),
        (b"[" * 100_000, 400, "too_deep"),
    ):
        answer = await shop.post(body, path=PATH)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    too_long = b'{"reason":"%b"}' % (b"x" * (64 << 10))
    body = b"[%b,%b]" % (too_long, msgspec.json.encode(entry))
    results = (await shop.post(body, path=PATH)).json()["data"]
    assert [result["status"] for result in results] == [413, 201]
    assert (await shop.post([], path=PATH)).json() == {"data": [], "accepted": 0, "rejected": 0}
    plain = await shop.post(entry, path=PATH, **{"Content-Type": "text/plain"})
    assert plain.status_code == 415


async def test_a_reinstatement_takes_refunds_back_up_to_what_was_refunded(shop: Shop) -> None:
    conversion = await created(shop)
    for name, amount in (("r1", 30), ("r2", 20)):
        await post(shop, order_id=ORDER_ID, kind="refund", amount=amount, adjustment_id=name)
    back = await adjust(shop, conversion, kind="reinstate", amount="25.50", adjustment_id="b1")
    assert back.status_code == 201
    assert back.json()["adjustment"]["order_value_change"] == 25.5
    too_much = await adjust(shop, conversion, kind="reinstate", amount=24.51, adjustment_id="b2")
    assert (too_much.status_code, too_much.json()["code"]) == (422, "amount_exceeds")
    assert (await adjust(shop, conversion, kind="reinstate", adjustment_id="b3")).status_code == 201
    now = await read(shop, conversion)
    sums = now["order_value"], now["net_value"], now["refunded"], now["commission_amount"]
    assert sums == (99.99, 99.99, 0, 29.99)
    changes = sum(Decimal(str(entry["commission_change"])) for entry in now["history"])
    assert changes == Decimal("29.99")


async def test_of_rebills_the_first_sale_is_adjusted_and_of_many_none(shop: Shop) -> None:
    await change_campaign(shop, duplicates="rebill")
    times = ("2026-01-01T10:00:00Z", "2026-02-01T10:00:00Z")
    sale, rebill = [await created(shop, timestamp=time) for time in times]
    assert (sale["event"], rebill["event"]) == ("sale", "rebill")
    answer = await post(shop, **REFUND)
    assert answer.json()["conversion"]["conversion_id"] == sale["conversion_id"]
    await change_campaign(shop, duplicates="allow")
    refused = await post(shop, **{**REFUND, "order_id": "many", "campaign_id": "cmp_1"})
    assert (refused.status_code, refused.json()["code"]) == (409, "not_adjustable")
    assert refused.json()["errors"][0]["field"] == "order_id"


async def test_an_account_and_its_tests_have_orders_of_their_own(shop: Shop) -> None:
    await created(shop)
    stranger = await make_key(shop.registry, ["conversions:write"], account=2)
    tester = await make_key(shop.registry, ["conversions:write"], test=True)
    for key in (stranger, tester):
        parked = await shop.post({**REFUND, "adjustment_id": "a1"}, key, PATH)
        assert parked.status_code == 202
        listed = await shop.get(f"{PATH}?order_id={ORDER_ID}", key)
        assert len(listed.json()["data"]) == 1
    assert (await shop.get(f"{PATH}?order_id={ORDER_ID}")).json()["data"] == []
    assert await shop.adjustments() == []


@pytest.mark.parametrize("scope", ["postback", "reports:read"])
async def test_only_who_may_write_conversions_adjusts(shop: Shop, scope: str) -> None:
    await created(shop)
    key = await make_key(shop.registry, [scope])
    for body in (REFUND, {"nonsense": 1}, [REFUND]):
        assert (await shop.post(body, key, PATH)).status_code == 403
