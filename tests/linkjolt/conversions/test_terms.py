"""Commissions equal a model in fractions: rules in a campaign's currency, orders in any other."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random

import pytest

from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.ledger import apply_adjustment
from linkjolt.events import AdjustmentKind, ConversionState
from linkjolt.money import (
    CURRENCIES,
    Commission,
    Flat,
    Percentage,
    Tier,
    Tiered,
    commission_minor,
    format_exchange_rate,
)
from linkjolt.reasons import Rejected
from tests.linkjolt.conversions.test_ledger import a_state

CODES = ("JPY", "USD", "KWD", "CLF")
KINDS: tuple[AdjustmentKind, ...] = (
    *("refunded", "refunded", "reinstated"),
    *("restated", "rejected", "approved"),
)
RULES = 40
STEPS = 12


@dataclass(frozen=True)
class Terms:
    """A rule in the campaign's currency, and what 1 of it is worth in the order's."""

    rule: Commission
    currency: str
    kept_rate: str
    worth: Fraction

    def pays(self, gross_minor: int, net_minor: int) -> int:
        """Computes by fractions of major units, as a person would."""
        unit = 10 ** CURRENCIES[self.currency]
        gross, net = Fraction(gross_minor, unit), Fraction(net_minor, unit)
        if gross and not net:
            return 0
        match self.rule:
            case Percentage(rate=rate):
                exact = net * Fraction(rate) / 100
            case Flat(amount=amount):
                exact = Fraction(amount) * self.worth
            case Tiered(tiers=tiers):
                reached = [tier for tier in tiers if gross >= Fraction(tier.from_) * self.worth]
                exact = net * Fraction(reached[-1].rate) / 100 if reached else Fraction(0)
        if self.rule.cap is not None:
            exact = min(exact, Fraction(self.rule.cap) * self.worth)
        return floor(exact * unit)


def a_rule(chance: Random, currency: str) -> Commission:
    digits = CURRENCIES[currency]

    def amount(most: int) -> Decimal:
        return Decimal(chance.randrange(most * 10**digits)).scaleb(-digits)

    def rate() -> Decimal:
        return Decimal(chance.randrange(1_000_001)).scaleb(-4)

    cap = amount(500) if chance.random() < 0.5 else None
    kind = chance.choice(["percentage", "flat", "tiered", "tiered"])
    if kind == "percentage":
        return Percentage(rate(), cap=cap)
    if kind == "flat":
        return Flat(amount(100), cap=cap)
    starts = sorted({amount(1_000) for _ in range(chance.randint(1, 4))})
    return Tiered(tuple(Tier(start, rate()) for start in starts), cap=cap)


def some_terms(chance: Random, currency: str, campaign_currency: str) -> Terms:
    rule = a_rule(chance, campaign_currency)
    if currency == campaign_currency:
        return Terms(rule, currency, "", Fraction(1))
    rate = Decimal(chance.randrange(1, 10**7)).scaleb(-chance.randint(0, 7))
    if chance.random() < 0.5:
        kept = format_exchange_rate(currency, rate, campaign_currency)
        return Terms(rule, currency, kept, 1 / Fraction(rate))
    kept = format_exchange_rate(campaign_currency, rate, currency)
    return Terms(rule, currency, kept, Fraction(rate))


def a_request(chance: Random, number: int, gross_minor: int) -> AdjustmentRequest:
    kind = chance.choice(KINDS)
    amount = chance.randrange(1, gross_minor // 2 + 2)
    return AdjustmentRequest(
        adjustment_id=str(number),
        kind=kind,
        author="key_1",
        reason="so",
        amount_minor=amount if kind in ("refunded", "reinstated") else None,
        order_value_minor=chance.randrange(2 * gross_minor + 2) if kind == "restated" else None,
    )


@pytest.mark.parametrize("campaign_currency", CODES)
@pytest.mark.parametrize("currency", CODES)
def test_every_commission_equals_the_model_at_creation_and_after_each_adjustment(
    currency: str, campaign_currency: str
) -> None:
    chance = Random(f"{currency} {campaign_currency}")
    made = 0
    for _ in range(RULES):
        terms = some_terms(chance, currency, campaign_currency)
        gross = chance.randrange(2_000 * 10 ** CURRENCIES[currency])
        earned = commission_minor(terms.rule, gross, currency, terms.kept_rate)
        assert earned == terms.pays(gross, gross)
        state = a_state(
            currency=currency,
            order_value_minor=gross,
            refundable_minor=gross,
            commission_minor=earned,
            rate=terms.kept_rate,
        )
        made += _adjust_at_random(chance, state, terms)
    assert made > RULES


def _adjust_at_random(chance: Random, state: ConversionState, terms: Terms) -> int:
    """Checks the commission after each adjustment; returns how many were possible."""
    earned, made = state.commission_minor, 0
    for number in range(STEPS):
        request = a_request(chance, number, state.order_value_minor)
        try:
            state, fact = apply_adjustment(state, request, terms.rule, state.time_ms)
        except Rejected:
            continue
        made += 1
        rejected = state.status == "rejected"
        expected = 0 if rejected else terms.pays(state.order_value_minor, state.refundable_minor)
        had_value = state.created_value_minor > 0
        if had_value and not state.refundable_minor:
            expected = 0
        assert state.commission_minor == expected
        left = fact.taken.commission_minor if fact.taken else 0
        earned += fact.effect.commission_minor - left
        assert earned == expected
    return made


def test_a_refund_of_a_cent_leaves_the_tier() -> None:
    rule = Tiered((Tier(Decimal(0), Decimal(5)), Tier(Decimal(100), Decimal(10))))
    state = a_state(order_value_minor=10_000, refundable_minor=10_000, commission_minor=1_000)
    cent = AdjustmentRequest(adjustment_id="a", kind="refunded", author="k", amount_minor=1)
    state, _ = apply_adjustment(state, cent, rule, state.time_ms)
    assert state.commission_minor == 999
    lower = AdjustmentRequest(
        adjustment_id="b", kind="restated", author="k", order_value_minor=9_999
    )
    state, _ = apply_adjustment(state, lower, rule, state.time_ms)
    assert state.commission_minor == 499


def test_a_rate_far_off_never_overflows_a_sum() -> None:
    rate = format_exchange_rate("USD", Decimal("1e12"), "JPY")
    assert commission_minor(Flat(Decimal(10**9)), 1, "JPY", rate) == 10**15
