"""From the streams into the endpoints' queues: at least once, each delivery under its own id.

A consumer group keeps the place: an entry is acknowledged when all its deliveries are queued, and
one that a dead process left is claimed by another. Queued twice is queued once (`Queue`).
"""

import os
import secrets
import time
from collections.abc import Iterator, Sequence
from typing import Any, cast

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.events import Click
from linkjolt.redis_keys import Stream
from linkjolt.storage.redis import ResponseError, StreamEntry, call
from linkjolt.stream_lines import read_fact
from linkjolt.webhooks.events import Event, click_event, event_of, wants, webhook_id
from linkjolt.webhooks.queue import Delivery, Queue
from outbound import metrics
from outbound.endpoints import Hooks

GROUP = "webhooks"
_ENTRIES = 100
# Whoever took entries longer ago is dead: to queue a hundred takes no second.
_ABANDONED_MS = 10_000
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_read_click = msgspec.json.Decoder(Click).decode
log = structlog.get_logger()


class Feed:
    """Reads the streams of one Redis."""

    def __init__(self, redis: Redis, hooks: Hooks, queue: Queue, shards: int) -> None:
        self._redis = redis
        self._hooks = hooks
        self._queue = queue
        self._consumer = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._conversions = [redis_keys.conversions(shard) for shard in range(shards)]
        self._clicks = [redis_keys.clicks(shard) for shard in range(shards)]
        self._grouped: set[str] = set()
        self._claimed_at = 0.0

    async def step(self, block_ms: int) -> set[int]:
        """Queues what came, waiting so long for the first; the endpoints that got something."""
        await self._hooks.refresh()
        streams = [*self._conversions, *(self._clicks if self._wants_clicks() else ())]
        await self._join(streams)
        try:
            found = await self._abandoned(streams)
            found += await self._new(streams, block_ms)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # Redis came back empty, or older.
            self._grouped.clear()
            return set()
        woken: set[int] = set()
        for stream, entries in found:
            # What is known of the endpoints must be as new as the events are.
            await self._hooks.refresh()
            woken |= await self._take(stream, entries)
            ids = [identity for identity, _ in entries]
            await call(self._redis, "XACK", stream.key, GROUP, *ids)
        return woken

    def _wants_clicks(self) -> bool:
        return bool(self._hooks.accounts("click.created"))

    async def _join(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            if stream.key in self._grouped:
                continue
            # Clicks from now on: before somebody wanted them nobody was to hear of any.
            start = "0" if stream.kind == "conversions" else "$"
            try:
                await call(self._redis, "XGROUP", "CREATE", stream.key, GROUP, start, "MKSTREAM")
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
            self._grouped.add(stream.key)

    async def _new(
        self, streams: Sequence[Stream], block_ms: int
    ) -> list[tuple[Stream, list[StreamEntry]]]:
        keys = {stream.key: stream for stream in streams}
        words = ["XREADGROUP", "GROUP", GROUP, self._consumer, "COUNT", _ENTRIES, "BLOCK", block_ms]
        reply = await call(self._redis, *words, "STREAMS", *keys, *([">"] * len(keys)))
        rows = cast(Any, reply.items() if isinstance(reply, dict) else reply or [])
        return [(keys[key.decode()], _entries(rows_of)) for key, rows_of in rows]

    async def _abandoned(self, streams: Sequence[Stream]) -> list[tuple[Stream, list[StreamEntry]]]:
        now = time.monotonic()
        if now - self._claimed_at < _ABANDONED_MS / 1000:
            return []
        self._claimed_at = now
        found: list[tuple[Stream, list[StreamEntry]]] = []
        for stream in streams:
            words = ("XAUTOCLAIM", stream.key, GROUP, self._consumer, _ABANDONED_MS, "0", "COUNT")
            reply = await call(self._redis, *words, _ENTRIES)
            if entries := _entries(reply[1]):
                found.append((stream, entries))
                # Perhaps there are more of them.
                self._claimed_at = 0.0
        return found

    async def _take(self, stream: Stream, entries: Sequence[StreamEntry]) -> set[int]:
        deliveries: list[tuple[int, Delivery]] = []
        for identity, fields in entries:
            event_ms = int(identity.split(b"-")[0])
            for event in self._events(stream, fields[b"f"]):
                for webhook in self._hooks.living:
                    if wants(webhook, event, event_ms):
                        one = Delivery(
                            webhook_id=webhook_id(event, webhook.number),
                            event=event.type,
                            body=event.body.decode(),
                            event_ms=event_ms,
                        )
                        deliveries.append((webhook.number, one))
        await self._queue.enqueue(deliveries, time.time_ns() // 1_000_000)
        metrics.QUEUED.inc(len(deliveries))
        return {webhook for webhook, _ in deliveries}

    def _events(self, stream: Stream, frame: bytes) -> Iterator[Event]:
        accounts = self._hooks.accounts()
        if not accounts:
            return
        for line in frame.split(b"\n"):
            try:
                if stream.kind == "clicks":
                    event = click_event(_read_click(line))
                else:
                    event = event_of(read_fact(line))
            except _BROKEN:
                # The aggregator makes a reject of it.
                continue
            if event is not None and event.account in accounts:
                yield event


def _entries(rows: Any) -> list[StreamEntry]:
    # Trimmed ones come without fields; some protocol versions nest the list once more.
    if len(rows) == 1 and rows[0] and isinstance(rows[0][0], list | tuple):
        rows = rows[0]
    return [(row[0], row[1]) for row in rows if row and row[1]]
