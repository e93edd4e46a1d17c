"""Who earns: deleted and suspended partners and campaigns, coupons, composites, customers."""

from typing import Any

import pytest

from tests.money.conftest import OpenShop
from tests.money.shop import (
    BROWSER,
    Partner,
    Shop,
    days_ago,
    eventually,
    money,
    refused_field,
    unique,
)


def _coupon(shop: Shop, partner: Partner) -> str:
    code = unique("COUPON").upper()
    made = shop.api.create("coupons", code=code, campaign_id=shop.campaign, affiliate_id=partner.id)
    return made["code"]


def _path(shop: Shop, what: str) -> str:
    return (
        f"/v1/affiliates/{shop.ann.id}" if what == "affiliate" else f"/v1/campaigns/{shop.campaign}"
    )


def _delete(shop: Shop, what: str) -> None:
    """Deletes Ann or the campaign, and waits until her link says so."""
    assert shop.api.send("DELETE", _path(shop, what)).status_code == 204

    def gone() -> bool:
        answer = shop.api.send("GET", f"/{shop.ann.code}", key="-", headers=BROWSER)
        return answer.status_code == 410

    assert eventually(gone)


def _marks(shop: Shop, conversion: dict[str, Any]) -> set[str]:
    """Collects what a conversion says about its earner."""
    now = shop.api.read(conversion["conversion_id"])
    found = {now["commission_reason"], now["attribution"]["reason"], *now.get("notes", ())}
    return {mark for mark in found if mark}


@pytest.mark.parametrize("what", ["affiliate", "campaign"])
@pytest.mark.parametrize("by", ["tracking_code", "coupon_code"])
def test_the_code_of_what_was_deleted_is_refused(shop: Shop, what: str, by: str) -> None:
    code = shop.ann.code if by == "tracking_code" else _coupon(shop, shop.ann)
    _delete(shop, what)
    body = {by: code, "order_value": 100}
    answer = shop.post(**body, order_id=unique())
    assert refused_field(answer) == by


@pytest.mark.parametrize("what", ["affiliate", "campaign"])
def test_an_earlier_click_of_what_was_deleted_earns_nothing_and_says_why(
    shop: Shop, what: str
) -> None:
    click = shop.click()
    _delete(shop, what)
    sale = shop.sale(click_id=click)
    assert money(sale) == (100, 0)
    assert f"{what}_deleted" in _marks(shop, sale)


@pytest.mark.parametrize("what", ["affiliate", "campaign"])
def test_what_was_earned_before_a_deletion_stays(shop: Shop, what: str) -> None:
    sale = shop.sale(status="approved")
    _delete(shop, what)
    assert money(shop.api.read(sale["conversion_id"])) == (100, 30)


def test_a_deleted_link_earns_by_its_clicks_and_not_by_its_code(shop: Shop) -> None:
    click = shop.click()
    [link] = [
        one
        for one in shop.api.send("GET", "/v1/links?limit=1000").json()["data"]
        if one["tracking_code"] == shop.ann.code
    ]
    assert shop.api.send("DELETE", f"/v1/links/{link['id']}").status_code == 204
    body = {"tracking_code": shop.ann.code, "order_value": 100}
    assert eventually(lambda: shop.post(**body, order_id=unique()).status_code == 422)
    assert money(shop.sale(click_id=click)) == (100, 30)


def _suspend(shop: Shop, what: str, status: str = "suspended") -> None:
    answer = shop.api.send("PATCH", _path(shop, what), json={"status": status})
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == status


@pytest.mark.parametrize("what", ["affiliate", "campaign"])
@pytest.mark.parametrize("by", ["click_id", "tracking_code", "coupon_code"])
def test_who_is_suspended_earns_nothing_from_then_on(shop: Shop, what: str, by: str) -> None:
    named = {
        "click_id": shop.click(),
        "tracking_code": shop.ann.code,
        "coupon_code": _coupon(shop, shop.ann),
    }[by]
    assert money(shop.sale(**{by: named})) == (100, 30)
    _suspend(shop, what)
    assert eventually(lambda: money(shop.sale(**{by: named})) == (100, 0))
    sale = shop.sale(**{by: named})
    assert f"{what}_suspended" in _marks(shop, sale)
    _suspend(shop, what, "active")
    assert eventually(lambda: money(shop.sale(**{by: named})) == (100, 30))


def test_an_order_from_before_a_suspension_earns(shop: Shop) -> None:
    _suspend(shop, "affiliate")
    assert eventually(lambda: money(shop.sale()) == (100, 0))
    assert money(shop.sale(timestamp=days_ago(1))) == (100, 30)


def test_a_suspended_partner_leaves_the_others_alone(shop: Shop) -> None:
    _suspend(shop, "affiliate")
    assert eventually(lambda: money(shop.sale()) == (100, 0))
    assert money(shop.sale(tracking_code=shop.ben.code)) == (100, 30)


def test_a_click_earns_before_another_partners_code(shop: Shop) -> None:
    sale = shop.sale(tracking_code=shop.ann.code, click_id=shop.click(shop.ben))
    assert (sale["affiliate_id"], sale["attribution"]["method"]) == (shop.ben.id, "click")


def test_a_click_earns_before_another_partners_coupon_and_says_so(shop: Shop) -> None:
    sale = shop.sale(coupon_code=_coupon(shop, shop.ben), click_id=shop.click(shop.ann))
    assert (sale["affiliate_id"], sale["attribution"]["method"]) == (shop.ann.id, "click")
    assert "coupon_of_another" in _marks(shop, sale)


def test_a_composite_that_names_another_partner_earns_for_its_click(shop: Shop) -> None:
    of_ben, ann = shop.click(shop.ben), shop.ann.id.removeprefix("aff_")
    sale = shop.sale(tracking_code=f"{shop.ann.code}_aff_{ann}_cid_{of_ben}")
    assert (sale["affiliate_id"], sale["click_id"]) == (shop.ben.id, of_ben)


@pytest.mark.parametrize("event", ["sale", "rebill"])
def test_a_known_customer_earns_for_the_first_partner_for_life(
    open_shop: OpenShop, event: str
) -> None:
    shop, customer = open_shop(lifetime=True), unique("customer")
    shop.sale(click_id=shop.click(), customer_id=customer)
    later = {"customer_id": customer, "event": event, "order_id": unique(), "order_value": 50}
    answer = shop.post(**later)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["affiliate_id"], *money(answer.json())) == (shop.ann.id, 50, 15)
    # A later click of another partner does not make that one the customer's first.
    shop.sale(click_id=shop.click(shop.ben), customer_id=customer)
    again = shop.post(**(later | {"order_id": unique()}))
    assert again.json()["affiliate_id"] == shop.ann.id


@pytest.mark.parametrize("lifetime", [True, False])
def test_a_customer_nobody_brought_is_refused(open_shop: OpenShop, lifetime: bool) -> None:
    shop = open_shop(**({"lifetime": True} if lifetime else {}))
    customer = unique("customer")
    if not lifetime:
        shop.sale(click_id=shop.click(), customer_id=customer)
    body = {"customer_id": customer, "order_id": unique(), "order_value": 50}
    assert shop.post(**body).status_code == 422


def test_a_rebill_needs_no_order_id(shop: Shop) -> None:
    body = {"click_id": shop.click(), "event": "rebill", "order_value": 50, "customer_id": "c1"}
    key = {"Idempotency-Key": unique("rebill")}
    statuses = [shop.post(key, **body).status_code for _ in range(2)]
    assert statuses == [201, 200]


def test_a_partner_who_buys_through_the_own_link_is_marked(shop: Shop) -> None:
    email = f"{unique('partner')}@partner.example"
    partner = shop.partner(email=email)
    sale = shop.sale(tracking_code=partner.code, customer_email=email.upper())
    assert "self_referral" in _marks(shop, sale)
    other = shop.sale(tracking_code=partner.code, customer_email=f"{unique()}@buyer.example")
    assert "self_referral" not in _marks(shop, other)
