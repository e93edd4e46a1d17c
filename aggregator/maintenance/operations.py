"""Lists the operations on the warehouse that an operator can run, wherever the warehouse is."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta
from redis.asyncio import Redis

from aggregator.audit_log.verify import AuditLogVerification, verify
from aggregator.maintenance import rejects, repair
from aggregator.maintenance.audit import Audit, audit
from aggregator.maintenance.purge import PurgeResult, purge_tests
from aggregator.maintenance.rejects import ReplayResult
from aggregator.maintenance.repair import RebuiltPartition
from aggregator.maintenance.restore import RestoreResult, restore
from aggregator.rollups.statements import ROLLUPS
from aggregator.rows.batches import Reject
from linkjolt.balance.stale import stale_rule
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse

Q = TypeVar("Q")
A = TypeVar("A")
Month = Annotated[int, Meta(ge=197001, le=210512)]
TABLES = tuple(rollup.table for rollup in ROLLUPS)


def _always(_: object) -> bool:
    return True


@dataclass(frozen=True)
class WarehouseOperation(Generic[Q, A]):
    """One operation: its name (the control socket's path), its request and answer types.

    `exclusive`: it must not run while an aggregator does. `is_settled`: False if the answer may be
    wrong only because others wrote meanwhile, so that the operation is worth repeating.
    """

    name: str
    request_type: type[Q]
    answer_type: type[A]
    run: Callable[[Redis, ClickHouse, Settings, Q], Awaitable[A]]
    exclusive: bool = False
    is_settled: Callable[[A], bool] = _always


class NoParameters(msgspec.Struct, frozen=True):
    """The request of an operation without parameters."""


class RepairResult(msgspec.Struct, frozen=True):
    """The rebuilt partitions and the audit after that."""

    rollups: tuple[RebuiltPartition, ...]
    audit: Audit


class MonthRange(msgspec.Struct, frozen=True):
    """Ingest months, YYYYMM, both ends included, of these rollups."""

    first: Month
    last: Month
    rollups: tuple[str, ...] = TABLES


class RejectFilter(msgspec.Struct, frozen=True):
    """Rejects to list, or the one of a place `S/POS/LINE`."""

    place: str = ""
    reason: str = ""
    limit: Annotated[int, Meta(ge=1, le=100_000)] = 50


class ReplayFilter(msgspec.Struct, frozen=True):
    """The reject of a place to replay, or, without one, all (of a reason)."""

    place: str = ""
    reason: str = ""
    force: bool = False


async def _audit(
    redis: Redis, clickhouse: ClickHouse, settings: Settings, _: NoParameters
) -> Audit:
    return await audit(redis, clickhouse, settings.shards, stale_rule(settings))


async def _repair(
    redis: Redis, clickhouse: ClickHouse, settings: Settings, _: NoParameters
) -> RepairResult:
    before = await audit(redis, clickhouse, settings.shards)
    hours = settings.minute_rollup_hours
    rebuilt = await repair.repair(clickhouse, before.balance, hours)
    after = await audit(redis, clickhouse, settings.shards, stale_rule(settings))
    return RepairResult(tuple(rebuilt), after)


async def _rebuild(
    _: Redis, clickhouse: ClickHouse, settings: Settings, months: MonthRange
) -> list[RebuiltPartition]:
    hours = settings.minute_rollup_hours
    tables = [table for table in TABLES if table in months.rollups]
    return await repair.rebuild_range(clickhouse, months.first, months.last, hours, tables)


async def _restore(
    redis: Redis, clickhouse: ClickHouse, settings: Settings, _: NoParameters
) -> RestoreResult:
    return await restore(redis, clickhouse, settings)


async def _rejects(
    _: Redis, clickhouse: ClickHouse, _settings: Settings, filters: RejectFilter
) -> list[Reject]:
    if filters.place:
        return [await rejects.read_reject(clickhouse, rejects.parse_place(filters.place))]
    return await rejects.list_rejects(clickhouse, reason=filters.reason, limit=filters.limit)


async def _replay(
    redis: Redis, clickhouse: ClickHouse, _: Settings, filters: ReplayFilter
) -> list[ReplayResult]:
    if not filters.place:
        force = filters.force
        return await rejects.replay_all(redis, clickhouse, reason=filters.reason, force=force)
    reject = await rejects.read_reject(clickhouse, rejects.parse_place(filters.place))
    return [await rejects.replay(redis, clickhouse, reject, force=filters.force)]


async def _purge(
    redis: Redis, clickhouse: ClickHouse, settings: Settings, _: NoParameters
) -> PurgeResult:
    return await purge_tests(redis, clickhouse, settings.shards)


async def _verify_audit_log(
    redis: Redis, clickhouse: ClickHouse, _settings: Settings, _: NoParameters
) -> AuditLogVerification:
    return await verify(redis, clickhouse)


AUDIT = WarehouseOperation("audit", NoParameters, Audit, _audit, is_settled=Audit.adds_up)
REPAIR = WarehouseOperation("repair", NoParameters, RepairResult, _repair, exclusive=True)
REBUILD = WarehouseOperation(
    "rebuild", MonthRange, list[RebuiltPartition], _rebuild, exclusive=True
)
RESTORE = WarehouseOperation("restore", NoParameters, RestoreResult, _restore, exclusive=True)
REJECTS = WarehouseOperation("rejects", RejectFilter, list[Reject], _rejects)
REPLAY = WarehouseOperation("replay", ReplayFilter, list[ReplayResult], _replay)
VERIFY_AUDIT_LOG = WarehouseOperation(
    "verify-audit-log", NoParameters, AuditLogVerification, _verify_audit_log
)
PURGE = WarehouseOperation("purge", NoParameters, PurgeResult, _purge, exclusive=True)
OPERATIONS: tuple[WarehouseOperation[Any, Any], ...] = (
    *(AUDIT, REPAIR, REBUILD, RESTORE, REJECTS, REPLAY),
    *(PURGE, VERIFY_AUDIT_LOG),
)
