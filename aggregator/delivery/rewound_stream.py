"""A stream that ends before the stored position: Redis came back in an older state.

What Redis forgot is stored already, or lost. What came after that may lie at or below the stored
position, where nobody reads. It is the last there, and is moved behind that position.
"""

from collections.abc import Sequence

import msgspec
import structlog

from aggregator import metrics
from aggregator.delivery.already_stored import held_in, read_known
from aggregator.delivery.streams import Entry, Streams
from aggregator.rows.batches import lines_of, read_lines
from aggregator.warehouse.writer import Warehouse
from linkjolt.events import Click
from linkjolt.redis_keys import Stream
from linkjolt.stream_lines import identity, read_fact

_PAGE_ENTRIES = 64
_read_click = msgspec.json.Decoder(Click).decode
log = structlog.get_logger()


async def make_good(streams: Streams, warehouse: Warehouse, stream: Stream, stored: int) -> None:
    """Lifts the stream's end to the position `stored`; what is unread below moves behind it.

    One call of Redis does both, so a crash leaves it done or still to be done.
    """
    seen = await streams.last(stream)
    unread = await _unread(streams, warehouse, stream, min(seen, stored))
    moved = await streams.lift(stream, seen, stored, unread)
    metrics.FORGOTTEN.labels(stream.kind).inc()
    log.error(
        "Redis forgot the end of a stream; what it forgot unread is lost, see `linkjolt audit`",
        stream=stream.key,
        ended_at_ms=seen >> 20,
        stored_until_ms=stored >> 20,
        moved_entries=moved,
    )


async def _unread(
    streams: Streams, warehouse: Warehouse, stream: Stream, upto: int
) -> Sequence[int]:
    """Positions of the entries behind the last one that is stored, oldest first."""
    found: list[int] = []
    while page := await streams.newest(stream, upto, _PAGE_ENTRIES):
        stored = await _stored(warehouse, stream, page)
        newest_stored = max(stored, default=0)
        found += [entry.pos for entry in page if entry.pos > newest_stored]
        if stored:
            break
        upto = page[-1].pos - 1
    return found[::-1]


async def _stored(warehouse: Warehouse, stream: Stream, entries: Sequence[Entry]) -> set[int]:
    """The positions of entries with an event that the warehouse holds, wherever it stands there."""
    lines = lines_of(entries)
    if stream.kind == "clicks":
        clicks = list(read_lines(lines, _read_click, stream.number, []))
        known = await warehouse.click_rows([(c.account, c.click_id) for _, c in clicks])
        return {line.pos for line, click in clicks if click.click_id in known}
    events = list(read_lines(lines, read_fact, stream.number, []))
    held = held_in(await read_known(warehouse, events, events, {}))
    return {line.pos for line, fact in events if identity(fact) in held}
