"""A rule's amounts pay in the campaign's currency, or by a dated rate, exactly."""

from decimal import Decimal
from typing import Any

import httpx2
import pytest

from tests.money.conftest import OpenShop
from tests.money.shop import Api, Shop, days_ago, eventually, lines, money, refused_field, unique

_FLAT_5 = {"kind": "flat", "amount": "5"}
_CAP_50 = {"kind": "percentage", "rate": "30", "cap": "50"}
_TIERS = {"kind": "tiered", "tiers": [{"from": "0", "rate": "5"}, {"from": "100", "rate": "10"}]}


@pytest.mark.parametrize(
    ("commission", "currency", "value"),
    [
        pytest.param(_FLAT_5, "JPY", 1000, id="5 USD of 1000 JPY"),
        pytest.param(_FLAT_5, "KWD", 10, id="5 USD of 10 KWD"),
        pytest.param(_FLAT_5, "EUR", 10, id="5 USD of 10 EUR"),
        pytest.param({"kind": "flat", "amount": "2.50"}, "JPY", 1000, id="2.50 USD of 1000 JPY"),
        pytest.param(_CAP_50, "JPY", 10000, id="a cap of 50 USD on 10000 JPY"),
        pytest.param(_TIERS, "JPY", 10000, id="tiers in USD for 10000 JPY"),
    ],
)
def test_a_rule_with_amounts_pays_no_order_in_a_currency_without_a_rate(
    open_shop: OpenShop, commission: dict[str, Any], currency: str, value: int
) -> None:
    shop = open_shop(commission=commission)
    body = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": value}
    assert refused_field(shop.post(**body, currency=currency)) == "currency"
    assert shop.listed() == []
    assert shop.post(**body).status_code == 201


@pytest.mark.parametrize(
    ("dialect", "click", "name"),
    [("linkjolt", "click_id", "currency"), ("binom", "cnv_id", "cnv_currency")],
)
def test_a_postback_in_a_currency_without_a_rate_is_refused_by_its_parameter(
    open_shop: OpenShop, dialect: str, click: str, name: str
) -> None:
    shop = open_shop(commission=_FLAT_5)
    told = {click: shop.click(), "payout": 1000, name: "JPY"}
    assert refused_field(shop.postback(dialect, **told)) == name
    assert shop.listed() == []


def test_one_entry_in_a_currency_without_a_rate_is_refused_alone(open_shop: OpenShop) -> None:
    shop = open_shop(commission=_FLAT_5)
    bodies = [
        {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": 10, "currency": code}
        for code in ("USD", "JPY", "USD")
    ]
    answer = shop.post_text(lines(bodies), **{"Content-Type": "application/x-ndjson"}).json()
    assert [result["status"] for result in answer["data"]] == [201, 422, 201]
    assert answer["data"][1]["errors"][0]["field"] == "currency"


def test_a_partners_own_rule_with_amounts_binds_that_partner_alone(shop: Shop) -> None:
    own = {"affiliate_id": shop.ann.id, "commission": _FLAT_5}
    path = f"/v1/campaigns/{shop.campaign}/commissions"
    assert shop.api.send("POST", path, json=own).status_code == 201
    body = {"order_value": 1000, "currency": "JPY"}
    of_ann = shop.post(tracking_code=shop.ann.code, order_id=unique(), **body)
    assert refused_field(of_ann) == "currency"
    assert money(shop.sale(1000, tracking_code=shop.ben.code, currency="JPY")) == (1000, 300)


def test_a_percentage_pays_in_any_currency(shop: Shop) -> None:
    assert money(shop.sale(10000, currency="JPY")) == (10000, 3000)


def _rate(api: Api, currency: str, rate: str, since_days: int = 300) -> None:
    """Sets what a yen is worth in a currency, which the row has for itself."""
    since = days_ago(since_days)[:10]
    body = {"from": "JPY", "to": currency, "rate": rate, "valid_from": since}
    answer = api.send("POST", "/v1/rates", json=body)
    assert answer.status_code == 201, answer.text


def _sell(shop: Shop, value: int, **fields: Any) -> dict[str, Any]:
    """Sells for yen, once the rate has reached the edge, which may take a second."""
    body = {"tracking_code": shop.ann.code, "order_id": unique(), "order_value": value} | fields
    answers: list[httpx2.Response] = []

    def taken() -> bool:
        answers.append(shop.post(**body, currency="JPY"))
        return answers[-1].status_code == 201

    assert eventually(taken), answers[-1].text
    return answers[-1].json()


@pytest.mark.parametrize(
    ("currency", "commission", "value", "earned"),
    [
        pytest.param("AUD", _FLAT_5, 1000, 746, id="a flat amount"),
        pytest.param("CAD", _CAP_50, 10000, 3000, id="a cap that is not reached"),
        pytest.param("CHF", _CAP_50, 100000, 7462, id="a cap that is reached"),
        pytest.param("NZD", _TIERS, 14925, 746, id="just below a tier"),
        pytest.param("SEK", _TIERS, 14926, 1492, id="at a tier"),
    ],
)
def test_a_rule_with_amounts_pays_another_currency_by_the_accounts_rate(
    open_shop: OpenShop, currency: str, commission: dict[str, Any], value: int, earned: int
) -> None:
    shop = open_shop(currency=currency, commission=commission)
    _rate(shop.api, currency, "0.0067")
    sale = _sell(shop, value)
    assert money(sale) == (value, earned)
    kept = shop.api.read(sale["conversion_id"])
    assert Decimal(str(kept["rate"])) == Decimal("0.0067")


def test_a_conversion_is_paid_by_the_rate_of_its_day(open_shop: OpenShop) -> None:
    shop = open_shop(currency="NOK", commission=_FLAT_5)
    _rate(shop.api, "NOK", "0.0067", 200)
    _rate(shop.api, "NOK", "0.01", 100)
    midnight = f"{days_ago(100)[:10]}T00:00:00Z"
    times = [days_ago(101), midnight, days_ago(1)]
    assert eventually(lambda: _sell(shop, 1000)["commission_amount"] == 500)
    sales = [_sell(shop, 1000, timestamp=at) for at in times]
    assert [sale["commission_amount"] for sale in sales] == [746, 500, 500]
    before = {"order_id": unique(), "order_value": 1000, "timestamp": days_ago(201)}
    answer = shop.post(tracking_code=shop.ann.code, currency="JPY", **before)
    assert refused_field(answer) == "currency"


def test_a_later_rate_changes_no_conversion_that_was_made(open_shop: OpenShop) -> None:
    shop = open_shop(currency="DKK", commission=_FLAT_5)
    _rate(shop.api, "DKK", "0.0067")
    sale = _sell(shop, 1000)
    _rate(shop.api, "DKK", "0.01", 0)
    assert eventually(lambda: _sell(shop, 1000)["commission_amount"] == 500)
    refunded = shop.adjusted(sale["conversion_id"], "refund", amount=400)
    assert (refunded["commission_amount"], Decimal(str(refunded["rate"]))) == (
        746,
        Decimal("0.0067"),
    )
