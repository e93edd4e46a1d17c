"""Queues the events of the streams for endpoints, at least once, each delivery with its own id.

A consumer group keeps the position: an entry is acknowledged when all its deliveries are queued,
and one that a dead process left is claimed by another. Queueing a delivery twice has no effect.
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
from linkjolt.storage.redis import ResponseError, StreamEntry, call, is_out_of_memory
from linkjolt.stream_lines import parse_fact
from linkjolt.webhooks.deliveries.delivery import delivery_of, make_place
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.events import (
    WebhookEvent,
    click_event,
    events_of_fact,
    is_subscribed,
)
from linkjolt.webhooks.queue import Delivery, DeliveryQueue
from outbound import metrics

GROUP = "webhooks"
_ENTRIES_MAX = 100
# A consumer that holds entries for longer is dead: queueing a hundred takes under a second.
_ABANDONED_MS = 10_000
_DECODE_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_read_click = msgspec.json.Decoder(Click).decode
log = structlog.get_logger()


class WebhookFeed:
    """Reads the streams of one Redis into the queues of endpoints."""

    def __init__(
        self, redis: Redis, endpoints: Endpoints, queue: DeliveryQueue, shards: int
    ) -> None:
        self._redis = redis
        self._endpoints = endpoints
        self._queue = queue
        self._consumer = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._conversions = [redis_keys.conversions(shard) for shard in range(shards)]
        self._clicks = [redis_keys.clicks(shard) for shard in range(shards)]
        self._grouped: set[str] = set()
        self._left: set[str] = set()
        # The last entry of a stream that this process read.
        self._read_until: dict[str, bytes] = {}
        self._claimed_at = 0.0
        self._full = False

    async def enqueue_new(self, block_ms: int) -> set[int]:
        """Queues new entries, waiting up to `block_ms` for one; returns the endpoints concerned."""
        await self._endpoints.refresh()
        streams = [*self._conversions]
        if self._endpoints.subscribed_accounts("click.created"):
            streams += self._clicks
        else:
            await self._leave(self._clicks)
        await self._create_groups(streams)
        try:
            received = await self._claim_abandoned(streams)
            received += await self._read_new(streams, block_ms)
        except ResponseError as error:
            if not str(error).startswith("NOGROUP"):
                raise
            # Redis restarted empty, or from an older snapshot.
            self._grouped.clear()
            return set()
        queued_for: set[int] = set()
        for stream, entries in received:
            # The endpoints must be as new as the events, or a new one would miss its first.
            await self._endpoints.refresh()
            queued_for |= await self._enqueue(stream, entries)
            ids = [entry_id for entry_id, _ in entries]
            await call(self._redis, "XACK", stream.key, GROUP, *ids)
            self._read_until[stream.key] = ids[-1]
        return queued_for

    async def _leave(self, streams: Sequence[Stream]) -> None:
        """Destroys the groups of streams that no endpoint needs: a trim would wait for them."""
        for stream in streams:
            if stream.key in self._left:
                continue
            try:
                await call(self._redis, "XGROUP", "DESTROY", stream.key, GROUP)
            except ResponseError as error:
                if "requires the key to exist" not in str(error):
                    raise
            self._left.add(stream.key)
            self._grouped.discard(stream.key)
            self._read_until.pop(stream.key, None)

    async def _create_groups(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            if stream.key in self._grouped:
                continue
            # Clicks from now on: no endpoint subscribed to earlier ones.
            first = "0" if stream.kind == "conversions" else "$"
            # Another process may have destroyed the group that this one reads.
            start = self._read_until.get(stream.key, first)
            # A full Redis refuses to create one that exists, too.
            if not await self._has_group(stream):
                command = ("XGROUP", "CREATE", stream.key, GROUP, start, "MKSTREAM")
                try:
                    await call(self._redis, *command)
                except ResponseError as error:
                    if not str(error).startswith("BUSYGROUP"):
                        raise
            self._grouped.add(stream.key)
            self._left.discard(stream.key)

    async def _has_group(self, stream: Stream) -> bool:
        try:
            groups = await call(self._redis, "XINFO", "GROUPS", stream.key)
        except ResponseError:
            return False
        return any(group[b"name"] == GROUP.encode() for group in groups)

    async def _read_new(
        self, streams: Sequence[Stream], block_ms: int
    ) -> list[tuple[Stream, list[StreamEntry]]]:
        keys = {stream.key: stream for stream in streams}
        command = [
            "XREADGROUP",
            "GROUP",
            GROUP,
            self._consumer,
            "COUNT",
            _ENTRIES_MAX,
            "BLOCK",
            block_ms,
        ]
        reply = await call(self._redis, *command, "STREAMS", *keys, *([">"] * len(keys)))
        rows = cast(Any, reply.items() if isinstance(reply, dict) else reply or [])
        return [(keys[key.decode()], _entries(entries)) for key, entries in rows]

    async def _claim_abandoned(
        self, streams: Sequence[Stream]
    ) -> list[tuple[Stream, list[StreamEntry]]]:
        now = time.monotonic()
        if now - self._claimed_at < _ABANDONED_MS / 1000:
            return []
        self._claimed_at = now
        claimed: list[tuple[Stream, list[StreamEntry]]] = []
        for stream in streams:
            command = ("XAUTOCLAIM", stream.key, GROUP, self._consumer, _ABANDONED_MS, "0", "COUNT")
            reply = await call(self._redis, *command, _ENTRIES_MAX)
            if entries := _entries(reply[1]):
                claimed.append((stream, entries))
                # There may be more: claim again with the next step.
                self._claimed_at = 0.0
        return claimed

    async def _enqueue(self, stream: Stream, entries: Sequence[StreamEntry]) -> set[int]:
        deliveries: list[tuple[int, Delivery]] = []
        for entry_id, fields in entries:
            event_ms, sequence = map(int, entry_id.split(b"-"))
            for line, event in self._events(stream, fields[b"f"]):
                for webhook in self._endpoints.existing:
                    if is_subscribed(webhook, event, event_ms):
                        place = make_place(sequence, line)
                        delivery = delivery_of(event, webhook, event_ms, place)
                        deliveries.append((webhook.number, delivery))
        metrics.QUEUED.inc(await self._queue_all(stream, deliveries))
        return {webhook for webhook, _ in deliveries}

    async def _queue_all(self, stream: Stream, deliveries: Sequence[tuple[int, Delivery]]) -> int:
        """Queues deliveries; if Redis is full, only records that they wait in the warehouse."""
        now_ms = time.time_ns() // 1_000_000
        try:
            queued = await self._queue.enqueue(deliveries, now_ms, stream)
        except ResponseError as error:
            if not is_out_of_memory(error):
                raise
            if not self._full:
                log.error("redis is full, new webhooks wait in the warehouse")
            self._full = True
            return await self._queue.enqueue(deliveries, now_ms, stream, full=True)
        self._full = False
        return queued

    def _events(self, stream: Stream, frame: bytes) -> Iterator[tuple[int, WebhookEvent]]:
        """Yields the events of a frame with their numbers in it."""
        accounts = self._endpoints.subscribed_accounts()
        if accounts:
            found = (event for line in frame.split(b"\n") for event in _events_of(stream, line))
            yield from enumerate(event for event in found if event.account in accounts)


def _events_of(stream: Stream, line: bytes) -> Sequence[WebhookEvent]:
    try:
        if stream.kind == "conversions":
            return events_of_fact(parse_fact(line))
        click = click_event(_read_click(line))
    except _DECODE_ERRORS:
        # The aggregator stores the line as a reject.
        return ()
    return (click,) if click else ()


def _entries(rows: Any) -> list[StreamEntry]:
    # Trimmed entries have no fields; some protocol versions nest the list once more.
    if len(rows) == 1 and rows[0] and isinstance(rows[0][0], list | tuple):
        rows = rows[0]
    return [(row[0], row[1]) for row in rows if row and row[1]]
