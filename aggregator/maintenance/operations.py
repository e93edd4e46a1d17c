"""What an operator can have done to the warehouse, wherever it is held: one table of operations."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta
from redis.asyncio import Redis

from aggregator.maintenance import rejects, repair
from aggregator.maintenance.audit import Audit, audit
from aggregator.maintenance.purge import Purged, purge_tests
from aggregator.maintenance.rejects import Replayed
from aggregator.maintenance.repair import Rebuilt
from aggregator.maintenance.restore import Restored, restore
from aggregator.rollups.statements import ROLLUPS
from aggregator.rows.batches import Reject
from linkjolt.settings import Aggregator as Settings
from linkjolt.storage.clickhouse import ClickHouse

Q = TypeVar("Q")
A = TypeVar("A")
Month = Annotated[int, Meta(ge=197001, le=210512)]
TABLES = tuple(rollup.table for rollup in ROLLUPS)


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True)
class Operation(Generic[Q, A]):
    """One operation: its name (the control socket's path), what it takes, what it answers.

    `alone`: it is wrong while an aggregator is at work. `settled`: False where an answer may come
    only from looking while others write, so that it is worth looking again.
    """

    name: str
    takes: type[Q]
    answers: type[A]
    run: Callable[[Redis, ClickHouse, Settings, Q], Awaitable[A]]
    alone: bool = False
    settled: Callable[[A], bool] = _always


class Nothing(msgspec.Struct, frozen=True):
    """What an operation without parameters takes."""


class Repaired(msgspec.Struct, frozen=True):
    """The rebuilt partitions and the audit after that."""

    rollups: tuple[Rebuilt, ...]
    audit: Audit


class Range(msgspec.Struct, frozen=True):
    """Ingest months, YYYYMM, both ends included, of these rollups."""

    first: Month
    last: Month
    rollups: tuple[str, ...] = TABLES


class Wanted(msgspec.Struct, frozen=True):
    """Rejects to list, or the one of a place `S/POS/LINE`."""

    place: str = ""
    reason: str = ""
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 50


class Again(msgspec.Struct, frozen=True):
    """The reject of a place to replay, or, without one, all (of a reason)."""

    place: str = ""
    reason: str = ""
    force: bool = False


async def _audit(redis: Redis, clickhouse: ClickHouse, settings: Settings, _: Nothing) -> Audit:
    return await audit(redis, clickhouse, settings.shards)


async def _repair(redis: Redis, clickhouse: ClickHouse, settings: Settings, _: Nothing) -> Repaired:
    found = await audit(redis, clickhouse, settings.shards)
    hours = settings.minute_rollup_hours
    done = await repair.repair(clickhouse, found.balance, hours)
    return Repaired(tuple(done), await audit(redis, clickhouse, settings.shards))


async def _rebuild(
    _: Redis, clickhouse: ClickHouse, settings: Settings, wanted: Range
) -> list[Rebuilt]:
    hours = settings.minute_rollup_hours
    tables = [table for table in TABLES if table in wanted.rollups]
    return await repair.rebuild_range(clickhouse, wanted.first, wanted.last, hours, tables)


async def _restore(
    redis: Redis, clickhouse: ClickHouse, settings: Settings, _: Nothing
) -> Restored:
    return await restore(redis, clickhouse, settings)


async def _rejects(
    _: Redis, clickhouse: ClickHouse, _settings: Settings, wanted: Wanted
) -> list[Reject]:
    if wanted.place:
        return [await rejects.one(clickhouse, rejects.parse_place(wanted.place))]
    return await rejects.find(clickhouse, reason=wanted.reason, limit=wanted.limit)


async def _replay(
    redis: Redis, clickhouse: ClickHouse, _: Settings, wanted: Again
) -> list[Replayed]:
    if not wanted.place:
        force = wanted.force
        return await rejects.replay_all(redis, clickhouse, reason=wanted.reason, force=force)
    reject = await rejects.one(clickhouse, rejects.parse_place(wanted.place))
    return [await rejects.replay(redis, clickhouse, reject, force=wanted.force)]


async def _purge(redis: Redis, clickhouse: ClickHouse, settings: Settings, _: Nothing) -> Purged:
    return await purge_tests(redis, clickhouse, settings.shards)


AUDIT = Operation("audit", Nothing, Audit, _audit, settled=lambda found: found.clean)
REPAIR = Operation("repair", Nothing, Repaired, _repair, alone=True)
REBUILD = Operation("rebuild", Range, list[Rebuilt], _rebuild, alone=True)
RESTORE = Operation("restore", Nothing, Restored, _restore, alone=True)
REJECTS = Operation("rejects", Wanted, list[Reject], _rejects)
REPLAY = Operation("replay", Again, list[Replayed], _replay)
PURGE = Operation("purge", Nothing, Purged, _purge, alone=True)
OPERATIONS: tuple[Operation[Any, Any], ...] = (
    *(AUDIT, REPAIR, REBUILD, RESTORE, REJECTS, REPLAY),
    PURGE,
)
