"""Builds rows and rejects from a batch of facts, and finds where it must wait for clicks."""

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from aggregator.rows.batches import EventLine, Reject, make_reject
from aggregator.rows.fact_rows import adjustment_rows, conversion_row
from aggregator.rows.rows import ClickRow, ConversionRow
from aggregator.warehouse.writer import StoredOrder
from linkjolt.datasets import Dataset, account_of
from linkjolt.events import Adjustment, Conversion, OrderScope
from linkjolt.reasons import Reason
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.stream_lines import Fact

FactLines = Sequence[tuple[EventLine, Fact]]


class AlreadyStored(msgspec.Struct, frozen=True):
    """The stored rows that a batch refers to; `facts` are rows of adjusted conversions."""

    clicks: Mapping[str, ClickRow]
    orders: Sequence[StoredOrder]
    facts: Sequence[ConversionRow] = ()


def conversions_in(events: FactLines) -> list[tuple[EventLine, Conversion]]:
    return [(line, fact) for line, fact in events if isinstance(fact, Conversion)]


def adjustments_in(events: FactLines) -> list[Adjustment]:
    return [fact for _, fact in events if isinstance(fact, Adjustment)]


def click_keys(events: FactLines) -> list[tuple[int, str]]:
    """Returns (account, click id) of the conversions' clicks, which are real even in tests."""
    return [(account_of(c.account), c.click_id) for _, c in conversions_in(events) if c.click_id]


def first_waiting_position(
    events: FactLines, clicks: Mapping[str, ClickRow], clicks_complete_until_ms: int
) -> int | None:
    """Returns the position of the first conversion whose click may still arrive, or None.

    Below `clicks_complete_until_ms` every click published before its conversion is stored, so that
    a click missing there stays missing.
    """
    for line, conversion in conversions_in(events):
        missing = conversion.click_id and conversion.click_id not in clicks
        if missing and line.pos >> 20 >= clicks_complete_until_ms:
            return line.pos
    return None


async def build_conversion_rows(
    events: FactLines, stream_number: int, existing: AlreadyStored
) -> tuple[list[ConversionRow], list[Reject]]:
    """Builds the rows of new facts; rejects stored ones, and adjustments of unknown ones."""
    stored = _StoredSoFar(existing)
    rows: list[ConversionRow] = []
    rejects: list[Reject] = []
    async for line, fact in in_slices(events):
        refusal = stored.refusal(fact)
        if refusal:
            rejects.append(make_reject(line, stream_number, fact.account, *refusal))
        elif isinstance(fact, Adjustment):
            rows += adjustment_rows(
                fact,
                stored.first_rows[fact.conversion_id],
                stream_number=stream_number,
                pos=line.pos,
            )
            stored.adjustments.add((fact.conversion_id, fact.adjustment_id))
            if fact.kind == "superseded":
                stored.supersede(fact.conversion_id)
        else:
            click = existing.clicks.get(fact.click_id)
            late = bool(fact.click_id) and click is None
            row = conversion_row(
                fact, click, stream_number=stream_number, pos=line.pos, click_late=late
            )
            rows.append(row)
            stored.add(fact, row)
    return rows, rejects


class _StoredSoFar:
    """The ids stored before a fact of the batch: from earlier batches, and from this one."""

    def __init__(self, existing: AlreadyStored) -> None:
        superseded = {order.conversion_id for order in existing.orders if order.superseded}
        self._conversion_ids_by_order = {
            _stored_order_key(order): order.conversion_id
            for order in existing.orders
            if order.order_id and order.conversion_id not in superseded
        }
        self._order_of = {holder: order for order, holder in self._conversion_ids_by_order.items()}
        self._conversion_ids = {order.conversion_id for order in existing.orders}
        self.first_rows = {
            row.conversion_id: row for row in existing.facts if row.kind == "created"
        }
        self.adjustments = set(_adjustment_keys(existing.facts))

    def add(self, conversion: Conversion, row: ConversionRow) -> None:
        if conversion.order_id and not conversion.order_free:
            order = _order_key(conversion)
            self._conversion_ids_by_order[order] = conversion.conversion_id
            self._order_of[conversion.conversion_id] = order
        self._conversion_ids.add(conversion.conversion_id)
        self.first_rows[conversion.conversion_id] = row

    def supersede(self, conversion_id: str) -> None:
        """Frees the order of a conversion."""
        order = self._order_of.pop(conversion_id, None)
        if order is not None:
            del self._conversion_ids_by_order[order]

    def refusal(self, fact: Fact) -> tuple[Reason, str] | None:
        """Returns the reason and message for not storing a fact; None if it is to be stored."""
        if isinstance(fact, Adjustment):
            return self._refusal_of_adjustment(fact)
        if fact.refused:
            message = f"queued while Redis was unavailable, then refused as a {fact.refused}"
            return Reason.repeated_order, message
        if fact.conversion_id in self._conversion_ids:
            return Reason.repeated_event, "the conversion is stored already"
        if (
            fact.order_id
            and not fact.order_free
            and _order_key(fact) in self._conversion_ids_by_order
        ):
            holder = self._conversion_ids_by_order[_order_key(fact)]
            return Reason.repeated_order, f"the order is stored already as {holder}"
        return None

    def _refusal_of_adjustment(self, fact: Adjustment) -> tuple[Reason, str] | None:
        if (fact.conversion_id, fact.adjustment_id) in self.adjustments:
            return Reason.repeated_event, "the adjustment is stored already"
        if fact.conversion_id not in self.first_rows:
            return Reason.conversion_missing, f"{fact.conversion_id} is not stored"
        return None


def _order_key(conversion: Conversion) -> tuple[Dataset, str, str, str]:
    """Returns what is unique of a conversion with an order: the order within its scope."""
    click_id = conversion.click_id or conversion.given_click_id
    scope = _scope(conversion.order_scope, conversion.campaign, click_id)
    return conversion.account, conversion.event, conversion.order_id, scope


def _stored_order_key(order: StoredOrder) -> tuple[Dataset, str, str, str]:
    scope = _scope(order.order_scope, order.campaign, order.click_id)
    return order.account, order.event, order.order_id, scope


def _scope(order_scope: OrderScope, campaign: int, click_id: str) -> str:
    match order_scope:
        case "campaign":
            return f"campaign {campaign}"
        case "click" | "pixel":
            return f"{order_scope} {click_id}"
        case _:
            return ""


def _adjustment_keys(rows: Iterable[ConversionRow]) -> Iterable[tuple[str, str]]:
    return ((row.conversion_id, row.adjustment_id) for row in rows if row.adjustment_id)
