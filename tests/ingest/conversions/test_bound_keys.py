"""A key that is bound to a campaign adjusts what was posted for it with no more authority."""

import time
from typing import Any

import httpx2
import msgspec
import pytest

from ingest.conversions.authority import Authority
from ingest.conversions.body import parse_post
from ingest.conversions.intake import Intake
from linkjolt.events import ConversionState, Hand
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_adjustments_by_order import PATH, another_campaign
from tests.ingest.conversions.test_http import ORDER
from tests.waiting import wait_until

ORDER_ID = ORDER["order_id"]
REFUND: dict[str, Any] = {"kind": "refund", "amount": 10, "adjustment_id": "a1"}
BY_ORDER = {**REFUND, "order_id": ORDER_ID}


async def posted_by(shop: Shop, hand: Hand) -> ConversionState:
    """Posts an order by an authority."""
    secret = await bound_key(shop, shop.link.campaign) if hand == "bound" else shop.key
    key = await shop.edge.directory.key(secret)
    assert key is not None
    intake = Intake(shop.edge)
    post = parse_post(msgspec.json.encode(ORDER))
    authority = None if hand in ("key", "bound") else Authority(hand)
    pending = await intake.accept_post(post, key, time.time_ns() // 1_000_000, authority)
    state = await intake.settle(pending)
    assert isinstance(state, ConversionState)
    assert state.hand == hand
    return state


async def bound_key(shop: Shop, campaign: int) -> str:
    return await make_key(shop.registry, ["conversions:write"], campaign=campaign)


async def adjust(shop: Shop, key: str, conversion: ConversionState) -> list[httpx2.Response]:
    """Refunds by conversion and by order, and attributes by hand."""
    path = f"/v1/conversions/{conversion.conversion_id}"
    by_hand = {"tracking_code": "tc_ABC123", "adjustment_id": "b"}
    return [
        await shop.post(REFUND, key, f"{path}/adjustments"),
        await shop.post({**REFUND, "conversion_id": conversion.conversion_id}, key, PATH),
        await shop.post(BY_ORDER, key, PATH),
        await shop.post(by_hand, key, f"{path}/attribute"),
    ]


async def test_a_bound_key_adjusts_what_a_bound_key_posted(shop: Shop) -> None:
    conversion = await posted_by(shop, "bound")
    key = await bound_key(shop, conversion.campaign)
    answers = await adjust(shop, key, conversion)
    assert [answer.status_code for answer in answers] == [201, 200, 200, 409]
    read = await shop.get(f"/v1/conversions/{conversion.conversion_id}", key)
    assert read.json()["net_value"] == 89.99


@pytest.mark.parametrize("hand", ["signed", "pixel"])
async def test_a_bound_key_adjusts_what_less_authority_posted(shop: Shop, hand: Hand) -> None:
    conversion = await posted_by(shop, hand)
    answers = await adjust(shop, await bound_key(shop, conversion.campaign), conversion)
    assert [answer.status_code for answer in answers] == [201, 200, 200, 409]


async def test_a_bound_key_does_not_change_what_the_merchant_posted(shop: Shop) -> None:
    conversion = await posted_by(shop, "key")
    answers = await adjust(shop, await bound_key(shop, conversion.campaign), conversion)
    assert [(one.status_code, one.json()["code"]) for one in answers] == [
        (409, "not_adjustable")
    ] * 4
    assert await shop.adjustments() == []


async def test_a_bound_key_neither_changes_nor_reads_another_campaign_s_conversion(
    shop: Shop,
) -> None:
    conversion = await posted_by(shop, "signed")
    key = await bound_key(shop, (await another_campaign(shop)).number)
    answers = await adjust(shop, key, conversion)
    answers.append(await shop.get(f"/v1/conversions/{conversion.conversion_id}", key))
    answers.append(await shop.post({**BY_ORDER, "campaign_id": "cmp_1"}, key, PATH))
    # Asked before what it sends is judged.
    path = f"/v1/conversions/{conversion.conversion_id}/adjustments"
    answers.append(await shop.post({"nonsense": 1}, key, path))
    answers.append(await shop.post({**REFUND, "amount": 1000}, key, path))
    by_id = {"conversion_id": conversion.conversion_id, "kind": "reject", "adjustment_id": "a"}
    answers.append(await shop.post(by_id, key, PATH))
    assert [(one.status_code, one.json()["code"]) for one in answers] == [(403, "forbidden")] * 9
    assert await shop.adjustments() == []


async def test_a_bound_key_gives_nothing_to_another_campaign(shop: Shop) -> None:
    conversion = await posted_by(shop, "bound")
    key = await bound_key(shop, conversion.campaign)
    other = await another_campaign(shop)
    link = await shop.add_link(campaign=other.number)
    path = f"/v1/conversions/{conversion.conversion_id}/attribute"
    taken = {"adjustment_id": "a", "tracking_code": link.tracking_code}
    refused = await shop.post(taken, key, path)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")


async def test_an_order_id_of_two_campaigns_is_of_each_for_who_names_it(shop: Shop) -> None:
    merchants = (await shop.post(ORDER)).json()
    other = await another_campaign(shop)
    link = await shop.add_link(campaign=other.number)
    bound = await bound_key(shop, other.number)
    assert (await shop.post(BY_ORDER, bound, PATH)).status_code == 403
    networks = (await shop.post({**ORDER, "tracking_code": link.tracking_code}, bound)).json()
    named: list[tuple[str, dict[str, str], dict[str, str]]] = [
        (bound, {}, networks),
        (shop.key, {}, merchants),
        (shop.key, {"campaign_id": "cmp_1"}, merchants),
        (shop.key, {"campaign_id": f"cmp_{other.number}"}, networks),
    ]
    for number, (key, campaign, conversion) in enumerate(named):
        body = {**BY_ORDER, **campaign, "adjustment_id": f"a{number}"}
        answer = await shop.post(body, key, PATH)
        assert answer.json()["conversion"]["conversion_id"] == conversion["conversion_id"]


async def test_the_owner_adjusts_a_network_s_order_without_naming_the_campaign(shop: Shop) -> None:
    first = await posted_by(shop, "bound")
    answer = await shop.post(BY_ORDER, path=PATH)
    assert answer.json()["conversion"]["conversion_id"] == first.conversion_id
    other = await another_campaign(shop)
    link = await shop.add_link(campaign=other.number)
    key = await bound_key(shop, other.number)
    # To one campaign, the order of another is not there.
    waiting = await shop.post({**BY_ORDER, "adjustment_id": "a2"}, key, PATH)
    assert waiting.status_code == 202
    second = await shop.post({**ORDER, "tracking_code": link.tracking_code}, key)
    assert second.status_code == 201
    ambiguous = await shop.post({**BY_ORDER, "adjustment_id": "a3"}, path=PATH)
    assert ambiguous.status_code == 422
    assert ambiguous.json()["errors"][0]["field"] == "campaign_id"


async def test_what_a_bound_key_parks_waits_for_its_campaign_s_order(shop: Shop) -> None:
    key = await bound_key(shop, shop.link.campaign)
    assert (await shop.post(BY_ORDER, key, PATH)).status_code == 202
    listed = (await shop.get(f"{PATH}?order_id={ORDER_ID}", key)).json()["data"]
    assert [entry["status"] for entry in listed] == ["waiting"]
    other = await bound_key(shop, (await another_campaign(shop)).number)
    assert (await shop.get(f"{PATH}?order_id={ORDER_ID}", other)).json()["data"] == []
    conversion = await posted_by(shop, "bound")

    async def is_applied() -> bool:
        read = await shop.get(f"/v1/conversions/{conversion.conversion_id}")
        return read.json()["net_value"] == 89.99

    await wait_until(is_applied)


async def test_what_a_bound_key_parks_does_not_change_the_merchant_s_order(shop: Shop) -> None:
    key = await bound_key(shop, shop.link.campaign)
    assert (await shop.post(BY_ORDER, key, PATH)).status_code == 202
    assert (await shop.post(ORDER)).status_code == 201

    async def has_failed() -> bool:
        listed = (await shop.get(f"{PATH}?order_id={ORDER_ID}", key)).json()["data"]
        return [entry["status"] for entry in listed] == ["failed"]

    await wait_until(has_failed)
    [entry] = (await shop.get(f"{PATH}?order_id={ORDER_ID}")).json()["data"]
    assert entry["code"] == "not_adjustable"
    assert await shop.adjustments() == []
