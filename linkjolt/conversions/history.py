"""Writes the answer to a read of a conversion: its present state and its history."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

import msgspec

from linkjolt.conversions.answer import ConversionAnswer, answer
from linkjolt.conversions.ledger import clawback_minor, effect_of
from linkjolt.events import (
    AdjustmentKind,
    ConversionState,
    ConversionStatus,
    HistoryEntry,
    PayoutStatus,
)
from linkjolt.money import exchange_rate_fields, to_major
from linkjolt.web import requests
from linkjolt.web.forms import Instant

# An answer has at most so many entries of the history, for they may be many thousands.
HISTORY_MAX = 1_000


class HistoryEntryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the history; `status` is that after it.

    The changes are in major units, signed: what it added to order value (refunds count against it)
    and commission as reports sum them. `author` is the id of an API key or of a
    person, null for the post itself.
    """

    adjustment_id: str | None
    kind: Literal["created"] | AdjustmentKind
    status: ConversionStatus
    order_value_change: Decimal
    commission_change: Decimal
    reason: str | None
    author: str | None
    timestamp: Instant


class AdjustedConversionAnswer(ConversionAnswer, frozen=True, kw_only=True):
    """A conversion as it is now.

    `clawback` is how much of a paid commission is no longer earned. The commission's amounts were
    converted by `rate`: 1 of `rate_from` is that much of `rate_to`. `notes` are words about what
    was posted.
    """

    refunded: Decimal
    payout: PayoutStatus
    clawback: Decimal
    verified: bool
    commission_rule: int | None
    rate: Decimal | None
    rate_from: str | None
    rate_to: str | None
    notes: tuple[str, ...]


class ConversionDetailsAnswer(AdjustedConversionAnswer, frozen=True, kw_only=True):
    """A conversion with its history: the newest 1,000 of `history_length` entries."""

    history_length: int
    history: list[HistoryEntryAnswer]


class AdjustmentAnswer(msgspec.Struct, frozen=True):
    """An adjustment and the conversion after it; `duplicate` where it had been sent before."""

    adjustment: HistoryEntryAnswer
    duplicate: bool
    conversion: ConversionDetailsAnswer


class _Totals(msgspec.Struct, frozen=True, kw_only=True):
    refunded: Decimal
    payout: PayoutStatus
    clawback: Decimal
    verified: bool
    commission_rule: int | None
    rate: Decimal | None
    rate_from: str | None
    rate_to: str | None
    notes: tuple[str, ...]


class _History(msgspec.Struct, frozen=True, kw_only=True):
    history_length: int
    history: list[HistoryEntryAnswer]


def read_answer(state: ConversionState) -> bytes:
    """The conversion as it is now, with its history, the oldest entry first."""
    newest = state.history[-HISTORY_MAX:]
    entries = [fact_of(state, entry) for entry in newest]
    if len(newest) < HISTORY_MAX:
        entries.insert(0, _created(state.first or state))
    history = _History(history_length=1 + len(state.history), history=entries)
    return _joined(_state_answer(state), requests.encode(history))


def adjusted_answer(
    state: ConversionState, entry: HistoryEntry, *, repeated: bool, with_history: bool = True
) -> bytes:
    """The answer to an adjustment: its entry, and the conversion as it is now."""
    fact = requests.encode(fact_of(state, entry))
    again = b"true" if repeated else b"false"
    conversion = read_answer(state) if with_history else _state_answer(state)
    return b'{"adjustment":%b,"duplicate":%b,"conversion":%b}' % (fact, again, conversion)


def _state_answer(state: ConversionState) -> bytes:
    rate, rate_from, rate_to = exchange_rate_fields(state.rate)
    totals = _Totals(
        refunded=to_major(state.order_value_minor - state.refundable_minor, state.currency),
        payout=state.payout,
        clawback=to_major(clawback_minor(state), state.currency),
        verified=state.verified,
        commission_rule=state.rule or None,
        rate=rate,
        rate_from=rate_from,
        rate_to=rate_to,
        notes=state.all_notes,
    )
    return _joined(answer(state), requests.encode(totals))


def _joined(one: bytes, other: bytes) -> bytes:
    """Joins two JSON objects."""
    return b"%b,%b" % (one[:-1], other[1:])


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
