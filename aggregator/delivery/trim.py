"""Trimming the streams: only what is stored and read, and that only after its retention."""

import time
from collections.abc import Awaitable, Callable

import structlog

from aggregator.delivery.streams import Streams
from linkjolt import redis_keys
from linkjolt.fault_points import fault
from linkjolt.position import time_ms
from linkjolt.redis_keys import Stream
from linkjolt.settings import Aggregator as Settings

_EVERY_SECONDS = 10.0
log = structlog.get_logger()


def trim_below_ms(stored_ms: int, now_ms: int, retention_hours: float, *, pressed: bool) -> int:
    """The millisecond below which entries may go: never past what is stored, and read by all.

    `pressed`: memory is over its bound, and the retention is given up.
    """
    if pressed:
        return stored_ms
    return min(stored_ms, now_ms - int(retention_hours * 3_600_000))


class Trim:
    """Trims every ten seconds."""

    def __init__(
        self,
        streams: Streams,
        position: Callable[[Stream], Awaitable[int]],
        settings: Settings,
    ) -> None:
        self._streams = streams
        self._position = position
        self._settings = settings
        self._next_at = 0.0

    async def step(self) -> None:
        """Trims all streams when it is time."""
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + _EVERY_SECONDS
        fault("aggregator_before_trim")
        settings = self._settings
        pressed = await self._streams.memory_bytes() > settings.stream_memory_max_bytes
        for stream in redis_keys.streams(settings.shards):
            stored_ms = await self._free_below_ms(stream, pressed=pressed)
            hours = settings.stream_retention_hours
            now_ms = time.time_ns() // 1_000_000
            below_ms = trim_below_ms(stored_ms, now_ms, hours, pressed=pressed)
            if below_ms > 0:
                await self._streams.trim(stream, below_ms)

    async def _free_below_ms(self, stream: Stream, *, pressed: bool) -> int:
        """Below this all is stored, and read by every group: unless that would fill Redis."""
        stored = await self._position(stream)
        read = await self._streams.read_by_all(stream)
        if pressed and read < stored:
            log.error(
                "memory is over its bound: entries go that a consumer group has not read",
                stream=stream.key,
            )
            return time_ms(stored)
        return time_ms(min(stored, read))
