"""Queues the events that waited in the warehouse because an endpoint's queue was full."""

from aggregator.deliveries.replays import Refiller
from aggregator.deliveries.stored_events import StoredEvents
from aggregator.warehouse.writer import Warehouse
from linkjolt.position import SEQUENCE_BITS, time_ms
from linkjolt.registry.entries import Webhook
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.webhooks.deliveries.backlog import Backlog, BacklogRange, QueueBounds

_PAGE = 1_000
# An event in Redis, as far as it matters for how many are read at once.
_EVENT_BYTES = 1_500
# A read is over a part of the time of a range, the longer the fewer events it finds: to find the
# first events, ClickHouse reads all of it.
_WINDOW_FIRST_MS = 60_000
_WINDOW_MAX_MS = 30 * 86_400_000
# So near to its end, later events are queued again: otherwise it would follow them for ever.
_CLOSING_MS = 5_000


class BacklogRanges:
    """Queues the ranges of endpoints that have room again, in the order of their events."""

    def __init__(self, clickhouse: ClickHouse, refiller: Refiller) -> None:
        self._warehouse = Warehouse(clickhouse)
        self._events = StoredEvents(clickhouse)
        self._refiller = refiller
        self._windows_ms: dict[tuple[int, str], int] = {}

    async def step(
        self, webhook: Webhook, backlog: Backlog, bounds: QueueBounds, now_ms: int
    ) -> bool:
        """Queues the next page of each range; returns whether there may be more at once."""
        count, more = _room(backlog, bounds), False
        for found in backlog.ranges:
            if found.is_replay or count <= 0:
                continue
            queued, has_more = await self._refill(webhook, found, count, now_ms)
            count -= queued
            more |= has_more
        return more

    async def _refill(
        self, webhook: Webhook, found: BacklogRange, count: int, now_ms: int
    ) -> tuple[int, bool]:
        """Queues about `count` events; returns how many, and whether there are more."""
        stream, start = found.stream, int(found.start)
        stored = await self._warehouse.stored_position(stream, start - 1)
        window = (webhook.number, found.name)
        window_ms = self._windows_ms.get(window, _WINDOW_FIRST_MS)
        end = min(int(found.end), stored, start + (window_ms << SEQUENCE_BITS))
        if end < start:
            return 0, False
        page = await self._events.read(webhook, stream, start, end, count)
        closing = time_ms(int(found.end)) - time_ms(page.end) < _CLOSING_MS
        await self._refiller.refill(
            webhook.number,
            found,
            f"{page.end + 1:020d}",
            page.deliveries,
            now_ms,
            later=False,
            closing=closing,
        )
        longer_ms = window_ms if page.end < end else min(window_ms * 4, _WINDOW_MAX_MS)
        self._windows_ms[window] = longer_ms
        return len(page.deliveries), page.end < int(found.end)


def _room(backlog: Backlog, bounds: QueueBounds) -> int:
    """Returns how many events to read; 0 while more than half of the queue is full."""
    by_count = bounds.pending // 2 - backlog.pending
    by_bytes = (bounds.pending_bytes // 2 - backlog.pending_bytes) // _EVENT_BYTES
    # Whatever the bounds, an empty queue takes one.
    least = int(backlog.pending == 0)
    return max(least, min(_PAGE, by_count, by_bytes))
