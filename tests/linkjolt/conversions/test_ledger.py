"""Adjustments obey their limits, and the sums equal an independent model."""

from collections import Counter
from decimal import Decimal
from fractions import Fraction
from math import floor

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjolt.conversions.adjustment_kinds import UNVERIFIED, AdjustmentRequest, Payee
from linkjolt.conversions.ledger import (
    apply_adjustment,
    clawback_minor,
    dimensions_of,
    effect_of,
    find_repeat,
)
from linkjolt.events import Adjustment, AdjustmentKind, ConversionState, Effect, FactDimensions
from linkjolt.money import Flat, Percentage
from linkjolt.reasons import Reason, Rejected

NOW_MS = 1_736_937_000_000
RULE = Percentage(rate=Decimal(30))
KINDS: tuple[AdjustmentKind, ...] = (
    "approved",
    "rejected",
    "refunded",
    "reinstated",
    "restated",
    "paid",
    "unpaid",
)


def a_state(**fields: object) -> ConversionState:
    known = {
        "conversion_id": "conv_1",
        "account": 1,
        "event": "sale",
        "time_ms": NOW_MS,
        "currency": "USD",
        "order_value_minor": 9999,
        "commission_minor": 2999,
        "refundable_minor": 9999,
        "status": "pending",
        "attribution": "click",
        "campaign": 3,
        "affiliate": 4,
        "rule": 1,
    }
    return msgspec.convert({**known, **fields}, ConversionState)


def a_request(
    kind: AdjustmentKind, adjustment_id: str = "a", **fields: object
) -> AdjustmentRequest:
    known = {"kind": kind, "adjustment_id": adjustment_id, "author": "key_1", "reason": "said so"}
    return msgspec.convert({**known, **fields}, AdjustmentRequest)


def adjusted(state: ConversionState, *steps: AdjustmentRequest) -> ConversionState:
    for step in steps:
        state, _ = apply_adjustment(state, step, RULE, NOW_MS)
    return state


REFUSED: list[tuple[AdjustmentRequest, dict[str, object], Reason, str]] = [
    (a_request("approved"), {"status": "approved"}, Reason.not_adjustable, "kind"),
    (a_request("rejected"), {"status": "rejected"}, Reason.not_adjustable, "kind"),
    (a_request("rejected", reason=""), {}, Reason.missing_field, "reason"),
    (a_request("refunded"), {"status": "rejected"}, Reason.not_adjustable, "kind"),
    (a_request("refunded"), {"refundable_minor": 0}, Reason.not_adjustable, "kind"),
    (a_request("refunded", amount_minor=10_000), {}, Reason.amount_exceeds, "amount"),
    (a_request("refunded", amount_minor=0), {}, Reason.invalid_field, "amount"),
    (a_request("restated"), {}, Reason.missing_field, "order_value"),
    (a_request("restated", order_value_minor=1), {"status": "rejected"}, Reason.not_adjustable, ""),
    (
        a_request("restated", order_value_minor=99),
        {"refundable_minor": 9899},
        Reason.amount_exceeds,
        "order_value",
    ),
    (a_request("paid"), {}, Reason.not_adjustable, "kind"),
    (a_request("paid"), {"status": "approved", "payout": "paid"}, Reason.not_adjustable, "kind"),
    (a_request("unpaid"), {"status": "approved"}, Reason.not_adjustable, "kind"),
    (a_request("attributed"), {}, Reason.not_adjustable, ""),
    (a_request("attributed"), {"attribution": "none"}, Reason.missing_field, "tracking_code"),
]


@pytest.mark.parametrize(("step", "fields", "reason", "field"), REFUSED)
def test_an_impossible_adjustment_is_refused(
    step: AdjustmentRequest, fields: dict[str, object], reason: Reason, field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        apply_adjustment(a_state(**fields), step, RULE, NOW_MS)
    assert refused.value.reason is reason
    assert not field or refused.value.field == field


def test_a_refund_without_an_amount_is_of_all_that_is_left_and_takes_the_commission() -> None:
    state = adjusted(a_state(), a_request("refunded", amount_minor=999), a_request("refunded", "b"))
    assert (state.order_value_minor, state.refundable_minor, state.commission_minor) == (9999, 0, 0)
    assert [entry.order_value_minor for entry in state.history] == [-999, -9000]
    assert [entry.commission_minor for entry in state.history] == [-299, -2700]


def test_a_rejected_conversion_counts_nothing_and_all_again_when_it_is_approved() -> None:
    rejected = adjusted(a_state(), a_request("rejected"))
    assert effect_of(rejected) == Effect(rejected=1)
    approved = adjusted(rejected, a_request("approved", "b"))
    assert effect_of(approved) == Effect(
        conversions=1, approved=1, order_value_minor=9999, commission_minor=2999
    )


def test_a_restatement_keeps_the_refunded_amount() -> None:
    state = adjusted(
        a_state(),
        a_request("refunded", amount_minor=1000),
        a_request("restated", "b", order_value_minor=5000),
    )
    assert (state.order_value_minor, state.refundable_minor) == (5000, 4000)
    assert state.commission_minor == 1200


def test_the_first_state_stays_with_the_conversion() -> None:
    state = adjusted(a_state(), a_request("refunded", amount_minor=1), a_request("approved", "b"))
    assert state.first == a_state()


def test_an_adjustment_by_hand_moves_the_conversion_to_its_payee() -> None:
    lost = a_state(attribution="none", affiliate=0, rule=0, commission_minor=0, reason="too late")
    step = a_request("attributed", payee=Payee(campaign=3, affiliate=9, rule=2, link=5))
    state, fact = apply_adjustment(lost, step, RULE, NOW_MS)
    assert fact.left == dimensions_of(lost)
    assert fact.taken == effect_of(lost)
    assert fact.place == FactDimensions(
        status="pending", attribution="manual", campaign=3, affiliate=9, link=5
    )
    assert fact.effect == effect_of(state)
    assert (state.rule, state.commission_minor) == (2, 2999)


def test_a_repeat_is_recognised_and_another_body_under_its_id_refused() -> None:
    state = adjusted(a_state(), a_request("refunded", amount_minor=100))
    assert find_repeat(state, a_request("refunded", amount_minor=100, author="key_2")) is not None
    assert find_repeat(state, a_request("refunded", "b", amount_minor=100)) is None
    with pytest.raises(Rejected) as refused:
        find_repeat(state, a_request("refunded", amount_minor=200))
    assert refused.value.reason is Reason.conflict


def test_restating_to_nothing_leaves_nothing() -> None:
    state, flat = a_state(commission_minor=500), Flat(amount=Decimal(5))
    state, _ = apply_adjustment(state, a_request("restated", order_value_minor=0), flat, NOW_MS)
    assert state.commission_minor == 0
    state, _ = apply_adjustment(state, a_request("approved", "b"), flat, NOW_MS)
    assert state.commission_minor == 0


def test_a_lead_without_value_keeps_its_flat_commission() -> None:
    state = a_state(order_value_minor=0, refundable_minor=0, commission_minor=500)
    state, _ = apply_adjustment(state, a_request("approved"), Flat(amount=Decimal(5)), NOW_MS)
    assert state.commission_minor == 500


def test_an_unverified_conversion_counts_once_it_is_approved() -> None:
    state = a_state(verified=False, hand="pixel", commission_minor=0, commission_reason=UNVERIFIED)
    assert effect_of(state) == Effect(unverified=1)
    approved, fact = apply_adjustment(state, a_request("approved"), RULE, NOW_MS)
    assert (approved.verified, approved.commission_minor, approved.commission_reason) == (
        True,
        2999,
        "",
    )
    assert fact.verifies
    assert fact.effect == effect_of(approved)
    assert fact.taken == Effect(unverified=1)


def test_a_superseded_claim_counts_for_nothing() -> None:
    state = a_state(verified=False, hand="pixel", commission_minor=0)
    superseded, fact = apply_adjustment(state, a_request("superseded"), RULE, NOW_MS)
    assert (superseded.status, effect_of(superseded)) == ("rejected", Effect())
    assert not fact.verifies


def test_a_payment_recorded_by_the_release_before_is_owed_back() -> None:
    paid = adjusted(adjusted(a_state(), a_request("approved")), a_request("paid", "b"))
    paid = msgspec.structs.replace(paid, paid_minor=None)
    refunded = adjusted(paid, a_request("refunded", "c", amount_minor=4999))
    assert clawback_minor(refunded) == 2999 - 1500


def test_a_paid_conversion_stays_with_its_affiliate() -> None:
    state = a_state(attribution="manual", status="approved", payout="paid", paid_minor=2999)
    payee = Payee(campaign=3, affiliate=9, rule=1)
    with pytest.raises(Rejected, match="unpay it first"):
        adjusted(state, a_request("attributed", payee=payee))


class Model:
    """Computes a conversion independently of the ledger, as an accountant would."""

    def __init__(self) -> None:
        self.status, self.value, self.refunds = "pending", 9999, list[int]()
        self.paid_commission: int | None = None

    def accepts(self, step: AdjustmentRequest) -> bool:
        """Applies a step if it is allowed."""
        left = self.value - sum(self.refunds)
        match step.kind:
            case "approved" | "rejected":
                if step.kind == self.status:
                    return False
                self.status = step.kind
            case "refunded":
                amount = left if step.amount_minor is None else step.amount_minor
                if self.status == "rejected" or not 0 < amount <= left:
                    return False
                self.refunds.append(amount)
            case "reinstated":
                refunded = sum(self.refunds)
                amount = refunded if step.amount_minor is None else step.amount_minor
                if self.status == "rejected" or not 0 < amount <= refunded:
                    return False
                self.refunds.append(-amount)
            case "restated":
                value = step.order_value_minor or 0
                if self.status == "rejected" or value < sum(self.refunds):
                    return False
                self.value = value
            case _:
                pays, is_paid = step.kind == "paid", self.paid_commission is not None
                if pays == is_paid or (pays and self.status != "approved"):
                    return False
                self.paid_commission = self.sums[2] if pays else None
        return True

    @property
    def sums(self) -> tuple[int, int, int]:
        """Conversions, net order value, commission."""
        if self.status == "rejected":
            return 0, 0, 0
        net = self.value - sum(self.refunds)
        return 1, net, floor(Fraction(net) * 30 / 100)

    @property
    def owed_back(self) -> int:
        return max((self.paid_commission or 0) - self.sums[2], 0)


def a_step(kind: AdjustmentKind, amount_minor: int | None, value_minor: int) -> AdjustmentRequest:
    return a_request(kind, amount_minor=amount_minor, order_value_minor=value_minor)


amounts = st.integers(0, 12_000)
steps = st.lists(
    st.builds(a_step, st.sampled_from(KINDS), st.none() | amounts, amounts), max_size=20
)


@given(steps)
def test_the_sums_of_all_facts_equal_an_accountants_books(
    given_steps: list[AdjustmentRequest],
) -> None:
    state, model = a_state(), Model()
    sums = Counter[str](msgspec.structs.asdict(effect_of(state)))
    by_status = Counter[str]({"pending": 1})
    for number, given_step in enumerate(given_steps):
        step = msgspec.structs.replace(given_step, adjustment_id=f"a{number}")
        try:
            state, fact = apply_adjustment(state, step, RULE, NOW_MS)
        except Rejected:
            assert not model.accepts(step)
            continue
        assert model.accepts(step)
        _book(sums, by_status, fact)
    found = sums["conversions"], sums["order_value_minor"], sums["commission_minor"]
    assert found == model.sums
    assert sums["clawback_minor"] == model.owed_back
    assert Effect(**{name: sums[name] for name in Effect.__struct_fields__}) == effect_of(state)
    assert {s: n for s, n in by_status.items() if n} == (
        {} if model.status == "rejected" else {model.status: 1}
    )
    assert (state.payout == "paid") == (model.paid_commission is not None)


def _book(sums: Counter[str], by_status: Counter[str], fact: Adjustment) -> None:
    parts = [(fact.place, fact.effect, 1)]
    if fact.left and fact.taken:
        parts.append((fact.left, fact.taken, -1))
    for place, effect, sign in parts:
        by_status[place.status] += sign * effect.conversions
        for name, value in msgspec.structs.asdict(effect).items():
            sums[name] += sign * value
