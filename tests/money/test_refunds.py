"""What is refunded, restated or taken back leaves exactly what is earned, and what is owed."""

from typing import Any

import httpx2
import pytest

from tests.money.conftest import OpenShop
from tests.money.merchant import Merchant
from tests.money.shop import Shop, kinds, money, net, refused_field, unique
from tests.system.conftest import wait_for

_FLAT_5 = {"kind": "flat", "amount": "5"}
_TIERS = {"kind": "tiered", "tiers": [{"from": "0", "rate": "5"}, {"from": "100", "rate": "10"}]}


@pytest.mark.parametrize(
    ("commission", "value", "refund", "earned"),
    [
        pytest.param(_TIERS, 100, "0.01", 9.99, id="a refund keeps the tier of the creation"),
        pytest.param(_FLAT_5, 100, "99.99", 5, id="a flat amount is earned by what is left"),
        pytest.param(_FLAT_5, 100, "100", 0, id="a full refund leaves no flat amount"),
        pytest.param(
            {"kind": "percentage", "rate": "30", "cap": "50"},
            1000,
            "500",
            50,
            id="a cap is still reached by what is left",
        ),
    ],
)
def test_a_refund_leaves_what_the_rule_pays_for_the_rest(
    open_shop: OpenShop, commission: dict[str, Any], value: int, refund: str, earned: float
) -> None:
    shop = open_shop(commission=commission)
    sale = shop.sale(value)
    after = shop.adjusted(sale["conversion_id"], "refund", amount=refund)
    assert after["commission_amount"] == earned


def test_an_order_restated_to_nothing_earns_nothing(open_shop: OpenShop) -> None:
    shop = open_shop(commission=_FLAT_5)
    sale = shop.sale()
    after = shop.adjusted(sale["conversion_id"], "restate", order_value=0)
    assert money(after) == (0, 0)
    assert shop.totals("revenue,commission") == (0, 0)


@pytest.mark.parametrize(
    "amount", ["70.01", "-1", "0", "NaN"], ids=["too much", "negative", "nothing", "no number"]
)
def test_a_refund_of_more_than_is_left_or_of_no_amount_is_refused(shop: Shop, amount: str) -> None:
    sale = shop.sale()["conversion_id"]
    shop.adjusted(sale, "refund", amount=30)
    answer = shop.adjust(sale, "refund", amount=amount)
    assert refused_field(answer) == "amount"
    assert amount != "70.01" or "70.00" in answer.json()["detail"]
    assert shop.api.read(sale)["commission_amount"] == 21


def test_a_refund_in_another_currency_is_refused(shop: Shop) -> None:
    sale = shop.sale()["conversion_id"]
    assert refused_field(shop.adjust(sale, "refund", amount=10, currency="EUR")) == "currency"


def test_a_refund_sent_again_counts_once_and_another_under_its_id_is_a_conflict(
    shop: Shop,
) -> None:
    sale, same = shop.sale()["conversion_id"], unique("refund")
    answers = [
        shop.adjust(sale, "refund", amount=amount, adjustment_id=same)
        for amount in (60, "60.00", 50)
    ]
    assert [answer.status_code for answer in answers] == [201, 200, 409]
    assert shop.api.read(sale)["commission_amount"] == 12


@pytest.mark.parametrize(
    ("change", "owed"),
    [
        ({"kind": "refund", "amount": 40}, 12),
        ({"kind": "refund"}, 30),
        ({"kind": "restate", "order_value": 50}, 15),
        ({"kind": "reject"}, 30),
    ],
    ids=["a part refunded", "all refunded", "restated", "rejected"],
)
def test_what_was_paid_and_is_earned_no_more_is_owed_back(
    shop: Shop, change: dict[str, Any], owed: float
) -> None:
    sale = shop.sale(status="approved")["conversion_id"]
    assert shop.adjusted(sale, "pay")["clawback"] == 0
    after = shop.adjusted(sale, **change)
    assert (after["payout"], after["clawback"], after["commission_amount"]) == (
        "paid",
        owed,
        30 - owed,
    )
    assert shop.api.read(sale)["clawback"] == owed
    [row] = shop.listed()
    assert row["clawback"] == owed
    assert shop.totals("clawback") == (owed,)


def test_nothing_is_owed_back_of_what_was_never_paid(shop: Shop) -> None:
    sale = shop.sale(status="approved")["conversion_id"]
    shop.adjusted(sale, "refund", amount=40)
    assert shop.adjusted(sale, "pay")["clawback"] == 0
    assert shop.totals("clawback") == (0,)


def _adjust_by_order(shop: Shop, **body: Any) -> httpx2.Response:
    body = {"adjustment_id": unique("adjustment"), "reason": "so it is"} | body
    return shop.api.send("POST", "/v1/adjustments", json=body)


@pytest.mark.parametrize(
    ("change", "status", "left"),
    [
        ({"kind": "refund", "amount": 40}, "pending", (60, 18)),
        ({"kind": "approve"}, "approved", (100, 30)),
        ({"kind": "reject"}, "rejected", (0, 0)),
        ({"kind": "restate", "order_value": 50}, "pending", (50, 15)),
    ],
    ids=["refunded", "approved", "rejected", "restated"],
)
def test_an_order_is_adjusted_by_its_order_id(
    shop: Shop, change: dict[str, Any], status: str, left: tuple[float, float]
) -> None:
    sale = shop.sale()
    body = {"order_id": sale["order_id"], "adjustment_id": unique("adjustment"), **change}
    answers = [_adjust_by_order(shop, **body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["conversion"]["conversion_id"] == sale["conversion_id"]
    now = shop.api.read(sale["conversion_id"])
    assert (now["status"], *net(now)) == (status, *left)


def test_the_event_tells_apart_a_lead_and_a_sale_of_one_order_id(shop: Shop) -> None:
    sale = shop.sale()
    lead = shop.sale(50, order_id=sale["order_id"], event="lead")
    answer = _adjust_by_order(shop, kind="reject", order_id=sale["order_id"], event="lead")
    assert answer.status_code == 201, answer.text
    now = [shop.api.read(one["conversion_id"])["status"] for one in (sale, lead)]
    assert now == ["pending", "rejected"]


def test_an_adjustment_by_conversion_id_answers_as_the_route_of_the_conversion(
    shop: Shop,
) -> None:
    sale = shop.sale()["conversion_id"]
    answer = _adjust_by_order(shop, kind="refund", amount=40, conversion_id=sale)
    assert answer.status_code == 201, answer.text
    assert answer.json()["adjustment"]["kind"] == "refunded"
    assert net(answer.json()["conversion"]) == (60, 18)


def test_many_adjustments_have_a_result_each(shop: Shop) -> None:
    sales = [shop.sale() for _ in range(3)]
    unknown = "conv_" + "0" * 26
    bodies: list[dict[str, Any]] = [
        {"kind": "approve", "order_id": sales[0]["order_id"]},
        {"kind": "refund", "amount": 40, "conversion_id": sales[1]["conversion_id"]},
        {"kind": "refund", "amount": 101, "order_id": sales[2]["order_id"]},
        {"kind": "refund", "amount": 1, "conversion_id": unknown},
        {"kind": "refund", "amount": 1, "order_id": unique()},
    ]
    named = [{"adjustment_id": unique("adjustment")} | body for body in bodies]
    answer = shop.api.send("POST", "/v1/adjustments", json=named)
    assert answer.status_code == 200, answer.text
    statuses = [result["status"] for result in answer.json()["data"]]
    assert statuses == [201, 201, 422, 404, 202]
    assert [net(shop.api.read(sale["conversion_id"])) for sale in sales] == [
        (100, 30),
        (60, 18),
        (100, 30),
    ]
    too_many = [named[0]] * 1001
    assert shop.api.send("POST", "/v1/adjustments", json=too_many).status_code in (413, 422)


@pytest.mark.parametrize("arrival", ["a post", "a postback"])
def test_a_refund_that_comes_before_its_order_waits_for_it(shop: Shop, arrival: str) -> None:
    order = unique()
    early = _adjust_by_order(shop, kind="refund", amount=40, order_id=order)
    assert (early.status_code, early.json()["status"]) == (202, "waiting")
    if arrival == "a post":
        shop.sale(order_id=order)
    else:
        told = {"click_id": shop.click(), "order_id": order, "payout": 100}
        assert shop.postback(**told).status_code == 200
    wait_for("the refund is made", lambda: shop.totals() == (1, 60, 18), 5)
    now = shop.only(order_id=order)
    assert (now["order_value"], kinds(now)) == (100, ["created", "refunded"])


def test_a_reinstatement_takes_refunds_back(shop: Shop, merchant: Merchant) -> None:
    endpoint = merchant.endpoint(shop, events=["conversion.reinstated"])
    sale = shop.sale()["conversion_id"]
    shop.adjusted(sale, "refund", amount=40)
    assert net(shop.adjusted(sale, "refund", amount=60)) == (0, 0)
    after = shop.adjusted(sale, "reinstate")
    assert (*net(after), kinds(after)[-1]) == (100, 30, "reinstated")
    assert shop.totals() == (1, 100, 30)
    [arrival] = endpoint.wait(1)
    assert arrival.data["commission_amount"] == 30


def test_the_gross_and_the_net_value_have_two_names_everywhere(
    shop: Shop, merchant: Merchant
) -> None:
    endpoint = merchant.endpoint(shop)
    posted = shop.sale()
    sale = posted["conversion_id"]
    assert (posted["order_value"], posted["net_value"]) == (100, 100)
    refunded = shop.adjusted(sale, "refund", amount=40)
    [row] = shop.listed()
    csv = shop.api.send(
        "GET",
        shop.api.reports + "/v1/conversions",
        params={"campaign_id": shop.campaign, "format": "csv"},
    )
    header, values = (line.replace('"', "").split(",") for line in csv.text.splitlines())
    in_csv = {name: float(values[header.index(name)]) for name in ("order_value", "net_value")}
    told = {arrival.event: arrival.data for arrival in endpoint.wait(2)}
    seen = [refunded, shop.api.read(sale), row, in_csv, told["conversion.refunded"]]
    assert [(one["order_value"], one["net_value"]) for one in seen] == [(100, 60)] * 5
    assert told["conversion.created"]["net_value"] == 100
    shop.adjusted(sale, "restate", order_value=90)
    assert (*net(shop.api.read(sale)), shop.api.read(sale)["order_value"]) == (50, 15, 90)
    shop.adjusted(sale, "reject")
    rejected = shop.api.read(sale)
    assert (rejected["order_value"], *net(rejected)) == (90, 0, 0)
