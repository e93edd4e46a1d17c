"""Queues webhook deliveries in Redis once, leases them to senders and records their attempts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import call

# Longer than all attempts take (`outbound.retries`), plus a weekend to look into failures.
RETENTION_SECONDS = 7 * 86_400
# An attempt takes 10 s at most: after this time the sender that claimed it is dead.
LEASE_MS = 30_000
ATTEMPTS_KEPT = 20
_FOLDER = Path(__file__).parent
_ENQUEUE = read_script(_FOLDER / "enqueue.lua")
_CLAIM = read_script(_FOLDER / "claim.lua")
_RECORD = read_script(_FOLDER / "record.lua")
_PAGE = 500
_encode = msgspec.json.Encoder().encode
DeliveryState = Literal["pending", "delivered", "failed"]


class DeliveryAttempt(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request: `status` 0 if there was no answer (`error` says why); `answer` is cut."""

    at_ms: int
    took_ms: int
    status: int = 0
    error: str = ""
    answer: str = ""


class Delivery(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An event on its way to one endpoint.

    `round` counts how often people resent it, `attempt` the attempts since then.
    """

    webhook_id: str
    event: str
    body: str
    event_ms: int
    state: DeliveryState = "pending"
    round: int = 0
    attempt: int = 0
    tries: tuple[DeliveryAttempt, ...] = ()


class ClaimedDelivery(msgspec.Struct, frozen=True):
    """A delivery to attempt now, with the bytes it was read as."""

    delivery: Delivery
    raw: bytes


_decode = msgspec.json.Decoder(Delivery).decode


class DeliveryQueue:
    """The deliveries of every endpoint; RedisError passes through."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._enqueue = LuaScript(redis, _ENQUEUE)
        self._claim = LuaScript(redis, _CLAIM)
        self._record = LuaScript(redis, _RECORD)

    async def enqueue(self, deliveries: Sequence[tuple[int, Delivery]], now_ms: int) -> None:
        """Queues (endpoint, delivery) pairs at once; leaves existing ones unchanged."""
        oldest_ms = now_ms - RETENTION_SECONDS * 1000
        calls: list[tuple[list[str], list[Any]]] = []
        for webhook, delivery in deliveries:
            keys = [
                redis_keys.webhook_delivery(webhook, delivery.webhook_id),
                redis_keys.webhook_due(webhook),
                redis_keys.webhook_log(webhook),
            ]
            arguments = [
                delivery.webhook_id,
                now_ms,
                delivery.event_ms,
                RETENTION_SECONDS,
                oldest_ms,
            ]
            calls.append((keys, [_encode(delivery), *arguments]))
        if calls:
            await self._enqueue(calls)

    async def claim(self, webhook: int, now_ms: int, count: int) -> list[ClaimedDelivery]:
        """Leases at most `count` deliveries that are due."""
        arguments = [now_ms, now_ms + LEASE_MS, count]
        [ids_raw] = await self._claim([([redis_keys.webhook_due(webhook)], arguments)])
        ids = [raw.decode() for raw in cast(list[bytes], ids_raw)]
        bodies = await self._read(webhook, ids)
        if expired := [
            identity for identity, body in zip(ids, bodies, strict=True) if body is None
        ]:
            await call(self._redis, "ZREM", redis_keys.webhook_due(webhook), *expired)
        return [ClaimedDelivery(_decode(body), body) for body in bodies if body is not None]

    async def record(
        self, webhook: int, outcomes: Sequence[tuple[ClaimedDelivery, Delivery, int]]
    ) -> None:
        """Records attempts: as claimed, as it is now, and when it is due again (0: never)."""
        calls: list[tuple[list[str], list[Any]]] = []
        for claimed, delivery, due_ms in outcomes:
            keys = [
                redis_keys.webhook_delivery(webhook, delivery.webhook_id),
                redis_keys.webhook_due(webhook),
            ]
            calls.append((keys, [claimed.raw, _encode(delivery), delivery.webhook_id, due_ms]))
        await self._record(calls)

    async def resend(self, webhook: int, ids: Sequence[str], now_ms: int) -> int:
        """Queues stored deliveries again, under their ids; returns how many."""
        deliveries = await self.read(webhook, ids)
        if not deliveries:
            return 0
        due = redis_keys.webhook_due(webhook)
        async with self._redis.pipeline(transaction=True) as pipe:
            for delivery in deliveries:
                requeued = msgspec.structs.replace(
                    delivery, state="pending", round=delivery.round + 1, attempt=0
                )
                key = redis_keys.webhook_delivery(webhook, delivery.webhook_id)
                pipe.execute_command("SET", key, _encode(requeued), "KEEPTTL")  # pyright: ignore[reportUnknownMemberType]
                pipe.execute_command("ZADD", due, now_ms, delivery.webhook_id)  # pyright: ignore[reportUnknownMemberType]
            await pipe.execute()
        return len(deliveries)

    async def replay(self, webhook: int, from_ms: int, to_ms: int, now_ms: int) -> int:
        """Resends all whose events were accepted in [from, to); returns how many."""
        log = redis_keys.webhook_log(webhook)
        command = ("ZRANGE", log, from_ms, f"({to_ms}", "BYSCORE")
        ids = [raw.decode() for raw in await call(self._redis, *command)]
        pages = [ids[at : at + _PAGE] for at in range(0, len(ids), _PAGE)]
        return sum([await self.resend(webhook, page, now_ms) for page in pages])

    async def read(self, webhook: int, ids: Sequence[str]) -> list[Delivery]:
        """Reads the deliveries with these ids that are still stored."""
        return [_decode(body) for body in await self._read(webhook, ids) if body is not None]

    async def _read(self, webhook: int, ids: Sequence[str]) -> list[bytes | None]:
        if not ids:
            return []
        keys = [redis_keys.webhook_delivery(webhook, identity) for identity in ids]
        return await call(self._redis, "MGET", *keys)

    async def read_newest(self, webhook: int, offset: int, count: int) -> list[Delivery]:
        """Reads a page of the log, the newest events first."""
        log, last = redis_keys.webhook_log(webhook), offset + count - 1
        ids = await call(self._redis, "ZRANGE", log, offset, last, "REV")
        return await self.read(webhook, [raw.decode() for raw in ids])

    async def next_due_ms(self, webhooks: Sequence[int]) -> dict[int, int]:
        """Reads when the first delivery of each endpoint is due; omits empty queues."""
        if not webhooks:
            return {}
        async with self._redis.pipeline(transaction=False) as pipe:
            for webhook in webhooks:
                due = redis_keys.webhook_due(webhook)
                pipe.execute_command("ZRANGE", due, 0, 0, "WITHSCORES")  # pyright: ignore[reportUnknownMemberType]
            replies = cast(list[list[Any]], await pipe.execute())
        due_ms_of: dict[int, int] = {}
        for webhook, reply in zip(webhooks, replies, strict=True):
            # One pair or two items in a row, depending on the protocol's version.
            if reply:
                pair = cast(list[Any], reply[0] if isinstance(reply[0], list | tuple) else reply)
                due_ms_of[webhook] = int(float(pair[1]))
        return due_ms_of

    async def delete(self, webhook: int) -> None:
        """Deletes the queue of a deleted endpoint; its deliveries expire."""
        await call(
            self._redis, "DEL", redis_keys.webhook_due(webhook), redis_keys.webhook_log(webhook)
        )
