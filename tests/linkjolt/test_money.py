"""Amounts are exact and commissions truncated, checked against plain fractions."""

from decimal import Decimal
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.money import (
    CURRENCIES,
    Commission,
    Flat,
    Percentage,
    Tier,
    Tiered,
    check_commission,
    commission_minor,
    format_major,
    to_major,
    to_minor,
)
from linkjolt.reasons import Rejected

RATES = st.decimals(0, 100, places=4)
MINORS = st.integers(0, 10**15)
CODES = st.sampled_from(sorted(CURRENCIES))


def test_30_percent_of_99_99_is_29_99() -> None:
    assert commission_minor(Percentage(rate=Decimal(30)), 9999, "USD") == 2999


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [("99.99", "USD", 9999), ("5", "JPY", 5), ("1.234", "KWD", 1234), ("1e2", "USD", 10_000)],
)
def test_amounts_are_minor_units_of_their_currency(amount: str, currency: str, minor: int) -> None:
    assert to_minor(Decimal(amount), currency, "order_value") == minor


@given(MINORS, CODES)
def test_minor_and_major_units_convert_both_ways(minor: int, currency: str) -> None:
    major = to_major(minor, currency)
    assert to_minor(major, currency, "amount") == minor
    assert major == Decimal(Fraction(minor, 10 ** CURRENCIES[currency]).numerator) / Decimal(
        Fraction(minor, 10 ** CURRENCIES[currency]).denominator
    )


@given(MINORS, CODES)
def test_an_amounts_text_is_that_of_its_decimal(minor: int, currency: str) -> None:
    assert format_major(minor, currency) == str(to_major(minor, currency))


@given(
    st.one_of(
        st.decimals(allow_nan=True, allow_infinity=True),
        st.decimals(-1, 10**15 + 1, places=2),
        st.decimals(0, 10**16, places=30),
        st.sampled_from(["1e999999", "1e-999999", "-0", "0e-40", "sNaN", "1e15"]),
    ).map(Decimal),
    CODES,
)
def test_minor_units_equal_fractions_or_are_refused(amount: Decimal, currency: str) -> None:
    minor: int | None = None
    if amount.is_finite() and 0 <= amount <= 10**15 and amount.adjusted() > -100:
        exact = Fraction(amount) * 10 ** CURRENCIES[currency]
        minor = int(exact) if exact.denominator == 1 and exact <= 10**15 else None
    elif amount.is_finite() and not amount:
        minor = 0
    try:
        found = to_minor(amount, currency, "order_value")
    except Rejected:
        assert minor is None
    else:
        assert found == minor


@given(MINORS, RATES)
def test_a_percentage_is_the_truncated_fraction(minor: int, rate: Decimal) -> None:
    exact = Fraction(minor) * Fraction(rate) / 100
    assert commission_minor(Percentage(rate=rate), minor, "USD") == floor(exact)


@given(MINORS, st.lists(st.tuples(st.integers(0, 10**6), RATES), min_size=1, max_size=5))
def test_the_highest_tier_reached_pays(minor: int, steps: list[tuple[int, Decimal]]) -> None:
    by_start = dict(sorted(steps))
    rule = Tiered(tiers=tuple(Tier(from_=Decimal(a), rate=r) for a, r in by_start.items()))
    reached = [r for a, r in by_start.items() if Fraction(minor, 100) >= a]
    exact = Fraction(minor) * Fraction(reached[-1]) / 100 if reached else Fraction(0)
    assert commission_minor(rule, minor, "EUR") == floor(exact)


@given(
    MINORS,
    CODES,
    st.lists(st.tuples(st.decimals(0, 10**6, places=2), RATES), min_size=1, max_size=4),
)
def test_a_tier_begins_at_its_amount_in_every_currency(
    minor: int, currency: str, steps: list[tuple[Decimal, Decimal]]
) -> None:
    tiers = tuple(Tier(from_=a, rate=r) for a, r in sorted(dict(steps).items()))
    reached = [tier.rate for tier in tiers if tier.from_ <= to_major(minor, currency)]
    exact = Fraction(minor) * Fraction(reached[-1]) / 100 if reached else Fraction(0)
    assert commission_minor(Tiered(tiers=tiers), minor, currency) == floor(exact)


@pytest.mark.parametrize(("currency", "minor_per_major"), [("USD", 100), ("JPY", 1), ("KWD", 1000)])
@pytest.mark.parametrize(("beside", "rates"), [(-1, (0, 10)), (0, (10, 20)), (1, (10, 20))])
def test_a_tier_pays_from_exactly_its_threshold_on(
    currency: str, minor_per_major: int, beside: int, rates: tuple[int, int]
) -> None:
    tiers = (Tier(from_=Decimal(50), rate=Decimal(10)), Tier(from_=Decimal(100), rate=Decimal(20)))
    for tier, rate in zip(tiers, rates, strict=True):
        value = int(tier.from_) * minor_per_major + beside
        assert commission_minor(Tiered(tiers=tiers), value, currency) == value * rate // 100


def test_flat_pays_its_amount() -> None:
    assert commission_minor(Flat(amount=Decimal("2.50")), 1, "USD") == 250


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        ("-0.01", "USD"),
        ("NaN", "USD"),
        ("Infinity", "USD"),
        ("0.001", "USD"),
        ("0.1", "JPY"),
        ("1." + "0" * 30 + "1", "USD"),
        ("1e-400", "USD"),
        ("1e400", "USD"),
        ("5", "XYZ"),
    ],
)
def test_amounts_that_are_not_exact_are_refused(amount: str, currency: str) -> None:
    with pytest.raises(Rejected):
        to_minor(Decimal(amount), currency, "order_value")


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        (Percentage(rate=Decimal(101)), "commission.rate"),
        (Percentage(rate=Decimal(-1)), "commission.rate"),
        (Percentage(rate=Decimal("NaN")), "commission.rate"),
        (Percentage(rate=Decimal("1.00001")), "commission.rate"),
        (Flat(amount=Decimal("0.001")), "commission.amount"),
        (Tiered(tiers=()), "commission.tiers"),
        (
            Tiered(tiers=(Tier(from_=Decimal(5), rate=Decimal(1)),) * 2),
            "commission.tiers",
        ),
    ],
)
def test_rules_that_cannot_be_computed_are_refused_by_name(rule: Commission, field: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_commission(rule, "USD")
    assert refused.value.field == field
