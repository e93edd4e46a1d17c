"""Publishes and sums the status of edges: events in their spools, and clicks they shed."""

import time

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.storage.redis import call

# Edges publish every second; one that is silent for this long is gone.
_SILENT_MAX_MS = 15_000


class EdgeStatus(msgspec.Struct, frozen=True):
    """The last status of one edge, as stored in Redis."""

    spooled: int
    at_ms: int


class EdgeTotals(msgspec.Struct, frozen=True):
    """The sums over all edges: events in their spools, and clicks ever shed."""

    spooled: int
    shed: int


async def publish_edge_status(redis: Redis, worker: int, spooled: int, newly_shed: int) -> None:
    """Stores one edge's status; `newly_shed` are the clicks shed since its last one."""
    status = msgspec.json.encode(EdgeStatus(spooled, time.time_ns() // 1_000_000))
    await call(redis, "HSET", redis_keys.EDGES, worker, status)
    if newly_shed:
        await call(redis, "INCRBY", redis_keys.SHED, newly_shed)


async def read_edge_totals(redis: Redis) -> EdgeTotals:
    """Sums the last status of the edges that are alive."""
    now_ms = time.time_ns() // 1_000_000
    statuses_json: dict[bytes, bytes] = await call(redis, "HGETALL", redis_keys.EDGES)
    statuses = [msgspec.json.decode(status, type=EdgeStatus) for status in statuses_json.values()]
    shed = await call(redis, "GET", redis_keys.SHED)
    spooled = sum(status.spooled for status in statuses if status.at_ms > now_ms - _SILENT_MAX_MS)
    return EdgeTotals(spooled, int(shed or 0))
