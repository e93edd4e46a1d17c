"""Publishes and sums the status of edges: events in their spools, and clicks they shed."""

from collections.abc import Mapping

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.storage.redis import call, server_time_ms

# Edges publish every second; one that is silent for this long is gone.
_SILENT_MAX_MS = 15_000


class EdgeStatus(msgspec.Struct, frozen=True):
    """The last status of one edge, as stored in Redis, whose clock the instants are of.

    `spooled_since_ms`: since when its spool was never seen empty; 0 if it is.
    """

    spooled: int
    at_ms: int
    spooled_since_ms: int = 0


class EdgeSpool(msgspec.Struct, frozen=True):
    """The events in an edge's spool, and for how many seconds it was not seen empty."""

    events: int
    seconds: float


class EdgeTotals(msgspec.Struct, frozen=True):
    """The sums over all edges: events in their spools, and clicks ever shed; their spools."""

    spooled: int
    shed: int
    spools: Mapping[int, EdgeSpool]


async def publish_edge_status(redis: Redis, worker: int, spooled: int, newly_shed: int) -> None:
    """Stores one edge's status; `newly_shed` are the clicks shed since its last one."""
    now_ms = await server_time_ms(redis)
    since_ms = 0
    if spooled:
        last = await call(redis, "HGET", redis_keys.EDGES, worker)
        since_ms = (_decode(last).spooled_since_ms if last else 0) or now_ms
    status = msgspec.json.encode(EdgeStatus(spooled, now_ms, since_ms))
    await call(redis, "HSET", redis_keys.EDGES, worker, status)
    if newly_shed:
        await call(redis, "INCRBY", redis_keys.SHED, newly_shed)


async def read_edge_totals(redis: Redis) -> EdgeTotals:
    """Sums the last status of the edges that are alive."""
    now_ms = await server_time_ms(redis)
    statuses_json: dict[bytes, bytes] = await call(redis, "HGETALL", redis_keys.EDGES)
    statuses = {int(worker): _decode(status) for worker, status in statuses_json.items()}
    spools = {
        worker: EdgeSpool(status.spooled, (now_ms - (status.spooled_since_ms or now_ms)) / 1000)
        for worker, status in statuses.items()
        if status.spooled and status.at_ms > now_ms - _SILENT_MAX_MS
    }
    shed = await call(redis, "GET", redis_keys.SHED)
    return EdgeTotals(sum(spool.events for spool in spools.values()), int(shed or 0), spools)


def _decode(status: bytes) -> EdgeStatus:
    return msgspec.json.decode(status, type=EdgeStatus)
