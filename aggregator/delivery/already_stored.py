"""Looks up which events of a batch the warehouse already holds, and builds rows of the others."""

from collections.abc import Container, Mapping, Sequence

import msgspec

from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.rows.batches import EventLine, Reject, decode_lines, encode_click_rows
from aggregator.rows.conversions import (
    AlreadyStored,
    FactLines,
    adjustments_in,
    build_conversion_rows,
    click_keys,
    conversions_in,
)
from aggregator.rows.rows import ClickRow, ConversionRow
from aggregator.warehouse.writer import Warehouse
from linkjolt.events import Click
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.stream_lines import fact_id, parse_fact


async def read_already_stored(
    warehouse: Warehouse, facts: FactLines, uncertain: FactLines, clicks: Mapping[str, ClickRow]
) -> AlreadyStored:
    """Reads the stored rows that a batch of facts refers to.

    `uncertain` are the facts that may be stored already: their own ids are looked up, too.
    """
    conversions = [conversion for _, conversion in conversions_in(facts)]
    orders = await warehouse.read_orders(
        [
            (conversion.account, conversion.order_id)
            for conversion in conversions
            if conversion.order_id
        ],
        [
            (conversion.account, conversion.conversion_id)
            for _, conversion in conversions_in(uncertain)
        ],
    )
    return AlreadyStored(clicks, orders, await warehouse.read_facts(adjustments_in(facts)))


def stored_ids(known: AlreadyStored) -> set[str]:
    """Returns the conversion and adjustment ids that are stored."""
    adjusted = {row.adjustment_id for row in known.facts}
    return {order.conversion_id for order in known.orders} | adjusted


_read_click = msgspec.json.Decoder(Click).decode
# Pairs of a stored row: its position, and its click, conversion or adjustment id.
StoredIds = Container[tuple[int, str]]


async def build_missing_clicks(
    warehouse: Warehouse,
    salts: VisitorSalts,
    stream_number: int,
    lines: Sequence[EventLine],
    stored: StoredIds,
) -> tuple[list[bytes], list[Reject]]:
    """Returns the JSON lines of clicks that are not stored, and rejects.

    Rejected are marked clicks stored at another position, and lines that cannot be decoded.
    """
    undecodable: list[Reject] = []
    decoded = decode_lines(lines, _read_click, stream_number, undecodable)
    events = [
        (line, click)
        async for line, click in in_slices(decoded)
        if (line.pos, click.click_id) not in stored
    ]
    known = await warehouse.read_click_rows(
        [(click.account, click.click_id) for _, click in events]
    )
    events = [(line, c) for line, c in events if line.marked or c.click_id not in known]

    async def build(by_day: Mapping[str, bytes]) -> tuple[list[bytes], list[Reject]]:
        rejects = [*undecodable]
        return await encode_click_rows(events, stream_number, by_day, known, rejects), rejects

    return await salts.build_with_salts(build)


async def build_missing_conversions(
    warehouse: Warehouse, stream_number: int, lines: Sequence[EventLine], stored: StoredIds
) -> tuple[list[ConversionRow], list[Reject]]:
    """Returns the rows of facts that are not stored, and rejects, as `build_missing_clicks`.

    The rows carry the dimensions of their clicks, which have to be restored before.
    """
    undecodable: list[Reject] = []
    decoded = decode_lines(lines, parse_fact, stream_number, undecodable)
    events = [
        (line, fact)
        async for line, fact in in_slices(decoded)
        if (line.pos, fact_id(fact)) not in stored
    ]
    known = await read_already_stored(
        warehouse, events, events, await warehouse.read_click_rows(click_keys(events))
    )
    existing = stored_ids(known)
    events = [(line, fact) for line, fact in events if line.marked or fact_id(fact) not in existing]
    rows, rejects = await build_conversion_rows(events, stream_number, known)
    return rows, [*undecodable, *rejects]
