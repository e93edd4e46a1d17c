"""Up to which instant every accepted event is in the reports."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import structlog
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.position import time_ms
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import RedisError, call

_PROGRESS = (Path(__file__).parent / "sql" / "read_progress.sql").read_text(encoding="utf-8")
_log = structlog.get_logger()


class _Position(msgspec.Struct, frozen=True):
    s: int
    pos: int


async def data_as_of(redis: Redis, clickhouse: ClickHouse, shards: int) -> datetime | None:
    """Read it before the report's query; None while a stream was never read.

    Without Redis, the last positions that the rollups hold: later instants may be complete too.
    """
    try:
        told: dict[bytes, bytes] = await call(redis, "HGETALL", redis_keys.PROGRESS)
        progress = {int(number): int(ms) for number, ms in told.items()}
    except RedisError as error:
        _log.warning("progress_not_read", error=type(error).__name__)
        rows = await clickhouse.read(_PROGRESS, _Position)
        progress = {row.s: time_ms(row.pos) for row in rows}
    return earliest(progress, shards)


def earliest(progress: Mapping[int, int], shards: int) -> datetime | None:
    """The least of all streams, from UTC milliseconds by stream number."""
    found = [progress.get(stream.number) for stream in redis_keys.streams(shards)]
    known = [ms for ms in found if ms is not None]
    if len(known) < len(found):
        return None
    return datetime.fromtimestamp(min(known) // 1000, UTC).replace(
        microsecond=min(known) % 1000 * 1000
    )
