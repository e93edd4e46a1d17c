"""Reads of the registry in Redis: entries, pointers, the change feed. RedisError passes through."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import (
    TYPES,
    Affiliate,
    ApiKey,
    Campaign,
    Change,
    Coupon,
    Entry,
    Kind,
    Link,
    Webhook,
)

E = TypeVar("E", Campaign, Affiliate, Link, ApiKey, Coupon, Webhook)
KINDS: dict[type[Entry], Kind] = {entry: kind for kind, entry in TYPES.items()}
_BLOCK_MAX_MS = 1000
# Before the first entry of the change feed.
ORIGIN = "0-0"


async def read_raw(redis: Redis, kind: Kind, numbers: Sequence[int]) -> list[bytes | None]:
    """The stored JSON of each number, in order; None where there is none."""
    if not numbers:
        return []
    keys = [redis_keys.registry_entry(kind, number) for number in numbers]
    return cast(list[bytes | None], await redis.mget(keys))


async def read_entries(redis: Redis, entry: type[E], numbers: Sequence[int]) -> list[E | None]:
    """The entry of each number, in order, deleted ones too; None where there is none."""
    raw = await read_raw(redis, KINDS[entry], numbers)
    return [None if body is None else msgspec.json.decode(body, type=entry) for body in raw]


async def read_entry(redis: Redis, entry: type[E], number: int) -> E | None:
    return (await read_entries(redis, entry, [number]))[0]


async def read_pointer(redis: Redis, key: str) -> int | None:
    """The number under a tracking code's or digest's key."""
    number = await redis.get(key)
    return None if number is None else int(number)


async def feed_end(redis: Redis) -> str:
    """The position behind which changes are yet to come."""
    newest = await redis.xrevrange(redis_keys.REGISTRY_CHANGES, count=1)
    return _text(newest[0][0]) if newest else ORIGIN


async def feed_holds(redis: Redis, position: str) -> bool:
    """False where changes after the position may have been trimmed, or Redis forgot its tail."""
    if position == ORIGIN:
        return True
    return bool(await redis.xrange(redis_keys.REGISTRY_CHANGES, position, position, 1))


async def feed_after(
    redis: Redis, position: str, count: int, block_ms: int
) -> tuple[str, list[Change]]:
    """Up to `count` changes behind the position, and the position behind them.

    Waits up to `block_ms` for the first; kinds of a later version are left out.
    """
    feed = redis_keys.REGISTRY_CHANGES
    reply = cast(list[Any], await redis.xread({feed: position}, count=count, block=block_ms))
    if not reply:
        return position, []
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], reply[0][1])
    known: dict[bytes, Kind] = {kind.encode(): kind for kind in TYPES}
    changes = [
        Change(known[fields[b"kind"]], int(fields[b"number"]))
        for _, fields in entries
        if fields[b"kind"] in known
    ]
    return _text(entries[-1][0]), changes


def _text(identity: bytes | str | None) -> str:
    return identity.decode() if isinstance(identity, bytes) else str(identity)


def block_ms(redis: Redis) -> int:
    """How long a wait for the feed may block this client."""
    # Half of what the client waits for an answer, or an idle feed would look like a dead server.
    timeout_seconds: float | None = redis.connection_pool.connection_kwargs.get("socket_timeout")
    if timeout_seconds is None:
        return _BLOCK_MAX_MS
    return max(1, min(_BLOCK_MAX_MS, int(timeout_seconds * 500)))
