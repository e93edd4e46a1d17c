"""Writes the answer to a read of a conversion: its present state and its history."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from linkjolt.conversions.answer import ConversionAnswer, answer
from linkjolt.conversions.ledger import effect_of
from linkjolt.events import (
    AdjustmentKind,
    ConversionState,
    ConversionStatus,
    HistoryEntry,
    PayoutStatus,
)
from linkjolt.money import to_major
from linkjolt.web import requests
from linkjolt.web.forms import Instant


class HistoryEntryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history; `status` is that after it.

    The changes are in major units, signed: what it added to order value (refunds count against it)
    and commission as reports sum them. `author` is the id of an API key, null for the post itself.
    """

    adjustment_id: str | None
    kind: Literal["created"] | AdjustmentKind
    status: ConversionStatus
    order_value_change: Decimal
    commission_change: Decimal
    reason: str | None
    author: str | None
    timestamp: Instant


class ConversionDetailsAnswer(ConversionAnswer, frozen=True, kw_only=True):
    """A conversion with its history; `order_value` is before refunds, the commission after them."""

    refunded: Decimal
    payout: PayoutStatus
    commission_rule: int | None
    commission_reason: str | None
    history: list[HistoryEntryAnswer]


class AdjustmentAnswer(msgspec.Struct, frozen=True):
    """An adjustment and the conversion after it; `duplicate` where it had been sent before."""

    adjustment: HistoryEntryAnswer
    duplicate: bool
    conversion: ConversionDetailsAnswer


class _Further(msgspec.Struct, frozen=True, kw_only=True):
    refunded: Decimal
    payout: PayoutStatus
    commission_rule: int | None
    commission_reason: str | None
    history: list[HistoryEntryAnswer]


def read_answer(state: ConversionState) -> bytes:
    """The conversion as it stands, with its history, the oldest fact first."""
    further = _Further(
        refunded=to_major(state.order_value_minor - state.refundable_minor, state.currency),
        payout=state.payout,
        commission_rule=state.rule or None,
        commission_reason=state.commission_reason or None,
        history=[_created(state.first or state), *(fact_of(state, e) for e in state.history)],
    )
    return answer(state)[:-1] + b"," + requests.encode(further)[1:]


def adjusted_answer(state: ConversionState, entry: HistoryEntry, *, repeated: bool) -> bytes:
    """The answer to an adjustment: its fact, and the conversion as it stands."""
    fact = requests.encode(fact_of(state, entry))
    again = b"true" if repeated else b"false"
    return b'{"adjustment":%b,"duplicate":%b,"conversion":%b}' % (fact, again, read_answer(state))


def fact_of(state: ConversionState, entry: HistoryEntry) -> HistoryEntryAnswer:
    return HistoryEntryAnswer(
        adjustment_id=entry.adjustment_id,
        kind=entry.kind,
        status=entry.status,
        order_value_change=to_major(entry.order_value_minor, state.currency),
        commission_change=to_major(entry.commission_minor, state.currency),
        reason=entry.note or None,
        author=entry.author or None,
        timestamp=_at(entry.adjusted_ms),
    )


def _created(first: ConversionState) -> HistoryEntryAnswer:
    effect = effect_of(first)
    return HistoryEntryAnswer(
        adjustment_id=None,
        kind="created",
        status=first.status,
        order_value_change=to_major(effect.order_value_minor, first.currency),
        commission_change=to_major(effect.commission_minor, first.currency),
        reason=None,
        author=None,
        timestamp=_at(first.time_ms),
    )


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
