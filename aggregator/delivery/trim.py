"""Trims stored events from the streams once they are read by all and past their retention."""

import time
from collections.abc import Awaitable, Callable

import structlog

from aggregator.delivery.streams import Streams
from linkjolt import redis_keys
from linkjolt.fault_points import fault
from linkjolt.position import SEQUENCE_BITS, time_ms
from linkjolt.redis_keys import Stream
from linkjolt.settings import AggregatorSettings as Settings

_EVERY_SECONDS = 10.0
log = structlog.get_logger()


def trim_below_ms(stored_ms: int, now_ms: int, retention_hours: float, *, over_memory: bool) -> int:
    """Returns the millisecond below which entries may be trimmed, never past `stored_ms`.

    `over_memory`: memory is over its bound, so that the retention is given up.
    """
    if over_memory:
        return stored_ms
    return min(stored_ms, now_ms - int(retention_hours * 3_600_000))


def memory_bound(setting_bytes: int, redis_max_bytes: int) -> int:
    """Returns the bytes above which memory matters more than retention.

    At most half of what Redis may use: a Redis smaller than the setting would be full all day.
    """
    return min(setting_bytes, redis_max_bytes // 2) if redis_max_bytes else setting_bytes


class Trimmer:
    """Trims all streams every ten seconds."""

    def __init__(
        self,
        streams: Streams,
        trimmable_position: Callable[[Stream], Awaitable[int]],
        settings: Settings,
        record_skipped: Callable[[Stream, int, int], Awaitable[None]],
    ) -> None:
        self._streams = streams
        self._trimmable_position = trimmable_position
        self._settings = settings
        self._record_skipped = record_skipped
        self._next_at = 0.0

    async def step(self) -> None:
        """Trims all streams when ten seconds have passed since the last time."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _EVERY_SECONDS
        fault("aggregator_before_trim")
        settings = self._settings
        memory = await self._streams.memory()
        over_memory = memory.used > memory_bound(settings.stream_memory_max_bytes, memory.maximum)
        for stream in redis_keys.streams(settings.shards):
            await self._trim(stream, over_memory=over_memory)

    async def _trim(self, stream: Stream, *, over_memory: bool) -> None:
        """Trims what is stored and past its retention, and was read by every group.

        Over the memory bound, groups are not waited for: that would fill Redis.
        """
        stored = await self._trimmable_position(stream)
        read = await self._streams.lowest_needed_position(stream)
        hours, now_ms = self._settings.stream_retention_hours, time.time_ns() // 1_000_000
        if over_memory and read < stored:
            await self._trim_unread(stream, read, time_ms(stored))
            return
        stored_ms = time_ms(min(stored, read))
        below_ms = trim_below_ms(stored_ms, now_ms, hours, over_memory=over_memory)
        if below_ms > 0:
            await self._streams.trim(stream, below_ms)

    async def _trim_unread(self, stream: Stream, read: int, below_ms: int) -> None:
        oldest = await self._streams.oldest_position(stream)
        start, end = max(read, oldest), (below_ms << SEQUENCE_BITS) - 1
        if oldest and start <= end:
            log.error(
                "memory over its bound, trimming entries that webhooks have not read: they wait"
                " in the warehouse",
                stream=stream.key,
            )
            await self._record_skipped(stream, start, end)
        # Whole nodes are not enough here: what stays would be delivered twice.
        await self._streams.trim(stream, below_ms, exact=True)
