"""Deliveries of webhooks in Redis: queued once, claimed for a lease, kept with their tries."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.storage.redis import ScriptCalls, call

# Longer than all tries take (`outbound.retries`), and a weekend for people to look.
KEPT_SECONDS = 7 * 86_400
# A try takes 10 s at most: whoever claimed longer ago is dead.
LEASE_MS = 30_000
TRIES_KEPT = 20
_FOLDER = Path(__file__).parent
_ENQUEUE = (_FOLDER / "enqueue.lua").read_text(encoding="utf-8")
_CLAIM = (_FOLDER / "claim.lua").read_text(encoding="utf-8")
_RECORD = (_FOLDER / "record.lua").read_text(encoding="utf-8")
_PAGE = 500
_encode = msgspec.json.Encoder().encode
State = Literal["pending", "delivered", "failed"]


class Try(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sending: `status` 0 where no answer came, and `error` says why; `answer` is its start."""

    at_ms: int
    took_ms: int
    status: int = 0
    error: str = ""
    answer: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event on its way to one endpoint.

    `round` counts how often people had it sent again, `attempt` the tries since then.
    """

    webhook_id: str
    event: str
    body: str
    event_ms: int
    state: State = "pending"
    round: int = 0
    attempt: int = 0
    tries: tuple[Try, ...] = ()


class Claimed(msgspec.Struct, frozen=True):
    """A delivery that is to be tried now, and as which bytes it was read."""

    delivery: Delivery
    raw: bytes


_decode = msgspec.json.Decoder(Delivery).decode


class Queue:
    """The deliveries of every endpoint; RedisError passes through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enqueue = ScriptCalls(redis, _ENQUEUE)
        self._claim = ScriptCalls(redis, _CLAIM)
        self._record = ScriptCalls(redis, _RECORD)

    async def enqueue(self, deliveries: Sequence[tuple[int, Delivery]], now_ms: int) -> None:
        """Queues (endpoint, delivery) pairs at once; one that is kept already stays as it is."""
        oldest_ms = now_ms - KEPT_SECONDS * 1000
        calls: list[tuple[list[str], list[Any]]] = []
        for webhook, one in deliveries:
            keys = [
                redis_keys.webhook_delivery(webhook, one.webhook_id),
                redis_keys.webhook_due(webhook),
                redis_keys.webhook_log(webhook),
            ]
            words = [one.webhook_id, now_ms, one.event_ms, KEPT_SECONDS, oldest_ms]
            calls.append((keys, [_encode(one), *words]))
        if calls:
            await self._enqueue(calls)

    async def claim(self, webhook: int, now_ms: int, count: int) -> list[Claimed]:
        """At most `count` deliveries that are due, for the lease's time."""
        words = [now_ms, now_ms + LEASE_MS, count]
        [found] = await self._claim([([redis_keys.webhook_due(webhook)], words)])
        ids = [one.decode() for one in cast(list[bytes], found)]
        bodies = await self._read(webhook, ids)
        if expired := [one for one, body in zip(ids, bodies, strict=True) if body is None]:
            await call(self._redis, "ZREM", redis_keys.webhook_due(webhook), *expired)
        return [Claimed(_decode(body), body) for body in bodies if body is not None]

    async def record(self, webhook: int, tried: Sequence[tuple[Claimed, Delivery, int]]) -> None:
        """What came of tries: as claimed, as it is now, and when it is due again (0: no more)."""
        calls: list[tuple[list[str], list[Any]]] = []
        for claimed, done, due_ms in tried:
            keys = [
                redis_keys.webhook_delivery(webhook, done.webhook_id),
                redis_keys.webhook_due(webhook),
            ]
            calls.append((keys, [claimed.raw, _encode(done), done.webhook_id, due_ms]))
        await self._record(calls)

    async def resend(self, webhook: int, ids: Sequence[str], now_ms: int) -> int:
        """Queues kept deliveries once more, under their ids; answers how many."""
        found = await self.read(webhook, ids)
        if not found:
            return 0
        due = redis_keys.webhook_due(webhook)
        async with self._redis.pipeline(transaction=True) as pipe:
            for one in found:
                again = msgspec.structs.replace(
                    one, state="pending", round=one.round + 1, attempt=0
                )
                key = redis_keys.webhook_delivery(webhook, one.webhook_id)
                pipe.execute_command("SET", key, _encode(again), "KEEPTTL")  # pyright: ignore[reportUnknownMemberType]
                pipe.execute_command("ZADD", due, now_ms, one.webhook_id)  # pyright: ignore[reportUnknownMemberType]
            await pipe.execute()
        return len(found)

    async def replay(self, webhook: int, from_ms: int, to_ms: int, now_ms: int) -> int:
        """Resends all whose events came in [from, to); answers how many."""
        log = redis_keys.webhook_log(webhook)
        words = ("ZRANGE", log, from_ms, f"({to_ms}", "BYSCORE")
        ids = [one.decode() for one in await call(self._redis, *words)]
        pages = [ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE)]
        return sum([await self.resend(webhook, page, now_ms) for page in pages])

    async def read(self, webhook: int, ids: Sequence[str]) -> list[Delivery]:
        """The deliveries that are kept, of these ids."""
        return [_decode(body) for body in await self._read(webhook, ids) if body is not None]

    async def _read(self, webhook: int, ids: Sequence[str]) -> list[bytes | None]:
        if not ids:
            return []
        keys = [redis_keys.webhook_delivery(webhook, one) for one in ids]
        return await call(self._redis, "MGET", *keys)

    async def newest(self, webhook: int, offset: int, count: int) -> list[Delivery]:
        """A page of the log, the newest events first."""
        log, last = redis_keys.webhook_log(webhook), offset + count - 1
        ids = await call(self._redis, "ZRANGE", log, offset, last, "REV")
        return await self.read(webhook, [one.decode() for one in ids])

    async def next_due_ms(self, webhooks: Sequence[int]) -> dict[int, int]:
        """When the first delivery of each endpoint is due; those without any are left out."""
        if not webhooks:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for webhook in webhooks:
                due = redis_keys.webhook_due(webhook)
                pipe.execute_command("ZRANGE", due, 0, 0, "WITHSCORES")  # pyright: ignore[reportUnknownMemberType]
            replies = cast(list[list[Any]], await pipe.execute())
        found: dict[int, int] = {}
        for webhook, reply in zip(webhooks, replies, strict=True):
            # A pair, or two items in a row, by the protocol's version.
            if reply:
                pair = cast(list[Any], reply[0] if isinstance(reply[0], list | tuple) else reply)
                found[webhook] = int(float(pair[1]))
        return found

    async def forget(self, webhook: int) -> None:
        """Empties the queue of an endpoint that is gone; its deliveries expire."""
        await call(
            self._redis, "DEL", redis_keys.webhook_due(webhook), redis_keys.webhook_log(webhook)
        )
