"""Reads the instant up to which every accepted event is in the reports."""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.logs import MinuteLine
from linkjolt.position import time_ms
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import RedisError, call

_PROGRESS = (Path(__file__).parent / "sql" / "read_progress.sql").read_text(encoding="utf-8")
_not_read = MinuteLine(logging.WARNING, "progress not read")


class _RollupPosition(msgspec.Struct, frozen=True):
    """A row of `read_progress.sql`: a stream number and the position up to which it is stored."""

    s: int
    pos: int


async def data_as_of(redis: Redis, clickhouse: ClickHouse, shards: int) -> datetime | None:
    """Reads that instant; call it before a report's query. None until every stream was read.

    Without Redis it is taken from the positions in the rollups: later instants may be complete too.
    """
    try:
        reply: dict[bytes, bytes] = await call(redis, "HGETALL", redis_keys.PROGRESS)
        progress = {int(number): int(ms) for number, ms in reply.items()}
    except RedisError as error:
        _not_read.count(type(error).__name__)
        rows = await clickhouse.read(_PROGRESS, _RollupPosition)
        progress = {row.s: time_ms(row.pos) for row in rows}
    return earliest_progress(progress, shards)


def earliest_progress(progress: Mapping[int, int], shards: int) -> datetime | None:
    """Finds the earliest of all streams, from UTC milliseconds by stream number."""
    instants = [progress.get(stream.number) for stream in redis_keys.streams(shards)]
    known = [ms for ms in instants if ms is not None]
    if len(known) < len(instants):
        return None
    return datetime.fromtimestamp(min(known) // 1000, UTC).replace(
        microsecond=min(known) % 1000 * 1000
    )
