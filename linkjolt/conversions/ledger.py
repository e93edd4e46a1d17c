"""The ledger's arithmetic: what a later fact makes of a conversion, and of the sums; pure.

A conversion's state holds what it comes to now, each adjustment the difference that it made; a
rejected conversion counts nothing, and the commission follows what is not refunded by the rule
that applied at creation.
"""

import msgspec

from linkjolt.conversions.adjustment_kinds import STEPS, Wanted
from linkjolt.events import Adjustment, ConversionState, Effect, HistoryEntry, Place
from linkjolt.money import Commission, commission_minor
from linkjolt.reasons import Reason, Rejected

# An adjustment costs some 150 bytes of live state for good.
HISTORY_MAX = 100
_SUMS = Effect.__struct_fields__


def counted(state: ConversionState) -> Effect:
    """What a conversion adds to the sums as it stands."""
    if state.status == "rejected":
        return Effect(rejected=1)
    return Effect(
        conversions=1,
        pending=int(state.status == "pending"),
        approved=int(state.status == "approved"),
        order_value_minor=state.refundable_minor,
        commission_minor=state.commission_minor,
    )


def place_of(state: ConversionState) -> Place:
    return Place(
        status=state.status,
        attribution=state.attribution,
        campaign=state.campaign,
        affiliate=state.affiliate,
        link=state.link,
    )


def earned(state: ConversionState, rule: Commission | None) -> int:
    """The commission of a conversion in minor units, by its rule and what is not refunded."""
    refunded_whole = state.order_value_minor > 0 and state.refundable_minor == 0
    if rule is None or state.status == "rejected" or refunded_whole:
        return 0
    return commission_minor(rule, state.refundable_minor, state.currency)


def repeated(state: ConversionState, wanted: Wanted) -> HistoryEntry | None:
    """The entry of an adjustment that was made before; Rejected where its id means another one."""
    for entry in state.history:
        if entry.adjustment_id == wanted.adjustment_id:
            if entry.digest != wanted.digest:
                message = "names another adjustment of this conversion"
                raise Rejected(Reason.conflict, message, field="adjustment_id")
            return entry
    return None


def adjust(
    state: ConversionState, wanted: Wanted, rule: Commission | None, now_ms: int
) -> tuple[ConversionState, Adjustment]:
    """The state after an adjustment, and the event that tells of it; Rejected where it cannot be.

    `rule` is that of the version by which the conversion is paid (by which `wanted.earner` is to
    be), None where nothing pays. Whether the adjustment was made before is for `repeated`.
    """
    if len(state.history) >= HISTORY_MAX:
        message = f"the conversion has had {HISTORY_MAX} adjustments"
        raise Rejected(Reason.not_adjustable, message)
    moved = STEPS[wanted.kind](state, wanted)
    changed = msgspec.structs.replace(moved, commission_minor=earned(moved, rule))
    before, after = counted(state), counted(changed)
    difference = _minus(after, before)
    entry = HistoryEntry(
        adjustment_id=wanted.adjustment_id,
        kind=wanted.kind,
        digest=wanted.digest,
        adjusted_ms=now_ms,
        status=changed.status,
        order_value_minor=difference.order_value_minor,
        commission_minor=difference.commission_minor,
        author=wanted.author,
        note=wanted.reason,
    )
    first = state.first or state
    changed = msgspec.structs.replace(changed, first=first, history=(*state.history, entry))
    stays = place_of(state) == place_of(changed)
    fact = _fact(changed, entry, difference if stays else after)
    if not stays:
        fact = msgspec.structs.replace(fact, left=place_of(state), taken=before)
    return changed, fact


def _fact(state: ConversionState, entry: HistoryEntry, effect: Effect) -> Adjustment:
    return Adjustment(
        adjustment_id=entry.adjustment_id,
        conversion_id=state.conversion_id,
        account=state.account,
        kind=entry.kind,
        event=state.event,
        time_ms=state.time_ms,
        adjusted_ms=entry.adjusted_ms,
        currency=state.currency,
        place=place_of(state),
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
    )


def _minus(after: Effect, before: Effect) -> Effect:
    pairs = {name: getattr(after, name) - getattr(before, name) for name in _SUMS}
    return Effect(**pairs)
