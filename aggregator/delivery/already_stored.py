"""What the warehouse holds of the conversions and adjustments of a batch."""

from collections.abc import Container, Mapping, Sequence

import msgspec

from aggregator.delivery.visitor_salts import Salts
from aggregator.rows.batches import Line, Reject, click_rows, read_lines
from aggregator.rows.conversions import (
    Events,
    Known,
    adjustments_in,
    clicks_of,
    conversion_rows,
    conversions_in,
)
from aggregator.rows.rows import ClickRow, ConversionRow
from aggregator.warehouse.writer import Warehouse
from linkjolt.events import Click
from linkjolt.stream_lines import identity, read_fact


async def read_known(
    warehouse: Warehouse, facts: Events, doubtful: Events, clicks: Mapping[str, ClickRow]
) -> Known:
    """`doubtful` are those facts whose own ids are looked up, for they may be stored already."""
    made = [conversion for _, conversion in conversions_in(facts)]
    orders = await warehouse.orders(
        {conversion.account for conversion in made},
        {conversion.order_id for conversion in made if conversion.order_id},
        {conversion.conversion_id for _, conversion in conversions_in(doubtful)},
    )
    return Known(clicks, orders, await warehouse.facts(adjustments_in(facts)))


def held_in(known: Known) -> set[str]:
    """The conversion and adjustment ids that are stored."""
    adjusted = {row.adjustment_id for row in known.facts}
    return {order.conversion_id for order in known.orders} | adjusted


_read_click = msgspec.json.Decoder(Click).decode
# (position, click id, conversion id or adjustment id) of rows that are there.
Stored = Container[tuple[int, str]]


async def missing_clicks(
    warehouse: Warehouse, salts: Salts, s: int, lines: Sequence[Line], stored: Stored
) -> tuple[list[bytes], list[Reject]]:
    """JSON lines of clicks not stored; rejects of those stored elsewhere or not readable."""
    undecodable: list[Reject] = []
    read = read_lines(lines, _read_click, s, undecodable)
    events = [(line, click) for line, click in read if (line.pos, click.click_id) not in stored]
    known = await warehouse.click_rows([(click.account, click.click_id) for _, click in events])
    events = [(line, c) for line, c in events if line.marked or c.click_id not in known]

    def rows(by_day: Mapping[str, bytes]) -> tuple[list[bytes], list[Reject]]:
        rejects = [*undecodable]
        return click_rows(events, s, by_day, known, rejects), rejects

    return await salts.run(rows)


async def missing_conversions(
    warehouse: Warehouse, s: int, lines: Sequence[Line], stored: Stored
) -> tuple[list[ConversionRow], list[Reject]]:
    """As `missing_clicks`; with the dimensions of their clicks, which were restored before."""
    undecodable: list[Reject] = []
    read = read_lines(lines, read_fact, s, undecodable)
    events = [(line, fact) for line, fact in read if (line.pos, identity(fact)) not in stored]
    known = await read_known(
        warehouse, events, events, await warehouse.click_rows(clicks_of(events))
    )
    there = held_in(known)
    events = [(line, fact) for line, fact in events if line.marked or identity(fact) not in there]
    rows, rejects = conversion_rows(events, s, known)
    return rows, [*undecodable, *rejects]
