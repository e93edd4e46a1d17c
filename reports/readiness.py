"""Decides whether reports can be answered: Redis and ClickHouse answer, and all tables exist."""

import asyncio

import msgspec
from redis.asyncio import Redis

from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError, call
from linkjolt.storage.warehouse_version import NEWEST_MIGRATION

_POLL_SECONDS = 0.1
# Asked of the system table first: to select from a table that does not exist yet is an error,
# which the engine logs.
_TABLES = (
    "SELECT name FROM system.tables WHERE database = currentDatabase() AND name = 'migrations'"
)
_MIGRATED = "SELECT name FROM migrations WHERE name = {name:String} LIMIT 1"


class TableName(msgspec.Struct, frozen=True):
    """Name of a table or migration that exists."""

    name: str


async def why_not_ready(redis: Redis, clickhouse: ClickHouse) -> str | None:
    """Says why reports cannot be answered now; None when they can."""
    try:
        await call(redis, "PING")
        if not await _migrated(clickhouse):
            return "The warehouse's tables are not migrated yet"
    except RedisError:
        return "Redis cannot be reached"
    except ClickHouseFailed:
        return "ClickHouse cannot be reached"
    return None


async def wait_until_ready(redis: Redis, clickhouse: ClickHouse) -> None:
    """Returns when reports can be answered; what reads the warehouse by itself begins then."""
    while True:
        if await why_not_ready(redis, clickhouse) is None:
            return
        await asyncio.sleep(_POLL_SECONDS)


async def _migrated(clickhouse: ClickHouse) -> bool:
    if not await clickhouse.read(_TABLES, TableName):
        return False
    return bool(await clickhouse.read(_MIGRATED, TableName, {"name": NEWEST_MIGRATION}))
