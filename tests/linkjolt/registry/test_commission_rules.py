"""The right version of a commission rule applies, and pays as a plain model does."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.datasets import Account
from linkjolt.money import (
    CURRENCIES,
    Commission,
    Flat,
    Percentage,
    Tier,
    Tiered,
    check_commission,
    commission_minor,
)
from linkjolt.reasons import Rejected
from linkjolt.registry.commission_rules import general_rule, rule_at, rule_of_version, with_rule
from linkjolt.registry.entries import Campaign

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
TEN, TWENTY, THIRTY, FORTY = (Percentage(Decimal(rate)) for rate in (10, 20, 30, 40))


def a_campaign() -> Campaign:
    return Campaign(
        number=1, account=Account(1), name="C", currency="USD", commission=TEN, created_at=START
    )


def ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


def test_without_further_rules_the_first_one_pays_always() -> None:
    assert rule_at(a_campaign(), 7, 0) == (1, TEN)


def test_a_rule_applies_from_its_start_on() -> None:
    campaign = with_rule(a_campaign(), TWENTY, starts_at=START + DAY)
    assert rule_at(campaign, 7, ms(START + DAY) - 1) == (1, TEN)
    assert rule_at(campaign, 7, ms(START + DAY)) == (2, TWENTY)
    assert general_rule(campaign, START + DAY) == TWENTY


def test_an_affiliates_own_rule_beats_one_for_all_that_starts_later() -> None:
    campaign = with_rule(a_campaign(), THIRTY, starts_at=START, affiliate=7)
    campaign = with_rule(campaign, TWENTY, starts_at=START + DAY)
    later = ms(START + 2 * DAY)
    assert rule_at(campaign, 7, later) == (2, THIRTY)
    assert rule_at(campaign, 8, later) == (3, TWENTY)


def test_an_affiliates_own_rule_ends_where_it_is_none() -> None:
    campaign = with_rule(a_campaign(), THIRTY, starts_at=START, affiliate=7)
    campaign = with_rule(campaign, None, starts_at=START + DAY, affiliate=7)
    assert rule_at(campaign, 7, ms(START)) == (2, THIRTY)
    assert rule_at(campaign, 7, ms(START + DAY)) == (1, TEN)


def test_of_two_rules_that_start_together_the_one_made_later_counts() -> None:
    campaign = with_rule(a_campaign(), THIRTY, starts_at=START)
    campaign = with_rule(campaign, FORTY, starts_at=START)
    assert rule_at(campaign, 7, ms(START)) == (3, FORTY)


def test_every_version_stays_to_be_found() -> None:
    campaign = with_rule(a_campaign(), THIRTY, starts_at=START)
    campaign = with_rule(campaign, FORTY, starts_at=START, affiliate=7)
    assert [rule_of_version(campaign, v) for v in (1, 2, 3, 4)] == [TEN, THIRTY, FORTY, None]


def test_a_rule_without_limits_is_written_as_before_there_were_any() -> None:
    assert msgspec.json.encode(THIRTY) == b'{"kind":"percentage","rate":"30"}'


@pytest.mark.parametrize("cap", ["-1", "0.001", "NaN", "1e30"])
def test_a_cap_that_is_no_amount_is_refused(cap: str) -> None:
    with pytest.raises(Rejected) as refused:
        check_commission(Percentage(Decimal(1), cap=Decimal(cap)), "USD")
    assert refused.value.field == "commission.cap"


rates = st.decimals(0, 100, places=4)
codes = st.sampled_from(["JPY", "USD", "KWD", "CLF"])


@st.composite
def rules(draw: st.DrawFn, currency: str) -> Commission:
    digits = CURRENCIES[currency]
    amounts = st.integers(0, 10**7).map(lambda minor: Decimal(minor).scaleb(-digits))
    cap = draw(st.none() | amounts)
    kind = draw(st.sampled_from(["percentage", "flat", "tiered"]))
    if kind == "percentage":
        return Percentage(draw(rates), cap=cap)
    if kind == "flat":
        return Flat(draw(amounts), cap=cap)
    starts = sorted(draw(st.sets(amounts, min_size=1, max_size=4)))
    return Tiered(tuple(Tier(start, draw(rates)) for start in starts), cap=cap)


def expected(rule: Commission, value_minor: int, currency: str) -> int:
    """Computes by fractions of major units, as a person would."""
    unit = 10 ** CURRENCIES[currency]
    value = Fraction(value_minor, unit)
    match rule:
        case Percentage():
            exact = value * Fraction(rule.rate) / 100
        case Flat():
            exact = Fraction(rule.amount)
        case Tiered():
            reached = [tier for tier in rule.tiers if value >= Fraction(tier.from_)]
            exact = value * Fraction(reached[-1].rate) / 100 if reached else Fraction(0)
    if rule.cap is not None:
        exact = min(exact, Fraction(rule.cap))
    return floor(exact * unit)


@given(st.data(), codes, st.integers(0, 10**9))
def test_every_commission_equals_a_model_of_fractions(
    data: st.DataObject, currency: str, value_minor: int
) -> None:
    rule = data.draw(rules(currency))
    check_commission(rule, currency)
    assert commission_minor(rule, value_minor, currency) == expected(rule, value_minor, currency)
