"""What a batch of conversions comes to: rows, rejects, and where it must wait for clicks; pure."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from aggregator.rows.batches import Line, Reject, reject
from aggregator.rows.fact_rows import adjustment_rows, conversion_row
from aggregator.rows.rows import ClickRow, ConversionRow
from aggregator.warehouse.writer import Order
from linkjolt import redis_keys
from linkjolt.events import Adjustment, Conversion
from linkjolt.reasons import Reason
from linkjolt.stream_lines import Fact

Events = Sequence[tuple[Line, Fact]]


class Known(msgspec.Struct, frozen=True):
    """What the warehouse already holds of a batch: `facts` are rows of adjusted conversions."""

    clicks: Mapping[str, ClickRow]
    orders: Sequence[Order]
    facts: Sequence[ConversionRow] = ()


def conversions_in(events: Events) -> list[tuple[Line, Conversion]]:
    return [(line, fact) for line, fact in events if isinstance(fact, Conversion)]


def adjustments_in(events: Events) -> list[Adjustment]:
    return [fact for _, fact in events if isinstance(fact, Adjustment)]


def clicks_of(events: Events) -> list[tuple[int, str]]:
    """(account, click id) of the clicks that earned conversions; those of tests are real ones."""
    return [
        (redis_keys.owner(c.account), c.click_id) for _, c in conversions_in(events) if c.click_id
    ]


def first_waiting(events: Events, clicks: Mapping[str, ClickRow], sure_until_ms: int) -> int | None:
    """The position of the first conversion whose click may still come; None where none waits.

    Below `sure_until_ms` every click that came before its conversion is stored: what is missing
    there stays missing.
    """
    for line, conversion in conversions_in(events):
        missing = conversion.click_id and conversion.click_id not in clicks
        if missing and line.pos >> 20 >= sure_until_ms:
            return line.pos
    return None


def conversion_rows(
    events: Events, s: int, known: Known
) -> tuple[list[ConversionRow], list[Reject]]:
    """The rows of new facts; rejects for what is stored already, or adjusts what is not stored."""
    stored = _Stored(known)
    rows: list[ConversionRow] = []
    rejects: list[Reject] = []
    for line, fact in events:
        refused = stored.why_not(fact)
        if refused:
            rejects.append(reject(line, s, fact.account, *refused))
        elif isinstance(fact, Adjustment):
            rows += adjustment_rows(fact, stored.first[fact.conversion_id], s=s, pos=line.pos)
            stored.adjustments.add((fact.conversion_id, fact.adjustment_id))
        else:
            click = known.clicks.get(fact.click_id)
            late = bool(fact.click_id) and click is None
            row = conversion_row(fact, click, s=s, pos=line.pos, click_late=late)
            rows.append(row)
            stored.add(fact, row)
    return rows, rejects


class _Stored:
    """What is stored when a fact's turn comes: before the batch, and of it."""

    def __init__(self, known: Known) -> None:
        held = [order for order in known.orders if order.order_id]
        self._orders = {(o.account, o.event, o.order_id): o.conversion_id for o in held}
        self._ids = {order.conversion_id for order in known.orders}
        self.first = {row.conversion_id: row for row in known.facts if row.kind == "created"}
        self.adjustments = set(_adjusted(known.facts))

    def add(self, conversion: Conversion, row: ConversionRow) -> None:
        if conversion.order_id and not conversion.order_free:
            self._orders[_order(conversion)] = conversion.conversion_id
        self._ids.add(conversion.conversion_id)
        self.first[conversion.conversion_id] = row

    def why_not(self, fact: Fact) -> tuple[Reason, str] | None:
        """Why it is not to be stored."""
        if isinstance(fact, Adjustment):
            return self._why_not_adjusted(fact)
        if fact.refused:
            message = f"queued while Redis was away, then found to be a {fact.refused}"
            return Reason.repeated_order, message
        if fact.conversion_id in self._ids:
            return Reason.repeated_event, "the conversion is stored already"
        if fact.order_id and not fact.order_free and _order(fact) in self._orders:
            holder = self._orders[_order(fact)]
            return Reason.repeated_order, f"the order is stored already as {holder}"
        return None

    def _why_not_adjusted(self, fact: Adjustment) -> tuple[Reason, str] | None:
        if (fact.conversion_id, fact.adjustment_id) in self.adjustments:
            return Reason.repeated_event, "the adjustment is stored already"
        if fact.conversion_id not in self.first:
            return Reason.conversion_missing, f"{fact.conversion_id} is not stored"
        return None


def _order(conversion: Conversion) -> tuple[int, str, str]:
    return conversion.account, conversion.event, conversion.order_id


def _adjusted(rows: Iterable[ConversionRow]) -> Iterable[tuple[str, str]]:
    return ((row.conversion_id, row.adjustment_id) for row in rows if row.adjustment_id)
