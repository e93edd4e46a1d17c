"""Accounts for a day's traffic independently of LinkJolt: in fractions, by affiliate."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor

DIGITS = {"USD": 2, "EUR": 2, "JPY": 0}
# By affiliate and currency: conversions that count, their value and commission in minor units.
Sums = dict[tuple[str | None, str], tuple[int, int, int]]
Rule = Callable[[Fraction], Fraction]


def percentage(rate: str, cap: str | None = None) -> Rule:
    def pay(value: Fraction) -> Fraction:
        share = value * Fraction(rate) / 100
        return share if cap is None else min(share, Fraction(cap))

    return pay


def flat(amount: str) -> Rule:
    return lambda _: Fraction(amount)


def tiered(*tiers: tuple[str, str]) -> Rule:
    def pay(value: Fraction) -> Fraction:
        reached = [Fraction(rate) for start, rate in tiers if value >= Fraction(start)]
        return value * reached[-1] / 100 if reached else Fraction(0)

    return pay


def nothing(_: Fraction) -> Fraction:
    return Fraction(0)


@dataclass
class Order:
    """One conversion; amounts in minor units."""

    conversion_id: str
    affiliate: str | None
    currency: str
    value: int
    status: str
    rule: Rule = nothing
    refunds: list[int] = field(default_factory=list[int])

    @property
    def left(self) -> int:
        return self.value - sum(self.refunds)

    @property
    def commission(self) -> int:
        if self.value and not self.left:
            return 0
        unit = 10 ** DIGITS[self.currency]
        return floor(self.rule(Fraction(self.left, unit)) * unit)


def sums_of(orders: list[Order]) -> Sums:
    """Sums orders as reports must; rejected ones count nothing."""
    found: Sums = {}
    for order in orders:
        if order.status == "rejected":
            continue
        key = order.affiliate, order.currency
        count, value, commission = found.get(key, (0, 0, 0))
        found[key] = count + 1, value + order.left, commission + order.commission
    return found
