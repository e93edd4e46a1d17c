"""Random orders under random rules equal a model in fractions after each step and in reports."""

import json
import random
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

import pytest

from tests.money.shop import Api, Shop

DIGITS = {"USD": 2, "EUR": 2, "JPY": 0, "KWD": 3, "CLF": 4}
_RULES = 40
_ORDERS = 6


def _text(minor: int, digits: int) -> str:
    return f"{Decimal(minor).scaleb(-digits):f}"


def _random_rule(chance: random.Random, digits: int) -> dict[str, Any]:
    def amount(most: int) -> str:
        return _text(chance.randint(1, most * 10**digits), digits)

    def rate() -> str:
        return _text(chance.randint(0, 1_000_000), 4)

    kind = chance.choice(["percentage", "flat", "tiered"])
    if kind == "percentage":
        rule: dict[str, Any] = {"kind": kind, "rate": rate()}
    elif kind == "flat":
        rule = {"kind": kind, "amount": amount(20)}
    else:
        tiers = [{"from": "0", "rate": rate()}, {"from": amount(150), "rate": rate()}]
        rule = {"kind": kind, "tiers": tiers}
    return rule | ({"cap": amount(40)} if chance.random() < 0.4 else {})


@dataclass
class Order:
    """The model of one conversion; amounts in minor units."""

    rule: dict[str, Any]
    digits: int
    gross: int
    refunds: list[int] = field(default_factory=list[int])
    rejected: bool = False

    @property
    def left(self) -> int:
        return 0 if self.rejected else self.gross - sum(self.refunds)

    @property
    def commission(self) -> int:
        if not self.left:
            return 0
        unit = 10**self.digits
        value, gross, rule = Fraction(self.left, unit), Fraction(self.gross, unit), self.rule
        match rule["kind"]:
            case "flat":
                earned = Fraction(rule["amount"])
            case "percentage":
                earned = value * Fraction(rule["rate"]) / 100
            case _:
                reached = [t["rate"] for t in rule["tiers"] if gross >= Fraction(t["from"])]
                earned = value * Fraction(reached[-1]) / 100
        cap = Fraction(rule["cap"]) if "cap" in rule else earned
        return floor(min(earned, cap) * unit)


def _step(chance: random.Random, order: Order) -> dict[str, Any]:
    """Draws an adjustment that the order allows, and books it in the model."""
    if order.rejected:
        order.rejected = False
        return {"kind": "approve"}
    kind = chance.choice(["refund", "refund", "refund", "restate", "reject"])
    if kind == "refund" and order.left:
        order.refunds.append(chance.randint(1, order.left))
        if chance.random() < 0.2:
            order.refunds[-1] += order.left
            return {"kind": "refund"}
        return {"kind": "refund", "amount": _text(order.refunds[-1], order.digits)}
    if kind == "restate" and order.rule["kind"] != "tiered":
        least = sum(order.refunds)
        order.gross = chance.choice([least, chance.randint(least, least + 300 * 10**order.digits)])
        return {"kind": "restate", "order_value": _text(order.gross, order.digits)}
    order.rejected = True
    return {"kind": "reject"}


def _exact(text: str) -> Any:
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def _check(order: Order, told: Any) -> None:
    """Compares a conversion's answer, and the sums of its history, with the model."""
    unit = 10**order.digits
    net, commission = Decimal(order.left) / unit, Decimal(order.commission) / unit
    changes = told["history"]
    assert told["commission_amount"] == commission
    assert sum(entry["commission_change"] for entry in changes) == commission
    assert sum(entry["order_value_change"] for entry in changes) == net


def _live(shop: Shop, chance: random.Random, order: Order, currency: str) -> None:
    """Posts one order and adjusts it, comparing each answer with the model."""
    value = _text(order.gross, order.digits)
    made = shop.sale(value, currency=currency)["conversion_id"]
    _check(order, _exact(shop.api.send("GET", f"/v1/conversions/{made}").text))
    for _ in range(chance.choice([0, 1, 1, 2, 4])):
        body = _step(chance, order)
        answer = shop.adjust(made, **body)
        assert answer.status_code == 201, f"{body}: {answer.text}"
        _check(order, _exact(answer.text)["conversion"])


@pytest.mark.parametrize("currency", DIGITS)
def test_every_step_of_random_orders_is_exact_to_the_minor_unit(api: Api, currency: str) -> None:
    chance, digits = random.Random(currency), DIGITS[currency]
    expected: dict[str, tuple[int, Decimal, Decimal]] = {}
    for _ in range(_RULES // len(DIGITS)):
        rule = _random_rule(chance, digits)
        shop = Shop(api, currency=currency, commission=rule)
        values = [chance.randint(1, 300 * 10**digits) for _ in range(_ORDERS)]
        orders = [Order(rule, digits, value) for value in values]
        for order in orders:
            _live(shop, chance, order, currency)
        unit, counted = 10**digits, [order for order in orders if not order.rejected]
        expected[shop.campaign] = (
            len(counted),
            Decimal(sum(order.left for order in counted)) / unit,
            Decimal(sum(order.commission for order in counted)) / unit,
        )
    report = api.fresh(
        "/v1/reports",
        currency=currency,
        campaign=",".join(expected),
        group_by="campaign",
        metrics="conversions,revenue,commission",
    )
    found = {
        row["campaign"]: (
            row["conversions"],
            Decimal(str(row["revenue"])),
            Decimal(str(row["commission"])),
        )
        for row in report["data"]
    }
    assert found == expected
