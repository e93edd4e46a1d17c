"""Purges test events from the warehouse, and the state of test conversions from Redis."""

from pathlib import Path
from typing import cast

import msgspec
from redis.asyncio import Redis

from aggregator.rollups.statements import ROLLUPS
from linkjolt import datasets, redis_keys
from linkjolt.conversions.early.adjustments import EarlyAdjustments
from linkjolt.conversions.reservations import parse_reservation
from linkjolt.datasets import Account
from linkjolt.reasons import Reason
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call

_REJECTS = (Path(__file__).parent / "sql" / "purge_rejects.sql").read_text(encoding="utf-8")
_COUNT = (
    "SELECT count() AS n FROM conversions WHERE account >= {least:UInt32} AND kind != 'detached'"
)
_DELETE = "ALTER TABLE {table} DELETE WHERE account >= {{least:UInt32}} SETTINGS mutations_sync = 2"
_TABLES = ("conversions", "deliveries", *(rollup.table for rollup in ROLLUPS))
_PAGE = 1_000


class PurgeResult(msgspec.Struct, frozen=True):
    """The number of events deleted, and of conversions whose state in Redis was deleted."""

    events: int
    states: int


class _EventCount(msgspec.Struct, frozen=True):
    n: int


async def purge_tests(redis: Redis, clickhouse: ClickHouse, shards: int) -> PurgeResult:
    """Deletes all test events and states.

    Nobody else may write to the warehouse meanwhile. May be repeated after a crash.
    """
    # First, or they would be applied to what is deleted next.
    await EarlyAdjustments(redis, shards, conversion_state_days=0).forget(datasets.is_test)
    states = sum([await _forget_test_states(redis, shard) for shard in range(shards)])
    least = {"least": datasets.dataset_of_tests(Account(0))}
    [counted] = await clickhouse.read(_COUNT, _EventCount, least)
    # Rejects come first: the balance would miss rows without rejects, while rejects of rows that
    # still exist are written again, the same, by the next purge.
    await clickhouse.execute(_REJECTS, least | {"reason": Reason.purged.value})
    for table in _TABLES:
        await clickhouse.execute(_DELETE.format(table=table), least)
    return PurgeResult(counted.n, states)


async def _forget_test_states(redis: Redis, shard: int) -> int:
    cursor, forgotten = 0, 0
    while True:
        args = ("SCAN", cursor, "MATCH", redis_keys.order(shard, "*"), "COUNT", _PAGE)
        cursor, keys = cast(tuple[int, list[bytes]], await call(redis, *args))
        bodies: list[bytes | None] = await call(redis, "MGET", *keys) if keys else []
        for key, body in zip(keys, bodies, strict=True):
            reservation = parse_reservation(body) if body else None
            if reservation and datasets.is_test(reservation.state.account):
                pointer = redis_keys.conversion(shard, reservation.conversion_id)
                await call(redis, "DEL", key, pointer)
                forgotten += 1
        if not int(cursor):
            return forgotten
