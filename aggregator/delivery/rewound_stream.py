"""Recovers a stream that ends before the stored position: Redis was restored to an older state.

The entries that Redis forgot are stored already, or lost. Entries published since then may lie at
or below the stored position, where nobody reads; they are the last there, and are moved behind it.
"""

from collections.abc import Sequence

import msgspec
import structlog

from aggregator import metrics
from aggregator.delivery.already_stored import read_already_stored, stored_ids
from aggregator.delivery.streams import FrameEntry, Streams
from aggregator.rows.batches import decode_lines, split_lines
from aggregator.warehouse.writer import Warehouse
from linkjolt.events import Click
from linkjolt.redis_keys import Stream
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.stream_lines import fact_id, parse_fact

_PAGE_ENTRIES = 64
_read_click = msgspec.json.Decoder(Click).decode
log = structlog.get_logger()


async def recover_rewound_stream(
    streams: Streams, warehouse: Warehouse, stream: Stream, stored: int
) -> None:
    """Raises the stream's last id to the position `stored` and moves unread entries behind it.

    One call to Redis does both, so that a crash leaves either all of it done or nothing.
    """
    last_seen = await streams.last_generated_position(stream)
    unread = await _unread_positions(streams, warehouse, stream, min(last_seen, stored))
    moved = await streams.raise_last_id(stream, last_seen, stored, unread)
    metrics.REWOUND_STREAMS.labels(stream.kind).inc()
    log.error(
        "redis lost the end of a stream, see linkjolt audit",
        stream=stream.key,
        ended_at_ms=last_seen >> 20,
        stored_until_ms=stored >> 20,
        moved_entries=moved,
    )


async def _unread_positions(
    streams: Streams, warehouse: Warehouse, stream: Stream, end_position: int
) -> Sequence[int]:
    """Returns the positions of the entries behind the last stored one, oldest first."""
    positions: list[int] = []
    while page := await streams.read_newest(stream, end_position, _PAGE_ENTRIES):
        stored = await _stored_positions(warehouse, stream, page)
        newest_stored = max(stored, default=0)
        positions += [entry.pos for entry in page if entry.pos > newest_stored]
        if stored:
            break
        end_position = page[-1].pos - 1
    return positions[::-1]


async def _stored_positions(
    warehouse: Warehouse, stream: Stream, entries: Sequence[FrameEntry]
) -> set[int]:
    """Returns the positions of entries with an event that is stored, at whatever position."""
    lines = split_lines(entries)
    if stream.kind == "clicks":
        decoded = decode_lines(lines, _read_click, stream.number, [])
        clicks = [click async for click in in_slices(decoded)]
        known = await warehouse.read_click_rows([(c.account, c.click_id) for _, c in clicks])
        return {line.pos for line, click in clicks if click.click_id in known}
    facts = decode_lines(lines, parse_fact, stream.number, [])
    events = [fact async for fact in in_slices(facts)]
    existing = stored_ids(await read_already_stored(warehouse, events, events, {}))
    return {line.pos for line, fact in events if fact_id(fact) in existing}
