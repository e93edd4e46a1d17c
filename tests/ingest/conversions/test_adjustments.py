"""Adjustments over HTTP apply at once and once, within the remaining amount, with history."""

import asyncio
from collections import Counter
from typing import Any

import httpx2
import msgspec
import pytest

from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.datasets import live_dataset
from linkjolt.reasons import Reason, Rejected
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_http import ORDER


async def created(shop: Shop, **fields: object) -> dict[str, Any]:
    return (await shop.post({**ORDER, **fields})).json()


async def adjust(shop: Shop, conversion: dict[str, Any], **fields: object) -> httpx2.Response:
    path = f"/v1/conversions/{conversion['conversion_id']}/adjustments"
    return await shop.post({"adjustment_id": "a1", **fields}, path=path)


async def read(shop: Shop, conversion: dict[str, Any]) -> dict[str, Any]:
    return (await shop.get(f"/v1/conversions/{conversion['conversion_id']}")).json()


async def test_a_conversion_is_refunded_in_part_the_moment_it_is_accepted(shop: Shop) -> None:
    conversion = await created(shop)
    answer = await adjust(shop, conversion, kind="refund", amount=30.00, reason="sent back")
    assert answer.status_code == 201
    fact = answer.json()["adjustment"]
    assert (fact["kind"], fact["order_value_change"], fact["commission_change"]) == (
        "refunded",
        -30.00,
        -9.00,
    )
    now = await read(shop, conversion)
    assert (now["order_value"], now["refunded"], now["commission_amount"]) == (99.99, 30.0, 20.99)
    assert [entry["kind"] for entry in now["history"]] == ["created", "refunded"]
    assert now["history"][1]["reason"] == "sent back"
    assert now["history"][1]["author"].startswith("key_")
    [published] = await shop.adjustments()
    assert published.effect.order_value_minor == -3000


async def test_the_same_adjustment_sent_again_changes_nothing(shop: Shop) -> None:
    conversion = await created(shop)
    first = await adjust(shop, conversion, kind="refund", amount="10.00")
    again = await adjust(shop, conversion, kind="refund", amount="10.00")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["duplicate"] is True
    assert again.json()["adjustment"] == first.json()["adjustment"]
    other = await adjust(shop, conversion, kind="refund", amount="11.00")
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert len(await shop.adjustments()) == 1


async def test_an_adjustment_is_read_as_shops_write_it(shop: Shop) -> None:
    conversion = await created(shop)
    body = {"kind": "refund", "adjustment_id": 7, "amount": " 10.00 ", "order_value": ""}
    first = await adjust(shop, conversion, **body, reason=None)
    again = await adjust(shop, conversion, kind="refund", adjustment_id="7\u200b", amount=10)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["adjustment"]["adjustment_id"] == "7"
    [published] = await shop.adjustments()
    assert (published.effect.order_value_minor, published.note) == (-1000, "")


async def test_an_adjustment_with_a_name_twice_is_refused(shop: Shop) -> None:
    conversion = await created(shop)
    path = f"/v1/conversions/{conversion['conversion_id']}/adjustments"
    body = b'{"kind":"refund","adjustment_id":"a","amount":1,"amount":90}'
    answer = await shop.post(body, path=path)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "amount")
    assert await shop.adjustments() == []


async def test_refunds_at_once_never_exceed_the_amount(shop: Shop) -> None:
    conversion = await created(shop)
    asked = [
        adjust(shop, conversion, kind="refund", amount="30.00", adjustment_id=f"a{number}")
        for number in range(20)
    ]
    answers = await asyncio.gather(*asked)
    assert Counter(answer.status_code for answer in answers) == {201: 3, 422: 17}
    now = await read(shop, conversion)
    assert (now["refunded"], now["commission_amount"]) == (90.0, 2.99)
    assert sum(fact.effect.order_value_minor for fact in await shop.adjustments()) == -9000


async def test_a_repeat_of_the_post_gets_the_first_answer_whatever_became_of_it(shop: Shop) -> None:
    conversion = await created(shop)
    await adjust(shop, conversion, kind="reject", reason="fraud")
    assert (await read(shop, conversion))["status"] == "rejected"
    again = await shop.post(ORDER)
    assert again.status_code == 200
    assert again.json() == {**conversion, "duplicate": True}


async def test_payout_is_apart_from_status(shop: Shop) -> None:
    conversion = await created(shop, status="approved")
    assert (await adjust(shop, conversion, kind="pay")).status_code == 201
    now = await read(shop, conversion)
    assert (now["status"], now["payout"]) == ("approved", "paid")
    assert (await adjust(shop, conversion, kind="unpay", adjustment_id="a2")).status_code == 201
    assert (await read(shop, conversion))["payout"] == "unpaid"


REFUSED: list[tuple[dict[str, object], int, str, Reason]] = [
    ({"kind": "refund", "amount": 100}, 422, "amount", Reason.amount_exceeds),
    ({"kind": "refund", "amount": "1.001"}, 422, "amount", Reason.invalid_field),
    ({"kind": "refund", "amount": -1}, 422, "amount", Reason.invalid_field),
    ({"kind": "refund", "order_value": 1}, 422, "order_value", Reason.invalid_field),
    ({"kind": "approve", "amount": 1}, 422, "amount", Reason.invalid_field),
    ({"kind": "reject"}, 422, "reason", Reason.missing_field),
    ({"kind": "restate"}, 422, "order_value", Reason.missing_field),
    ({"kind": "pay"}, 409, "kind", Reason.not_adjustable),
    ({"kind": "undo"}, 422, "kind", Reason.invalid_field),
    ({"kind": "approve", "adjustment_id": ""}, 422, "adjustment_id", Reason.missing_field),
    ({"kind": "refund", "amount": "1_0"}, 422, "amount", Reason.invalid_field),
    ({"kind": "approve", "adjustment_id": 1.5}, 422, "adjustment_id", Reason.invalid_field),
    ({"kind": "approve", "adjustment_id": "a\nb"}, 422, "adjustment_id", Reason.invalid_field),
    ({"kind": "approve", "because": "x"}, 422, "because", Reason.unknown_field),
]


@pytest.mark.parametrize(("body", "status", "field", "reason"), REFUSED)
async def test_a_bad_adjustment_is_refused_by_its_field_and_changes_nothing(
    shop: Shop, body: dict[str, object], status: int, field: str, reason: Reason
) -> None:
    conversion = await created(shop)
    answer = await adjust(shop, conversion, **body)
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, reason.value)
    assert problem["errors"][0]["field"] == field
    assert await shop.adjustments() == []


async def test_another_accounts_conversion_is_not_found(shop: Shop) -> None:
    conversion = await created(shop)
    key = await make_key(shop.registry, ["conversions:write"], account=2)
    path = f"/v1/conversions/{conversion['conversion_id']}"
    body = {"kind": "approve", "adjustment_id": "a"}
    assert (await shop.get(path, key)).status_code == 404
    assert (await shop.post(body, key, path=f"{path}/adjustments")).status_code == 404
    assert (await shop.post(body, path="/v1/conversions/conv_1/adjustments")).status_code == 404


async def test_a_lost_conversion_is_given_to_its_affiliate_by_hand(shop: Shop) -> None:
    forged = {"click_id": "0" * 26, "order_id": "lost", "order_value": 50}
    conversion = (await shop.post(forged)).json()
    assert (conversion["attribution"]["method"], conversion["commission_amount"]) == ("none", 0)
    path = f"/v1/conversions/{conversion['conversion_id']}/attribute"
    body = {"adjustment_id": "a", "tracking_code": "tc_ABC123", "reason": "seen in the mail"}
    answer = await shop.post(body, path=path)
    assert answer.status_code == 201
    now = answer.json()["conversion"]
    assert now["attribution"]["method"] == "manual"
    assert (now["affiliate_id"], now["commission_amount"]) == ("aff_1", 15.0)
    [fact] = await shop.adjustments()
    assert fact.left is not None
    assert fact.left.affiliate == 0
    named = {"adjustment_id": "b", "affiliate_id": "aff_1", "campaign_id": "cmp_1"}
    assert (await shop.post(named, path=path)).status_code == 201


async def test_the_owner_s_changes_pass_however_many_there_were(shop: Shop) -> None:
    conversion = await created(shop)
    for number in range(75):
        reject = {"kind": "reject", "reason": "check", "adjustment_id": f"r{number}"}
        assert (await adjust(shop, conversion, **reject)).status_code == 201
        approve = {"kind": "approve", "adjustment_id": f"a{number}"}
        assert (await adjust(shop, conversion, **approve)).status_code == 201
    last: list[dict[str, object]] = [
        {"kind": "restate", "order_value": 4000},
        {"kind": "refund", "amount": 1000},
        {"kind": "pay"},
        {"kind": "reinstate", "amount": 500},
        {"kind": "reject", "reason": "fraud"},
    ]
    for number, change in enumerate(last):
        answer = await adjust(shop, conversion, **change, adjustment_id=f"last{number}")
        assert answer.status_code == 201
    now = await read(shop, conversion)
    assert (now["history_length"], now["status"], now["payout"]) == (156, "rejected", "paid")
    assert (now["commission_amount"], now["clawback"]) == (0, 900)
    first = await adjust(shop, conversion, kind="reject", reason="check", adjustment_id="r0")
    assert (first.status_code, first.json()["duplicate"]) == (200, True)


async def test_a_refusal_is_of_the_state_as_it_is_now(shop: Shop) -> None:
    conversion = await created(shop)
    adjuster, dataset = shop.edge.early.adjuster, live_dataset(shop.link.account)
    as_created = await adjuster.find(dataset, conversion["conversion_id"])
    await adjust(shop, conversion, kind="approve")
    pay = AdjustmentRequest(adjustment_id="a2", kind="paid", author="key_1")
    paid = await adjuster.adjust_stored(as_created, lambda _: pay, 0)
    assert paid.state.payout == "paid"
    with pytest.raises(Rejected, match="paid already"):
        again = msgspec.structs.replace(pay, adjustment_id="a3")
        await adjuster.adjust_stored(as_created, lambda _: again, 0)


NOBODY: list[tuple[dict[str, object], str, Reason]] = [
    ({}, "affiliate_id", Reason.missing_field),
    ({"affiliate_id": "aff_1"}, "campaign_id", Reason.missing_field),
    ({"affiliate_id": "aff_9", "campaign_id": "cmp_1"}, "affiliate_id", Reason.unknown_reference),
    ({"affiliate_id": "aff_1", "campaign_id": "x"}, "campaign_id", Reason.unknown_reference),
    ({"tracking_code": "none"}, "tracking_code", Reason.unknown_tracking_code),
    (
        {"tracking_code": "tc_ABC123", "affiliate_id": "aff_1"},
        "tracking_code",
        Reason.invalid_field,
    ),
]


@pytest.mark.parametrize(("named", "field", "reason"), NOBODY)
async def test_whom_nobody_knows_earns_nothing(
    shop: Shop, named: dict[str, object], field: str, reason: Reason
) -> None:
    forged = {"click_id": "0" * 26, "order_id": "lost", "order_value": 50}
    conversion = (await shop.post(forged)).json()
    path = f"/v1/conversions/{conversion['conversion_id']}/attribute"
    problem = (await shop.post({"adjustment_id": "a", **named}, path=path)).json()
    assert (problem["code"], problem["errors"][0]["field"]) == (reason.value, field)


async def test_what_a_click_earned_is_not_given_to_another(shop: Shop) -> None:
    conversion = await created(shop)
    path = f"/v1/conversions/{conversion['conversion_id']}/attribute"
    answer = await shop.post({"adjustment_id": "a", "tracking_code": "tc_ABC123"}, path=path)
    assert (answer.status_code, answer.json()["code"]) == (409, "not_adjustable")
