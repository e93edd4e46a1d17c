"""Conversions over HTTP: answers, what is stored, what is refused."""

import asyncio
import time
from typing import Any

import msgspec
import pytest

from ingest.publish import find_conversion
from linkjolt.clickid import ClickIds
from linkjolt.conversionid import shard_of
from tests.ingest.conftest import Shop, make_key

ORDER: dict[str, Any] = {
    "tracking_code": "tc_ABC123",
    "order_value": 99.99,
    "order_id": "order_12345",
    "customer_email": "customer@example.com",
}
DAY_MS = 86_400_000


def click_id(shop: Shop, age_ms: int = 1_000) -> str:
    """A genuine click on the shop's link, so old."""
    key = shop.edge.keyring.click_keys[0]
    now_ms = time.time_ns() // 1_000_000
    return ClickIds(9, key, lambda: now_ms - age_ms).make(shop.link.number)


async def test_a_conversion_is_created_with_its_truncated_commission(shop: Shop) -> None:
    answer = await shop.post(ORDER)
    assert answer.status_code == 201
    body = answer.json()
    assert body["commission_amount"] == 29.99
    assert b'"commission_amount":29.99,' in answer.content
    assert body["order_value"] == 99.99
    assert body["affiliate_id"] == f"aff_{shop.link.affiliate}"
    assert body["attribution"] == {"method": "tracking_code", "reason": None}
    assert body["duplicate"] is False


async def test_the_same_post_again_gets_the_original_answer(shop: Shop) -> None:
    first = (await shop.post(ORDER)).json()
    again = await shop.post({**ORDER, "order_value": "99.990", "currency": "USD"})
    assert again.status_code == 200
    assert again.json() == {**first, "duplicate": True}
    assert len(await shop.conversions()) == 1


async def test_another_body_under_the_same_order_is_a_conflict(shop: Shop) -> None:
    await shop.post(ORDER)
    answer = await shop.post({**ORDER, "order_value": 100})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    [stored] = await shop.conversions()
    assert stored.order_value_minor == 9999


async def test_of_many_posts_at_once_exactly_one_is_created(shop: Shop) -> None:
    answers = await asyncio.gather(*(shop.post(ORDER) for _ in range(60)))
    assert sorted(a.status_code for a in answers) == [200] * 59 + [201]
    assert len({a.json()["conversion_id"] for a in answers}) == 1
    assert len(await shop.conversions()) == 1


async def test_the_same_order_id_of_another_event_is_another_order(shop: Shop) -> None:
    assert (await shop.post(ORDER)).status_code == 201
    assert (await shop.post({**ORDER, "event": "rebill"})).status_code == 201


async def test_a_lead_needs_neither_order_nor_value(shop: Shop) -> None:
    answer = await shop.post({"tracking_code": "tc_ABC123", "event": "lead"})
    assert (answer.status_code, answer.json()["commission_amount"]) == (201, 0)


async def test_camel_case_names_say_the_same(shop: Shop) -> None:
    body = {
        "trackingCode": "tc_ABC123",
        "amount": "99.99",
        "orderId": "order_12345",
        "customerEmail": "customer@example.com",
        "campaignId": f"cmp_{shop.link.campaign}",
        "affiliateId": f"aff_{shop.link.affiliate}",
    }
    assert (await shop.post(body)).json()["commission_amount"] == 29.99


async def test_the_email_is_kept_only_as_a_keyed_hash(shop: Shop) -> None:
    await shop.post(ORDER)
    [stored] = await shop.conversions()
    assert len(stored.customer) == 32
    assert b"customer@" not in msgspec.json.encode(stored)


async def test_a_conversion_can_be_read_at_once_from_its_live_state(shop: Shop) -> None:
    created = (await shop.post(ORDER)).json()
    headers = {"Authorization": f"Bearer {shop.key}"}
    url = f"/v1/conversions/{created['conversion_id']}"
    assert (await shop.client.get(url, headers=headers)).json() == created
    missing = await shop.client.get("/v1/conversions/conv_123", headers=headers)
    assert missing.status_code == 404


async def test_the_live_state_stays_small(shop: Shop) -> None:
    created = (await shop.post({**ORDER, "metadata": {"note": "x" * 3_000}})).json()
    shard = shard_of(created["conversion_id"])
    assert shard is not None
    state = await find_conversion(shop.redis, shard, created["conversion_id"])
    assert len(msgspec.json.encode(state)) < 450


async def test_a_click_beats_a_code(shop: Shop) -> None:
    other = await shop.add_link(tracking_code="other")
    given = click_id(shop)
    body = {**ORDER, "tracking_code": other.tracking_code, "click_id": given}
    answer = (await shop.post(body)).json()
    assert answer["attribution"] == {"method": "click", "reason": None}
    assert answer["click_id"] == given
    [stored] = await shop.conversions()
    assert stored.link == shop.link.number


async def test_the_composite_names_code_affiliate_and_click(shop: Shop) -> None:
    code = f"tc_ABC123_aff_{shop.link.affiliate}_cid_{click_id(shop)}"
    answer = (await shop.post({**ORDER, "tracking_code": code})).json()
    assert answer["attribution"]["method"] == "click"


@pytest.mark.parametrize(
    ("age_ms", "reason"),
    [(31 * DAY_MS, "click_too_old"), (-10 * 60_000, "click_after_conversion")],
)
async def test_a_click_outside_its_window_is_stored_unattributed(
    shop: Shop, age_ms: int, reason: str
) -> None:
    body = {**ORDER, "click_id": click_id(shop, age_ms)}
    del body["tracking_code"]
    answer = await shop.post(body)
    assert answer.status_code == 201
    assert answer.json()["attribution"] == {"method": "none", "reason": reason}
    assert (answer.json()["commission_amount"], answer.json()["affiliate_id"]) == (0, None)
    assert len(await shop.conversions()) == 1


async def test_a_forged_click_alone_is_stored_unattributed(shop: Shop) -> None:
    forged = ClickIds(9, b"another key", lambda: 1_767_312_000_000).make(shop.link.number)
    answer = await shop.post({"click_id": forged, "order_id": "o1", "order_value": 5})
    assert answer.json()["attribution"] == {"method": "none", "reason": "click_forged"}
    [stored] = await shop.conversions()
    assert (stored.given_click_id, stored.click_id, stored.commission_minor) == (forged, "", 0)


async def test_a_bad_click_falls_back_to_the_code_and_keeps_the_reason(shop: Shop) -> None:
    answer = (await shop.post({**ORDER, "click_id": "0" * 26})).json()
    assert answer["attribution"] == {"method": "tracking_code", "reason": "click_forged"}
    assert answer["commission_amount"] == 29.99


REFUSED: list[tuple[object, int, str, str]] = [
    (b"{not json", 400, "malformed_json", ""),
    (b"", 400, "malformed_json", ""),
    (b'{"order_id": "\xff"}', 400, "malformed_json", ""),
    (b'{"metadata":' + b'{"a":' * 40 + b"1" + b"}" * 41, 400, "too_deep", ""),
    (b'{"metadata":"' + b"x" * 70_000 + b'"}', 413, "body_too_large", ""),
    ([ORDER], 422, "invalid_field", "body"),
    ({**ORDER, "color": "red"}, 422, "unknown_field", "color"),
    ({"order_id": "1", "order_value": 1}, 422, "missing_field", "tracking_code"),
    ({"tracking_code": "tc_ABC123", "order_value": 1}, 422, "missing_field", "order_id"),
    ({"tracking_code": "tc_ABC123", "order_id": "1"}, 422, "missing_field", "order_value"),
    ({**ORDER, "tracking_code": "nope"}, 422, "unknown_tracking_code", "tracking_code"),
    ({**ORDER, "order_value": -1}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "NaN"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "1e400"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "99.999"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": "1." + "0" * 40 + "1"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_value": True}, 422, "invalid_field", "order_value"),
    ({**ORDER, "currency": "XXX"}, 422, "invalid_field", "currency"),
    ({**ORDER, "currency": "usd"}, 422, "invalid_field", "currency"),
    ({**ORDER, "currency": "JPY", "order_value": "1.5"}, 422, "invalid_field", "order_value"),
    ({**ORDER, "order_id": ""}, 422, "invalid_field", "order_id"),
    ({**ORDER, "order_id": "x" * 129}, 422, "invalid_field", "order_id"),
    ({**ORDER, "order_id": "a\nb"}, 422, "invalid_field", "order_id"),
    ({**ORDER, "event": "party"}, 422, "invalid_field", "event"),
    ({**ORDER, "event": "sale\n"}, 422, "invalid_field", "event"),
    ({**ORDER, "status": "paid"}, 422, "invalid_field", "status"),
    ({**ORDER, "customer_email": "nobody"}, 422, "invalid_field", "customer_email"),
    ({**ORDER, "timestamp": "2026-01-01T00:00:00"}, 422, "invalid_field", "timestamp"),
    ({**ORDER, "timestamp": "2999-01-01T00:00:00Z"}, 422, "invalid_field", "timestamp"),
    ({**ORDER, "timestamp": "0001-01-01T00:00:00Z"}, 422, "invalid_field", "timestamp"),
    ({**ORDER, "metadata": {"a": "x" * 5_000}}, 422, "invalid_field", "metadata"),
    ({**ORDER, "orderId": "again"}, 422, "invalid_field", "orderId"),
    ({**ORDER, "amount": 3}, 422, "invalid_field", "amount"),
    ({**ORDER, "affiliate_id": "aff_999"}, 422, "unknown_reference", "affiliate_id"),
    ({**ORDER, "campaign_id": "cmp_999"}, 422, "unknown_reference", "campaign_id"),
]


@pytest.mark.parametrize(("body", "status", "code", "field"), REFUSED)
async def test_bad_input_is_refused_by_name_and_changes_nothing(
    shop: Shop, body: object, status: int, code: str, field: str
) -> None:
    answer = await shop.post(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert [error["field"] for error in answer.json()["errors"]] == ([field] if field else [])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert await shop.conversions() == []


async def test_a_form_is_refused(shop: Shop) -> None:
    headers = {
        "Authorization": f"Bearer {shop.key}",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    answer = await shop.client.post("/v1/conversions", content=b"a=1", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer nonsense", "Basic eDp5"])
async def test_no_valid_key_is_401(shop: Shop, authorization: str) -> None:
    headers = {"Authorization": authorization}
    answer = await shop.client.post("/v1/conversions", json=ORDER, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert await shop.conversions() == []


async def test_a_key_without_the_scope_is_403(shop: Shop) -> None:
    key = await make_key(shop.registry, ["reports:read"])
    answer = await shop.post(ORDER, key)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
