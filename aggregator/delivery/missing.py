"""The lines of a stream that raw lacks, made into rows as the aggregator's step makes them.

A line that was not sent again but is stored elsewhere is left out: it was appended once more when
Redis forgot the end of its stream (`lift.lua`), and the ledger counted it once.
"""

from collections.abc import Container, Mapping, Sequence

import msgspec

from aggregator.delivery.already_stored import held_in, read_known
from aggregator.delivery.visitor_salts import Salts
from aggregator.rows.batches import Line, Reject, click_rows, read_lines
from aggregator.rows.conversions import clicks_of, conversion_rows
from aggregator.rows.rows import ConversionRow
from aggregator.warehouse.writer import Warehouse
from linkjolt.events import Click
from linkjolt.stream_lines import identity, read_fact

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
