"""Accounts for a day's traffic independently of LinkJolt: in fractions, by affiliate."""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from math import floor
from typing import NamedTuple

DIGITS = {"USD": 2, "EUR": 2, "JPY": 0}
# The share of what is left of an order, given what is left and the whole order value.
Rule = Callable[[Fraction, Fraction], Fraction]


class Amounts(NamedTuple):
    """Conversions that count; their value, commission and claw-back in minor units."""

    conversions: int = 0
    value: int = 0
    commission: int = 0
    clawback: int = 0


# By affiliate and currency.
Sums = dict[tuple[str | None, str], Amounts]


def percentage(rate: str, cap: str | None = None) -> Rule:
    def pay(left: Fraction, _: Fraction) -> Fraction:
        share = left * Fraction(rate) / 100
        return share if cap is None else min(share, Fraction(cap))

    return pay


def flat(amount: str, rate: str = "1") -> Rule:
    """An amount in the campaign's currency; `rate` is that of the order's currency in it."""
    return lambda left, value: Fraction(amount) / Fraction(rate)


def tiered(*tiers: tuple[str, str], rate: str = "1") -> Rule:
    """The tier is that of the whole order value, in the campaign's currency."""

    def pay(left: Fraction, value: Fraction) -> Fraction:
        reached = [Fraction(t) for start, t in tiers if value * Fraction(rate) >= Fraction(start)]
        return left * reached[-1] / 100 if reached else Fraction(0)

    return pay


def nothing(left: Fraction, value: Fraction) -> Fraction:
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
    paid: int | None = None

    @property
    def left(self) -> int:
        return self.value - sum(self.refunds)

    @property
    def commission(self) -> int:
        if self.status == "rejected" or (self.value and not self.left):
            return 0
        unit = 10 ** DIGITS[self.currency]
        return floor(self.rule(Fraction(self.left, unit), Fraction(self.value, unit)) * unit)

    @property
    def amounts(self) -> Amounts:
        """What reports count of it."""
        clawback = max((self.paid or 0) - self.commission, 0)
        if self.status == "rejected":
            return Amounts(clawback=clawback)
        return Amounts(1, self.left, self.commission, clawback)


def sums_of(orders: list[Order]) -> Sums:
    """Sums orders as reports must."""
    found: Sums = {}
    for order in orders:
        add(found, (order.affiliate, order.currency), order.amounts)
    return without_zeros(found)


def add(sums: Sums, key: tuple[str | None, str], more: Amounts) -> None:
    before = sums.get(key, Amounts())
    sums[key] = Amounts(*(a + b for a, b in zip(before, more, strict=True)))


def without_zeros(sums: Sums) -> Sums:
    return {key: amounts for key, amounts in sums.items() if any(amounts)}
