"""Queues webhook deliveries in Redis, leases them to senders and records their attempts.

Redis keeps what is pending, each endpoint's last outcomes, and the log of finished deliveries until
the warehouse has stored it.
"""

import time
from collections.abc import AsyncIterator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.redis_keys import Stream
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import call
from linkjolt.webhooks.deliveries.backlog import FULL, QueueBounds
from linkjolt.webhooks.deliveries.delivery import (
    ATTEMPTS_KEPT,
    ClaimedDelivery,
    Delivery,
    DeliveryAttempt,
    DeliveryKey,
    DeliveryState,
    bounded,
    decode_delivery,
    encode_delivery,
    finished,
    requeued,
    score,
)

__all__ = [
    "ATTEMPTS_KEPT",
    "LEASE_MS",
    "OUTCOMES_KEPT",
    "ClaimedDelivery",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryQueue",
    "DeliveryState",
]

# An attempt takes 10 s at most: after this time the sender that claimed it is dead.
LEASE_MS = 30_000
OUTCOMES_KEPT = 100
_FOLDER = Path(__file__).parent / "deliveries"
# Deliveries of one call of a script, which Redis executes in one go.
_PER_CALL = 200
_PAGE = 500
Queueing = list[str | int | float | bytes]


def read_queue_script(*names: str) -> str:
    """Reads a script that changes pending deliveries, with what precedes it."""
    return "\n".join(read_script(_FOLDER / f"{name}.lua") for name in ("pending", *names))


def pending_keys(webhook: int) -> list[str]:
    """Lists the keys of `pending.lua`."""
    return [
        redis_keys.webhook_pending(webhook),
        redis_keys.webhook_due(webhook),
        redis_keys.webhook_later(webhook),
        redis_keys.webhook_order(webhook),
        redis_keys.webhook_backlog(webhook),
    ]


def log_keys(webhook: int) -> list[str]:
    """Lists the keys of the scripts that finish deliveries."""
    outcomes, log = redis_keys.webhook_outcomes(webhook), redis_keys.webhook_finished(webhook)
    return [*pending_keys(webhook), outcomes, log]


def queueing(delivery: Delivery, now_ms: int) -> Queueing:
    """Lists the arguments that queue a delivery: in the order of events, and due now."""
    at = delivery.score
    return [delivery.webhook_id, encode_delivery(delivery), min(at, now_ms), at]


class DeliveryQueue:
    """The deliveries of every endpoint within `bounds`; RedisError passes through."""

    def __init__(self, redis: Redis, bounds: QueueBounds | None = None) -> None:
        self.bounds = bounds or QueueBounds()
        self._redis = redis
        self._enqueue = LuaScript(redis, read_queue_script("enqueue"))
        self._claim = LuaScript(redis, read_queue_script("claim"))
        self._record = LuaScript(redis, read_queue_script("log", "record"))
        self._requeue = LuaScript(redis, read_queue_script("requeue"))

    async def enqueue(
        self,
        deliveries: Sequence[tuple[int, Delivery]],
        now_ms: int,
        stream: Stream | None = None,
        *,
        full: bool = False,
    ) -> int:
        """Queues (endpoint, delivery) pairs and returns how many are new; pending ones stay as is.

        Those for which there is no room are left out; if they are of a stream, the endpoint's range
        has them. `full`: Redis has no room for any.
        """
        bounds = FULL if full else self.bounds
        name = "" if stream is None else stream.number
        by_webhook: dict[int, list[Delivery]] = {}
        for webhook, delivery in deliveries:
            by_webhook.setdefault(webhook, []).append(delivery)
        calls: list[tuple[list[str], list[Any]]] = []
        for webhook, found in by_webhook.items():
            for page in _pages(found, _PER_CALL):
                arguments: list[Any] = [name, bounds.pending, bounds.pending_bytes]
                for one in page:
                    arguments += [f"{one.position:020d}", *queueing(one, now_ms)]
                calls.append((pending_keys(webhook), arguments))
        replies = await self._enqueue(calls) if calls else []
        return sum(queued for queued, _ in replies)

    async def claim(self, webhook: int, now_ms: int, count: int) -> list[ClaimedDelivery]:
        """Leases at most `count` deliveries that are due: replayed ones if no others are."""
        lease_ms = now_ms + LEASE_MS
        [found] = await self._claim([(pending_keys(webhook), [now_ms, lease_ms, count])])
        return [ClaimedDelivery(decode_delivery(raw), lease_ms) for raw in found]

    async def record(
        self, webhook: int, outcomes: Sequence[tuple[ClaimedDelivery, Delivery, int]]
    ) -> None:
        """Records attempts: as claimed, as it is now, and when it is due again (0: never)."""
        now_ms, keys = time.time_ns() // 1_000_000, log_keys(webhook)
        calls: list[tuple[list[str], list[Any]]] = []
        for claimed, delivery, due_ms in outcomes:
            due_at: float = due_ms
            if delivery is claimed.delivery:
                # Not tried: it keeps its place among the events.
                due_at = min(due_ms, delivery.score)
            kept = bounded(delivery) if due_ms else finished(delivery, now_ms)
            arguments = [delivery.webhook_id, claimed.lease_ms, due_at, encode_delivery(kept)]
            calls.append((keys, [*arguments, OUTCOMES_KEPT, self.bounds.log_bytes]))
        if calls:
            await self._record(calls)

    async def resend(self, webhook: int, deliveries: Sequence[Delivery], now_ms: int) -> int:
        """Queues deliveries again, to be sent next; returns for how many there was room."""
        arguments = [
            [one.webhook_id, encode_delivery(requeued(one)), now_ms, one.score]
            for one in deliveries
        ]
        return await self._requeue_all(webhook, arguments, later=False)

    async def replay(self, webhook: int, from_ms: int, to_ms: int, now_ms: int) -> int:
        """Queues again all that Redis holds of events in [from, to); returns how many.

        Pending ones are sent next, finished ones behind new events.
        """
        outcomes = await self.read_outcomes(webhook)
        queued = await self.replay_pending(webhook, from_ms, to_ms, now_ms)
        pending = await self.read(webhook, [one.webhook_id for one in outcomes])
        ids = {one.webhook_id for one in pending}
        arguments = [
            queueing(requeued(one), now_ms)
            for one in outcomes
            if one.body and from_ms <= one.event_ms < to_ms and one.webhook_id not in ids
        ]
        return queued + await self._requeue_all(webhook, arguments, later=True)

    async def replay_pending(self, webhook: int, from_ms: int, to_ms: int, now_ms: int) -> int:
        """Makes pending deliveries of events in [from, to) due; returns how many."""
        found = [one async for one in self._pending_between(webhook, from_ms, to_ms)]
        arguments = [queueing(requeued(one), now_ms) for one in found]
        return await self._requeue_all(webhook, arguments, later=False)

    async def _requeue_all(
        self, webhook: int, arguments: Sequence[Queueing], *, later: bool
    ) -> int:
        bounds, keys = self.bounds, pending_keys(webhook)
        first = ["1" if later else "0", bounds.pending, bounds.pending_bytes]
        pages = _pages(arguments, _PER_CALL)
        calls = [(keys, [*first, *(value for one in page for value in one)]) for page in pages]
        return sum(await self._requeue(calls)) if calls else 0

    async def read(self, webhook: int, ids: Sequence[str]) -> list[Delivery]:
        """Reads the deliveries with these ids that are pending."""
        if not ids:
            return []
        bodies = await call(self._redis, "HMGET", redis_keys.webhook_pending(webhook), *ids)
        return [decode_delivery(body) for body in bodies if body is not None]

    async def read_pending(
        self, webhook: int, count: int, before: DeliveryKey | None = None
    ) -> list[Delivery]:
        """Reads at most `count` pending deliveries before a key, the newest events first."""
        key, found = redis_keys.webhook_order(webhook), list[Delivery]()
        highest = "+inf" if before is None else repr(score(before[0], before[1]))
        offset = 0
        while len(found) < count:
            command = ("ZRANGE", key, highest, "-inf", "BYSCORE", "REV", "LIMIT", offset, _PAGE)
            ids = [raw.decode() for raw in await call(self._redis, *command)]
            page = await self.read(webhook, ids)
            found += [one for one in page if before is None or one.key < before]
            offset += _PAGE
            if len(ids) < _PAGE:
                break
        return newest_before(found, count, before)

    async def read_outcomes(self, webhook: int) -> list[Delivery]:
        """Reads the last finished deliveries, each once, the newest outcome first."""
        raw = await call(self._redis, "LRANGE", redis_keys.webhook_outcomes(webhook), 0, -1)
        return newest_rounds(decode_delivery(one) for one in cast(list[bytes], raw))

    async def read_unstored(self, webhook: int, count: int) -> list[Delivery]:
        """Reads the newest entries of the log that the warehouse may lack, each delivery once."""
        key = redis_keys.webhook_finished(webhook)
        entries = await call(self._redis, "XREVRANGE", key, "+", "-", "COUNT", count)
        return newest_rounds(decode_delivery(fields[b"d"]) for _, fields in entries)

    async def read_newest(
        self, webhook: int, count: int, before: DeliveryKey | None = None
    ) -> list[Delivery]:
        """Reads what Redis holds before a key, the newest events first."""
        # Pending ones first: one that ends meanwhile is among the outcomes.
        found = await self.read_pending(webhook, count, before)
        found = newest_rounds([*found, *await self.read_outcomes(webhook)])
        return newest_before(found, count, before)

    async def _pending_between(
        self, webhook: int, from_ms: int, to_ms: int
    ) -> AsyncIterator[Delivery]:
        key = redis_keys.webhook_order(webhook)
        command = ("ZRANGE", key, from_ms, f"({to_ms}", "BYSCORE")
        ids = [raw.decode() for raw in await call(self._redis, *command)]
        for page in _pages(ids, _PAGE):
            for one in await self.read(webhook, page):
                yield one

    async def next_due_ms(self, webhooks: Sequence[int]) -> dict[int, int]:
        """Reads when the first delivery of each endpoint is due; omits empty queues."""
        lanes = (redis_keys.webhook_due, redis_keys.webhook_later)
        async with self._redis.pipeline(transaction=False) as pipe:
            for webhook in webhooks:
                for lane in lanes:
                    pipe.execute_command("ZRANGE", lane(webhook), 0, 0, "WITHSCORES")  # pyright: ignore[reportUnknownMemberType]
            replies = cast(list[list[Any]], await pipe.execute() if webhooks else [])
        due_ms_of: dict[int, int] = {}
        for index, reply in enumerate(replies):
            # One pair or two items in a row, depending on the protocol's version.
            if reply:
                pair = cast(list[Any], reply[0] if isinstance(reply[0], list | tuple) else reply)
                webhook, due_ms = webhooks[index // len(lanes)], int(float(pair[1]))
                due_ms_of[webhook] = min(due_ms, due_ms_of.get(webhook, due_ms))
        return due_ms_of

    async def delete(self, webhook: int) -> None:
        """Deletes all that Redis holds of a deleted endpoint."""
        former_log = redis_keys.former_webhook_log(webhook)
        name = partial(redis_keys.former_webhook_delivery, webhook)
        await call(self._redis, "UNLINK", *log_keys(webhook), redis_keys.webhook_state(webhook))
        while ids := await call(self._redis, "ZRANGE", former_log, 0, _PAGE - 1):
            await call(self._redis, "UNLINK", *(name(raw.decode()) for raw in ids))
            await call(self._redis, "ZREM", former_log, *ids)


def newest_rounds(deliveries: Iterable[Delivery]) -> list[Delivery]:
    """Keeps each delivery once: the first of its latest round."""
    latest: dict[str, Delivery] = {}
    for one in deliveries:
        seen = latest.get(one.webhook_id)
        if seen is None or one.round > seen.round:
            latest[one.webhook_id] = one
    return list(latest.values())


def newest_before(
    deliveries: Iterable[Delivery], count: int, before: DeliveryKey | None
) -> list[Delivery]:
    """Returns the newest deliveries before a key, the newest first."""
    found = [one for one in deliveries if before is None or one.key < before]
    return sorted(found, key=lambda one: one.key, reverse=True)[:count]


def _pages(items: Sequence[Any], size: int) -> list[Any]:
    return [items[start : start + size] for start in range(0, len(items), size)]
