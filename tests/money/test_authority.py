"""Whoever has less authority never blocks, changes or outlives an order of who has more."""

import csv
from typing import Any

import pytest

from tests.money.conftest import OpenShop
from tests.money.merchant import Merchant
from tests.money.shop import Shop, eventually, kinds, money, net, unique

_UNVERIFIED = "conversions,revenue,commission,unverified_conversions"


def _superseded(shop: Shop, click: str) -> bool:
    """Returns whether the click's conversion is kept as evidence that earns nothing."""
    evidence = shop.only(click_id=click)
    return (
        (evidence["status"], evidence["verified"]) == ("rejected", False)
        and kinds(evidence)[-1] == "superseded"
        and net(evidence) == (0, 0)
    )


def test_a_pixel_records_nothing_unless_the_campaign_has_it_on(shop: Shop) -> None:
    shop.pixel(click_id=shop.click(), order_id=unique(), amount="100")
    assert shop.listed() == []


def test_an_unsigned_pixel_never_holds_an_order_against_a_keyed_post(open_shop: OpenShop) -> None:
    shop, order = open_shop(pixel="on"), unique()
    of_ann, of_ben = shop.click(), shop.click(shop.ben)
    shop.pixel(click_id=of_ann, order_id=order, amount="0.01")
    sale = shop.post(click_id=of_ben, order_id=order, order_value=100)
    assert sale.status_code == 201, sale.text
    assert (sale.json()["affiliate_id"], *money(sale.json())) == (shop.ben.id, 100, 30)
    assert _superseded(shop, of_ann)
    assert shop.totals(_UNVERIFIED) == (1, 100, 30, 0)


def test_an_unsigned_pixel_never_holds_an_order_of_another_campaign(open_shop: OpenShop) -> None:
    shop, other, order = open_shop(pixel="on"), open_shop(), unique()
    shop.pixel(click_id=shop.click(), order_id=order, amount="0.01")
    assert money(other.sale(order_id=order)) == (100, 30)


def test_a_keyed_postback_never_approves_the_conversion_of_an_unsigned_pixel(
    open_shop: OpenShop,
) -> None:
    shop, order = open_shop(pixel="on"), unique()
    of_ann, of_ben = shop.click(), shop.click(shop.ben)
    shop.pixel(click_id=of_ann, order_id=order, amount="0.01")
    told = {"click_id": of_ben, "order_id": order, "payout": 100, "status": "approved"}
    assert shop.postback(**told).status_code == 200
    earned = shop.only(click_id=of_ben)
    assert (earned["affiliate_id"], earned["status"]) == (shop.ben.id, "approved")
    assert money(earned) == (100, 30)
    assert _superseded(shop, of_ann)


@pytest.mark.parametrize("status", ["pending", "approved"])
def test_an_unsigned_pixel_takes_no_order_of_a_campaign_that_updates(
    open_shop: OpenShop, status: str
) -> None:
    shop, order = open_shop(pixel="on", duplicates="update", conversion_status=status), unique()
    of_ann, of_ben = shop.click(), shop.click(shop.ben)
    shop.pixel(click_id=of_ann, order_id=order, amount="0")
    sale = shop.post(click_id=of_ben, order_id=order, order_value=250)
    assert sale.status_code == 201, sale.text
    assert (sale.json()["affiliate_id"], *money(sale.json())) == (shop.ben.id, 250, 75)
    assert _superseded(shop, of_ann)


@pytest.mark.parametrize("first", ["pixel", "post"])
def test_a_shop_that_reports_by_pixel_and_by_post_counts_each_order_once(
    open_shop: OpenShop, first: str
) -> None:
    shop, order = open_shop(pixel="on"), unique()
    click = shop.click()
    if first == "pixel":
        shop.pixel(click_id=click, order_id=order, amount="99.99")
    sale = shop.post(click_id=click, order_id=order, order_value="99.99")
    if first == "post":
        shop.pixel(click_id=click, order_id=order, amount="1")
    assert (sale.status_code, *money(sale.json())) == (201, 99.99, 29.99)
    assert money(shop.api.read(sale.json()["conversion_id"])) == (99.99, 29.99)
    assert shop.totals() == (1, 99.99, 29.99)


def test_a_keyed_post_without_the_pixels_order_takes_its_click_and_event(
    open_shop: OpenShop,
) -> None:
    shop = open_shop(pixel="on")
    click = shop.click()
    shop.pixel(click_id=click, order_id=unique("guessed"), amount="5")
    sale = shop.sale(click_id=click)
    rows = {row["conversion_id"]: row for row in shop.listed(click_id=click)}
    assert rows.pop(sale["conversion_id"])["status"] == "pending"
    assert [row["status"] for row in rows.values()] == ["rejected"]
    assert shop.totals(_UNVERIFIED) == (1, 100, 30, 0)


def test_a_click_has_one_unsigned_conversion_however_often_its_pixel_is_loaded(
    open_shop: OpenShop,
) -> None:
    shop = open_shop(pixel="on", pixel_max_value="10000")
    click = shop.click()
    for _ in range(50):
        shop.pixel(click_id=click, order_id=unique(), amount="9999")
    assert shop.totals(_UNVERIFIED) == (0, 0, 0, 1)
    [row] = shop.listed()
    assert (row["verified"], row["commission_amount"]) == (False, 0)


def test_a_pixel_loaded_again_keeps_the_first_amount(open_shop: OpenShop) -> None:
    shop, order = open_shop(pixel="on"), unique()
    click = shop.click()
    for amount in ("10", "20"):
        shop.pixel(click_id=click, order_id=order, amount=amount)
    assert shop.only(click_id=click)["order_value"] == 10


@pytest.mark.parametrize(
    ("campaign", "amount"),
    [
        pytest.param({}, "9999999999999", id="beyond the default bound"),
        pytest.param({"pixel_max_value": "500"}, "500.01", id="beyond the campaign's bound"),
    ],
)
def test_a_pixel_writes_no_value_beyond_the_bound(
    open_shop: OpenShop, campaign: dict[str, Any], amount: str
) -> None:
    shop = open_shop(pixel="on", conversion_status="approved", **campaign)
    shop.pixel(click_id=shop.click(), order_id=unique(), amount=amount)
    assert shop.totals() == (0, 0, 0)
    assert not [row for row in shop.listed() if row["order_value"] >= float(amount)]


def test_a_pixel_within_the_campaigns_bound_is_listed_as_unverified(open_shop: OpenShop) -> None:
    shop = open_shop(pixel="on", pixel_max_value="500")
    shop.pixel(click_id=shop.click(), order_id=unique(), amount="500")
    [row] = shop.listed()
    assert (row["verified"], *money(row)) == (False, 500, 0)
    assert shop.api.read(row["conversion_id"])["verified"] is False


def test_a_pixel_counts_in_the_campaigns_currency_alone(open_shop: OpenShop) -> None:
    shop = open_shop(pixel="on")
    shop.pixel(click_id=shop.click(), order_id=unique(), amount="10", currency="JPY")
    shop.pixel(click_id=shop.click(), order_id=unique(), amount="10")
    assert {row["currency"] for row in shop.listed()} == {"USD"}


def test_an_approval_verifies_the_conversion_of_a_pixel(open_shop: OpenShop) -> None:
    shop = open_shop(pixel="on")
    click = shop.click()
    shop.pixel(click_id=click, order_id=unique(), amount="100")
    unverified = shop.only(click_id=click)["conversion_id"]
    approved = shop.adjusted(unverified, "approve")
    assert (approved["verified"], approved["status"], *money(approved)) == (
        True,
        "approved",
        100,
        30,
    )
    assert shop.totals(_UNVERIFIED) == (1, 100, 30, 0)


def test_a_superseded_conversion_of_a_pixel_is_not_approved_any_more(open_shop: OpenShop) -> None:
    shop, order = open_shop(pixel="on"), unique()
    click = shop.click()
    shop.pixel(click_id=click, order_id=order, amount="50")
    unverified = shop.only(click_id=click)["conversion_id"]
    shop.sale(order_id=order, tracking_code=shop.ben.code)
    assert shop.adjust(unverified, "approve").status_code == 409
    assert shop.totals() == (1, 100, 30)


def test_no_webhook_tells_of_a_pixels_conversion_before_it_is_verified(
    open_shop: OpenShop, merchant: Merchant
) -> None:
    shop = open_shop(pixel="on")
    endpoint = merchant.endpoint(shop)
    click = shop.click()
    shop.pixel(click_id=click, order_id=unique(), amount="100")
    unverified = shop.only(click_id=click)["conversion_id"]
    keyed = shop.sale()["conversion_id"]
    assert eventually(lambda: bool(endpoint.told(keyed)), 10)
    assert endpoint.told(unverified) == []
    shop.adjusted(unverified, "approve")
    assert eventually(lambda: bool(endpoint.told(unverified)), 10)


def test_the_csv_of_conversions_says_what_is_verified(open_shop: OpenShop) -> None:
    shop = open_shop(pixel="on")
    click = shop.click()
    shop.pixel(click_id=click, order_id=unique(), amount="100")
    shop.sale()
    shop.listed()
    answer = shop.api.send(
        "GET",
        shop.api.reports + "/v1/conversions",
        params={"campaign_id": shop.campaign, "format": "csv"},
    )
    header, *rows = csv.reader(answer.text.splitlines())
    column = header.index("verified")
    verified = {row[header.index("click_id")]: row[column] for row in rows}
    assert verified[click] == "false"
    assert verified[""] == "true"


@pytest.mark.parametrize(
    "change",
    [{"payout": 1}, {"status": "rejected"}, {"status": "refunded"}],
    ids=["another amount", "a rejection", "a refund"],
)
def test_a_networks_bound_key_never_changes_an_order_of_the_merchant(
    shop: Shop, change: dict[str, Any]
) -> None:
    click, network = shop.click(), shop.bound_key()["key"]
    sale = shop.sale(click_id=click, status="approved")
    told = {"click_id": click, "order_id": sale["order_id"], "payout": 100}
    assert shop.postback(**(told | change), key=network).status_code == 409
    now = shop.api.read(sale["conversion_id"])
    assert (now["status"], *money(now)) == ("approved", 100, 30)


def test_the_merchants_post_takes_an_order_from_a_networks_bound_key(shop: Shop) -> None:
    click, order, network = shop.click(), unique(), shop.bound_key()["key"]
    told = {"click_id": click, "order_id": order, "payout": 9999, "status": "approved"}
    assert shop.postback(**told, key=network).status_code == 200
    sale = shop.sale(order_id=order, click_id=shop.click(shop.ben))
    assert (sale["affiliate_id"], *money(sale)) == (shop.ben.id, 100, 30)
    former = shop.only(click_id=click)
    assert (former["status"], kinds(former)[-1]) == ("rejected", "superseded")
    assert shop.totals() == (1, 100, 30)


def test_one_campaigns_network_never_blocks_an_order_of_another_campaign(
    open_shop: OpenShop,
) -> None:
    narrow, wide, order = open_shop(), open_shop(), unique()
    network = narrow.bound_key()["key"]
    told = {"click_id": narrow.click(), "order_id": order, "payout": 10}
    assert narrow.postback(**told, key=network).status_code == 200
    sale = wide.sale(order_id=order)
    assert money(sale) == (100, 30)
    assert "order_in_two_campaigns" in wide.api.read(sale["conversion_id"])["notes"]
    [row] = wide.listed(order_id=order)
    assert "order_in_two_campaigns" in row["notes"]
    assert narrow.totals() == (1, 10, 3)


def test_networks_of_two_campaigns_may_report_the_same_order_id(open_shop: OpenShop) -> None:
    order, shops = unique(), [open_shop(), open_shop()]
    for one in shops:
        told = {"click_id": one.click(), "order_id": order, "payout": 10}
        assert one.postback(**told, key=one.bound_key()["key"]).status_code == 200
    assert [one.totals() for one in shops] == [(1, 10, 3), (1, 10, 3)]


def test_the_owner_adjusts_a_conversion_that_a_network_has_changed_a_hundred_times(
    shop: Shop,
) -> None:
    told = {"click_id": shop.click(), "order_id": unique(), "key": shop.bound_key()["key"]}
    statuses = [shop.postback(**told, payout=4_000 + n).status_code for n in range(120)]
    assert (statuses[:99], statuses[-1]) == ([200] * 99, 409)
    conversion = shop.only(order_id=told["order_id"])["conversion_id"]
    shop.adjusted(conversion, "approve")
    assert net(shop.adjusted(conversion, "restate", order_value=4000)) == (4000, 1200)
    assert net(shop.adjusted(conversion, "refund", amount=1000)) == (3000, 900)
    assert shop.adjusted(conversion, "pay")["payout"] == "paid"
    assert net(shop.adjusted(conversion, "reject")) == (0, 0)
    assert shop.totals() == (0, 0, 0)
