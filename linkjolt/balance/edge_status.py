"""What edges tell of themselves: what they hold on disk for Redis, what they had to let go."""

import time

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.storage.redis import call

# An edge tells every second; one that has been silent for this long is gone.
_GONE_MS = 15_000


class _Told(msgspec.Struct, frozen=True):
    spooled: int
    at_ms: int


class Edges(msgspec.Struct, frozen=True):
    """All edges together: events in their spools, and clicks ever shed."""

    spooled: int
    shed: int


async def tell(redis: Redis, worker: int, spooled: int, newly_shed: int) -> None:
    """One edge's word; `newly_shed` are the clicks shed since its last."""
    told = msgspec.json.encode(_Told(spooled, time.time_ns() // 1_000_000))
    await call(redis, "HSET", redis_keys.EDGES, worker, told)
    if newly_shed:
        await call(redis, "INCRBY", redis_keys.SHED, newly_shed)


async def read_edges(redis: Redis) -> Edges:
    """What the living edges told last."""
    now_ms = time.time_ns() // 1_000_000
    words: dict[bytes, bytes] = await call(redis, "HGETALL", redis_keys.EDGES)
    told = [msgspec.json.decode(word, type=_Told) for word in words.values()]
    shed = await call(redis, "GET", redis_keys.SHED)
    spooled = sum(word.spooled for word in told if word.at_ms > now_ms - _GONE_MS)
    return Edges(spooled, int(shed or 0))
