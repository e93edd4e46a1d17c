"""Clicks, coupons, versions of rules and first orders decide who earns a conversion."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from linkjolt.datasets import Account
from linkjolt.money import Flat, Percentage
from linkjolt.registry.entries import Affiliate, Campaign, Coupon, RuleVersion
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_http import ORDER, click_id
from tests.waiting import wait_until

SALE = {"order_id": "o1", "order_value": 100}


async def change_campaign(shop: Shop, **fields: object) -> None:
    """Changes the shop's campaign, and waits until the edge has heard of it."""
    await shop.registry.patch(
        Campaign,
        Account(1),
        shop.link.campaign,
        lambda entry: msgspec.structs.replace(entry, **fields),
    )

    async def heard() -> bool:
        route = await shop.edge.directory.route(shop.link.tracking_code)
        return all(getattr(route and route.campaign, name) == v for name, v in fields.items())

    await wait_until(heard)


async def test_of_several_clicks_the_last_earns(shop: Shop) -> None:
    old, new = click_id(shop, 90_000), click_id(shop, 5_000)
    answer = (await shop.post({**SALE, "click_ids": [new, old]})).json()
    assert answer["click_id"] == new
    assert answer["attribution"] == {"method": "click", "reason": "last_click"}


async def test_of_several_clicks_the_first_earns_where_the_campaign_says_so(shop: Shop) -> None:
    await change_campaign(shop, attribution="first")
    old, new = click_id(shop, 90_000), click_id(shop, 5_000)
    answer = (await shop.post({**SALE, "click_id": new, "click_ids": ["0" * 26, old]})).json()
    assert answer["click_id"] == old
    assert answer["attribution"] == {"method": "click", "reason": "first_click"}
    [stored] = await shop.conversions()
    assert (stored.click_id, stored.reason) == (old, "first_click")


async def test_a_coupon_earns_where_no_click_and_no_code_does(shop: Shop) -> None:
    ann = await shop.registry.create(
        Affiliate(number=0, account=Account(1), name="Bo", created_at=datetime.now(UTC))
    )
    await shop.registry.create(
        Coupon(
            number=0,
            account=Account(1),
            code="SPRING",
            campaign=shop.link.campaign,
            affiliate=ann.number,
            created_at=datetime.now(UTC),
        )
    )
    answer = (await shop.post({**SALE, "coupon_code": "spring"})).json()
    assert answer["attribution"] == {"method": "coupon", "reason": None}
    assert (answer["affiliate_id"], answer["commission_amount"]) == ("aff_2", 30.0)
    late = {**SALE, "order_id": "o2", "coupon_code": "spring", "click_id": "0" * 26}
    answer = (await shop.post(late)).json()
    assert answer["attribution"] == {"method": "coupon", "reason": "click_forged"}
    by_code = {**ORDER, "order_id": "o3", "coupon_code": "spring"}
    assert (await shop.post(by_code)).json()["affiliate_id"] == "aff_1"


async def test_a_coupon_of_nobody_is_refused_alone_and_kept_beside_a_click(shop: Shop) -> None:
    problem = (await shop.post({**SALE, "coupon_code": "none"})).json()
    assert (problem["code"], problem["errors"][0]["field"]) == ("unknown_reference", "coupon_code")
    answer = await shop.post({**SALE, "coupon_code": "none", "click_id": click_id(shop)})
    assert answer.status_code == 201
    [stored] = await shop.conversions()
    assert stored.coupon_code == "none"


async def test_a_conversion_keeps_the_version_it_was_paid_by(shop: Shop) -> None:
    earlier = (await shop.post(ORDER)).json()
    rule = RuleVersion(version=2, starts_at=datetime.now(UTC), commission=Percentage(Decimal(50)))
    await change_campaign(shop, rules=(rule,))
    later = (await shop.post({**ORDER, "order_id": "later"})).json()
    assert (earlier["commission_amount"], later["commission_amount"]) == (29.99, 49.99)
    body = {"kind": "refund", "adjustment_id": "a", "amount": "49.99"}
    for answer, left in ((earlier, 15.0), (later, 25.0)):
        path = f"/v1/conversions/{answer['conversion_id']}/adjustments"
        now = (await shop.post(body, path=path)).json()["conversion"]
        assert now["commission_amount"] == left


async def test_only_a_customers_first_order_is_paid_where_the_rule_says_so(shop: Shop) -> None:
    await change_campaign(shop, commission=Flat(Decimal(5), first_order_only=True))
    first = (await shop.post(ORDER)).json()
    second = (await shop.post({**ORDER, "order_id": "second"})).json()
    assert (first["commission_amount"], second["commission_amount"]) == (5.0, 0.0)
    # The first one sent again is still the first.
    assert (await shop.post(ORDER)).json() == {**first, "duplicate": True}
    path = f"/v1/conversions/{second['conversion_id']}"
    assert (await shop.get(path)).json()["commission_reason"] == "not_first_order"


async def test_who_names_no_customer_is_paid_and_it_is_said(shop: Shop) -> None:
    await change_campaign(shop, commission=Flat(Decimal(5), first_order_only=True))
    order = {name: value for name, value in ORDER.items() if name != "customer_email"}
    answer = (await shop.post(order)).json()
    assert answer["commission_amount"] == 5.0
    [stored] = await shop.conversions()
    assert stored.commission_reason == "first_order_unchecked"


async def test_what_a_test_key_posts_is_kept_apart(shop: Shop) -> None:
    key = await make_key(shop.registry, ["conversions:write"], test=True)
    trial = (await shop.post(ORDER, key)).json()
    assert trial["is_test"] is True
    live = (await shop.post(ORDER)).json()
    assert (live["duplicate"], "is_test" in live) == (False, False)
    assert trial["conversion_id"] != live["conversion_id"]
    path = f"/v1/conversions/{trial['conversion_id']}"
    assert (await shop.get(path)).status_code == 404
    assert (await shop.get(path, key)).status_code == 200


@pytest.mark.parametrize("field", ["click_id", "click_ids"])
async def test_a_click_that_is_not_genuine_is_named_to_a_key_bound_to_a_campaign(
    shop: Shop, field: str
) -> None:
    key = await make_key(shop.registry, ["conversions:write"], campaign=shop.link.campaign)
    bad = "0" * 26
    answer = await shop.post(
        {"order_id": "o1", "order_value": 5, field: bad if field == "click_id" else [bad]}, key
    )
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown_reference")
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert await shop.conversions() == []


async def test_a_key_bound_to_a_campaign_posts_to_no_other(shop: Shop) -> None:
    key = await make_key(shop.registry, ["conversions:write"], campaign=99)
    answer = await shop.post(ORDER, key)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert await shop.conversions() == []
