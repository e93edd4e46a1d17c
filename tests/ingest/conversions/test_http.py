"""Conversions posted over HTTP are answered, stored once, or refused."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from ingest.publishing.stream_producer import PublishReply, ScriptCall
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.conversions.reservations import StoredReservation, find_reservation
from linkjolt.registry.entries import Link
from linkjolt.storage.redis import RedisConnectionError
from tests.ingest.conftest import Shop
from tests.waiting import wait_until

ORDER: dict[str, Any] = {
    "tracking_code": "tc_ABC123",
    "order_value": 99.99,
    "order_id": "order_12345",
    "customer_email": "customer@example.com",
}
DAY_MS = 86_400_000


def click_id(shop: Shop, age_ms: int = 1_000, link: Link | None = None) -> str:
    """A genuine click on the shop's link or another one, so old."""
    key = shop.edge.keyring.click_keys[0]
    now_ms = time.time_ns() // 1_000_000
    return ClickIdGenerator(9, key, lambda: (now_ms - age_ms) * 1_000_000).make(
        (link or shop.link).number
    )


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


async def test_a_queued_post_whose_order_was_taken_can_be_read_though_its_reply_was_lost(
    shop: Shop,
) -> None:
    first = (await shop.post(ORDER)).json()
    producer = shop.edge.conversion_publishers[0].producer
    publish, lost = producer.publish, [True]

    async def lose_the_first_reply(calls: Sequence[ScriptCall], /) -> list[PublishReply]:
        answers = await publish(calls)
        if lost and lost.pop():
            raise RedisConnectionError("lost")
        return answers

    producer.publish = lose_the_first_reply
    queued = await shop.post({**ORDER, "order_value": 1})
    assert (queued.status_code, queued.json()["status"]) == (202, "queued")
    await wait_until(lambda: producer.spooled_events == 0)
    url = f"/v1/conversions/{queued.json()['conversion_id']}"
    headers = {"Authorization": f"Bearer {shop.key}"}
    outcome = (await shop.client.get(url, headers=headers)).json()
    assert outcome["status"] == "refused"
    assert outcome["conflicts_with"] == first["conversion_id"]
    # It was accepted, so that it is in the stream, and becomes a reject.
    assert [stored.refused for stored in await shop.conversions()] == ["", "conflict"]


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
    read = (await shop.client.get(url, headers=headers)).json()
    assert {name: read[name] for name in created} == created
    missing = await shop.client.get("/v1/conversions/conv_123", headers=headers)
    assert missing.status_code == 404


async def test_the_live_state_stays_small(shop: Shop) -> None:
    created = (await shop.post({**ORDER, "metadata": {"note": "x" * 3_000}})).json()
    stored = await find_reservation(shop.redis, 1, created["conversion_id"])
    assert isinstance(stored, StoredReservation)
    assert len(stored.reservation.raw) < 550


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
    forged = ClickIdGenerator(9, b"another key", lambda: 1_767_312_000_000_000_000).make(
        shop.link.number
    )
    answer = await shop.post({"click_id": forged, "order_id": "o1", "order_value": 5})
    assert answer.json()["attribution"] == {"method": "none", "reason": "click_forged"}
    [stored] = await shop.conversions()
    assert (stored.given_click_id, stored.click_id, stored.commission_minor) == (forged, "", 0)


async def test_a_bad_click_falls_back_to_the_code_and_keeps_the_reason(shop: Shop) -> None:
    answer = (await shop.post({**ORDER, "click_id": "0" * 26})).json()
    assert answer["attribution"] == {"method": "tracking_code", "reason": "click_forged"}
    assert answer["commission_amount"] == 29.99
