"""Deleted and suspended affiliates and campaigns earn nothing from then on, with the reason."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from linkjolt.datasets import Account
from linkjolt.registry.entries import Affiliate, Campaign, Coupon
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_earners import (
    CODE,
    ID,
    accepted,
    change_affiliate,
    order,
    rebill,
)
from tests.ingest.conversions.test_http import click_id

KINDS = ("affiliate", "campaign")
MINUTE = timedelta(minutes=1)


async def stop(shop: Shop, kind: str, **fields: datetime | None) -> None:
    """Sets `deleted_at` or `suspended_at` of the link's affiliate or campaign."""
    if kind == "campaign":
        await change_campaign(shop, **fields)
    else:
        await change_affiliate(shop, shop.link.affiliate, **fields)


def outcome(answer: dict[str, Any]) -> tuple[str | None, float, str | None]:
    return answer["affiliate_id"], answer["commission_amount"], answer["commission_reason"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_click_from_before_a_deletion_earns_nothing_after_it(shop: Shop, kind: str) -> None:
    click, now = click_id(shop, 3_600_000), datetime.now(UTC)
    await stop(shop, kind, deleted_at=now - MINUTE)
    answer = await accepted(shop, order("o1", click_id=click))
    assert outcome(answer) == ("aff_1", 0, f"{kind}_deleted")
    assert answer["attribution"] == {"method": "click", "reason": None}
    earlier = (now - 2 * MINUTE).isoformat()
    answer = await accepted(shop, order("o2", click_id=click, timestamp=earlier))
    assert outcome(answer) == ("aff_1", 30, None)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_click_from_after_a_deletion_is_nobodys(shop: Shop, kind: str) -> None:
    await stop(shop, kind, deleted_at=datetime.now(UTC) - MINUTE)
    answer = await accepted(shop, order("o1", click_id=click_id(shop)))
    assert outcome(answer) == (None, 0, None)
    assert answer["attribution"] == {"method": "none", "reason": f"{kind}_deleted"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_code_and_a_coupon_of_what_is_deleted_are_refused(shop: Shop, kind: str) -> None:
    await add_coupon(shop)
    assert outcome(await accepted(shop, order("o0", coupon_code="spring")))[1] == 30
    await stop(shop, kind, deleted_at=datetime.now(UTC))
    by_code = (await shop.post(order("o1", **CODE))).json()
    assert (by_code["status"], by_code["code"]) == (422, "unknown_tracking_code")
    by_coupon = (await shop.post(order("o2", coupon_code="spring"))).json()
    assert (by_coupon["status"], by_coupon["errors"][0]["field"]) == (422, "coupon_code")
    postback = await shop.client.get(
        f"/postback?tracking_code=tc_ABC123&order_id=o3&key={shop.key}"
    )
    assert (postback.status_code, postback.json()["code"]) == (422, "unknown_tracking_code")
    assert len(await shop.conversions()) == 1


async def add_coupon(shop: Shop) -> None:
    await shop.registry.create(
        Coupon(
            number=0,
            account=Account(1),
            code="SPRING",
            campaign=shop.link.campaign,
            affiliate=shop.link.affiliate,
            created_at=datetime.now(UTC),
        )
    )


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_suspended_earns_nothing_from_then_on(shop: Shop, kind: str) -> None:
    await add_coupon(shop)
    now = datetime.now(UTC)
    named = {
        "click": {"click_id": click_id(shop)},
        "code": CODE,
        "coupon": {"coupon_code": "spring"},
    }
    await stop(shop, kind, suspended_at=now - MINUTE)
    for way, fields in named.items():
        answer = await accepted(shop, order(f"now-{way}", **fields))
        assert outcome(answer) == ("aff_1", 0, f"{kind}_suspended")
    earlier = (now - 2 * MINUTE).isoformat()
    answer = await accepted(shop, order("earlier", **CODE, timestamp=earlier))
    assert outcome(answer) == ("aff_1", 30, None)
    await stop(shop, kind, suspended_at=None)
    assert outcome(await accepted(shop, order("again", **CODE))) == ("aff_1", 30, None)


async def test_at_the_millisecond_of_a_suspension_nothing_is_earned(shop: Shop) -> None:
    at = datetime(2026, 3, 1, 12, 0, 0, 5_900, tzinfo=UTC)
    await stop(shop, "affiliate", suspended_at=at)
    cases = ((4, 30), (5, 0), (6, 0))
    for milliseconds, commission in cases:
        instant = at.replace(microsecond=milliseconds * 1000).isoformat()
        answer = await accepted(shop, order(f"o{milliseconds}", **CODE, timestamp=instant))
        assert answer["commission_amount"] == commission


@pytest.mark.parametrize("kind", KINDS)
async def test_no_adjustment_makes_a_suspended_affiliates_order_earn(shop: Shop, kind: str) -> None:
    await stop(shop, kind, suspended_at=datetime.now(UTC) - MINUTE)
    answer = await accepted(shop, order("o1", **CODE))
    await stop(shop, kind, suspended_at=None)
    path = f"/v1/conversions/{answer['conversion_id']}/adjustments"
    bodies = [
        {"kind": "approve"},
        {"kind": "restate", "order_value": 500},
        {"kind": "refund", "amount": 10},
        {"kind": "reject", "reason": "so"},
        {"kind": "approve"},
    ]
    for number, body in enumerate(bodies):
        adjusted = await shop.post({"adjustment_id": f"a{number}", **body}, path=path)
        assert adjusted.status_code == 201, adjusted.text
        after = adjusted.json()["conversion"]
        assert (after["commission_amount"], after["commission_reason"]) == (0, f"{kind}_suspended")


@pytest.mark.parametrize(("kind", "field"), [(k, f) for k in KINDS for f in ("code", "ids")])
async def test_nothing_is_attributed_by_hand_to_whom_nothing_is_paid(
    shop: Shop, kind: str, field: str
) -> None:
    now = datetime.now(UTC)
    lost = await accepted(shop, order("o1", click_id="forged"))
    earlier = {"timestamp": (now - 2 * MINUTE).isoformat()}
    lost_earlier = await accepted(shop, order("o2", click_id="forged", **earlier))
    payee = CODE if field == "code" else {"affiliate_id": "aff_1", "campaign_id": "cmp_1"}
    await stop(shop, kind, suspended_at=now - MINUTE)
    body = {"adjustment_id": "a1", **payee}
    refused = await shop.post(body, path=f"/v1/conversions/{lost['conversion_id']}/attribute")
    assert (refused.status_code, refused.json()["code"]) == (409, "not_adjustable")
    assert f"{kind}_suspended" in refused.json()["detail"]
    path = f"/v1/conversions/{lost_earlier['conversion_id']}/attribute"
    attributed = (await shop.post(body, path=path)).json()["conversion"]
    assert outcome(attributed) == ("aff_1", 30, None)
    await stop(shop, kind, deleted_at=now)
    refused = await shop.post(body, path=f"/v1/conversions/{lost['conversion_id']}/attribute")
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] in ("tracking_code", f"{kind}_id")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", ["suspended", "deleted"])
async def test_rebills_and_known_customers_earn_nothing_for_whom_nothing_is_paid(
    shop: Shop, kind: str, state: str
) -> None:
    await change_campaign(shop, lifetime=True)
    await accepted(shop, order("o1", **ID, **CODE))
    stopped = {f"{state}_at": datetime.now(UTC)}
    await stop(shop, kind, **stopped)
    expected = ("aff_1", 0, f"{kind}_{state}")
    by_order = await accepted(shop, rebill(order_id="o1", **CODE))
    by_customer = await accepted(shop, rebill(order_id="r2", **ID))
    bought = await accepted(shop, order("o2", **ID))
    assert [outcome(one) for one in (by_order, by_customer, bought)] == [expected] * 3


async def test_what_was_registered_before_there_were_statuses_is_active(shop: Shop) -> None:
    campaign = await shop.registry.get(Campaign, Account(1), 1)
    affiliate = await shop.registry.get(Affiliate, Account(1), 1)
    assert (campaign.suspended_at, affiliate.suspended_at) == (None, None)
