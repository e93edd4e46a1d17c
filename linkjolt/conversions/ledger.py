"""Computes the effect of an adjustment on a conversion and on the sums; pure.

A conversion's state holds its totals, each adjustment the difference it made. A rejected conversion
counts nothing, an unverified one only as such. The commission is computed from the part that is not
refunded, by the rule and the exchange rate that applied at creation; its tier is that of the value
before refunds. As far as more was paid than that, it is owed back.
"""

import msgspec

from linkjolt.conversions.adjustment_kinds import TRANSITIONS, AdjustmentRequest
from linkjolt.events import (
    Adjustment,
    AdjustmentKind,
    ConversionState,
    Effect,
    FactDimensions,
    HistoryEntry,
    is_stronger,
)
from linkjolt.money import Commission, commission_minor
from linkjolt.reasons import Reason, Rejected

# What each kind undoes; a weaker hand than that which did it must not.
_UNDONE: dict[AdjustmentKind, AdjustmentKind] = {
    "approved": "rejected",
    "restated": "restated",
    "reinstated": "refunded",
}
_SUMS = Effect.__struct_fields__


def effect_of(state: ConversionState) -> Effect:
    """Returns the contribution of a conversion to the sums."""
    if not state.verified:
        return Effect(unverified=int(state.status != "rejected"))
    clawback = clawback_minor(state)
    if state.status == "rejected":
        return Effect(rejected=1, clawback_minor=clawback)
    return Effect(
        conversions=1,
        pending=int(state.status == "pending"),
        approved=int(state.status == "approved"),
        order_value_minor=state.refundable_minor,
        commission_minor=state.commission_minor,
        clawback_minor=clawback,
    )


def clawback_minor(state: ConversionState) -> int:
    """Returns how much of the paid commission is no longer earned, in minor units."""
    if state.payout != "paid":
        return 0
    return max(_paid_minor(state) - state.commission_minor, 0)


def _paid_minor(state: ConversionState) -> int:
    if state.paid_minor is not None:
        return state.paid_minor
    # Recorded by the release before.
    paid, commission = 0, (state.first or state).commission_minor
    for entry in state.history:
        commission += entry.commission_minor
        paid = commission if entry.kind == "paid" else paid
    return paid


def dimensions_of(state: ConversionState) -> FactDimensions:
    return FactDimensions(
        status=state.status,
        attribution=state.attribution,
        campaign=state.campaign,
        affiliate=state.affiliate,
        link=state.link,
    )


def commission_of(state: ConversionState, rule: Commission | None) -> int:
    """Computes the commission in minor units, from the part that is not refunded."""
    had_value = state.order_value_minor > 0 or state.created_value_minor > 0
    nothing_left = had_value and state.refundable_minor == 0
    if rule is None or state.status == "rejected" or not state.verified or nothing_left:
        return 0
    return commission_minor(
        rule, state.refundable_minor, state.currency, state.rate, state.order_value_minor
    )


def find_repeat(state: ConversionState, request: AdjustmentRequest) -> HistoryEntry | None:
    """Returns the entry of an earlier equal adjustment; Rejected if its id has another one."""
    for entry in state.history:
        if entry.adjustment_id == request.adjustment_id:
            if entry.digest != request.digest:
                message = "names another adjustment of this conversion"
                raise Rejected(Reason.conflict, message, field="adjustment_id")
            return entry
    return None


def apply_adjustment(
    state: ConversionState, request: AdjustmentRequest, rule: Commission | None, now_ms: int
) -> tuple[ConversionState, Adjustment]:
    """Returns the state after an adjustment and its event; Rejected if it is not allowed.

    `rule` is that of the version that pays the conversion (`request.payee`'s if given), None if
    nothing pays. Check `find_repeat` first.
    """
    _check_last_word(state, request)
    moved = TRANSITIONS[request.kind](state, request)
    moved = msgspec.structs.replace(moved, first=state.first or state)
    changed = msgspec.structs.replace(moved, commission_minor=commission_of(moved, rule))
    effect_before, effect_after = effect_of(state), effect_of(changed)
    difference = _difference(effect_after, effect_before)
    entry = HistoryEntry(
        adjustment_id=request.adjustment_id,
        kind=request.kind,
        digest=request.digest,
        adjusted_ms=now_ms,
        status=changed.status,
        order_value_minor=difference.order_value_minor,
        commission_minor=difference.commission_minor,
        author=request.author,
        note=request.reason,
        hand=request.hand,
    )
    changed = msgspec.structs.replace(changed, history=(*state.history, entry))
    same_dimensions = dimensions_of(state) == dimensions_of(changed)
    fact = _adjustment_fact(changed, entry, difference if same_dimensions else effect_after)
    fact = msgspec.structs.replace(
        fact,
        gross_change_minor=changed.order_value_minor - state.order_value_minor,
        verifies=changed.verified and not state.verified,
    )
    if not same_dimensions:
        fact = msgspec.structs.replace(fact, left=dimensions_of(state), taken=effect_before)
    return changed, fact


def _check_last_word(state: ConversionState, request: AdjustmentRequest) -> None:
    """Rejected where the adjustment undoes what a stronger hand decided last."""
    undone = _UNDONE.get(request.kind)
    last = next((entry for entry in reversed(state.history) if entry.kind == undone), None)
    if last and last.hand and is_stronger(last.hand, request.hand):
        message = f"is not allowed: the conversion was {last.kind} by a stronger authority"
        raise Rejected(Reason.not_adjustable, message, field="kind")


def _adjustment_fact(state: ConversionState, entry: HistoryEntry, effect: Effect) -> Adjustment:
    return Adjustment(
        adjustment_id=entry.adjustment_id,
        conversion_id=state.conversion_id,
        account=state.account,
        kind=entry.kind,
        event=state.event,
        time_ms=state.time_ms,
        adjusted_ms=entry.adjusted_ms,
        currency=state.currency,
        place=dimensions_of(state),
        effect=effect,
        order_value_now=state.order_value_minor,
        refundable_now=state.refundable_minor,
        commission_now=state.commission_minor,
        payout=state.payout,
        rule=state.rule,
        order_id=state.order_id,
        click_id=state.click_id,
        author=entry.author,
        note=entry.note,
        sequence=1 + len(state.history),
        created_value_minor=state.created_value_minor,
        rate=state.rate,
        verified=state.verified,
    )


def _difference(after: Effect, before: Effect) -> Effect:
    pairs = {name: getattr(after, name) - getattr(before, name) for name in _SUMS}
    return Effect(**pairs)
