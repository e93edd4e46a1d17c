"""Repairs rollups: rebuilds a partition from raw in a staging table, which then replaces it.

Until the swap the old partition is served; a staging table left by a crash is dropped by the next
repair. Nobody else may write to the warehouse meanwhile.
"""

import re
import time
from collections.abc import Container, Iterable

import msgspec

from aggregator.maintenance.audit import find_differences
from aggregator.rollups import pull as pulling
from aggregator.rollups.day_counts import count_staging
from aggregator.rollups.pull import NumberRow, RawSpan, chunk_end
from aggregator.rollups.statements import (
    DIFFERENCES,
    MONTHS,
    PULLS,
    ROLLUPS,
    SOURCES,
    SPANS,
    Source,
)
from linkjolt import redis_keys
from linkjolt.balance.balance import Balance
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_end, month_of, month_start
from linkjolt.storage.raw_retention import read_kept_month

_HOUR_MS = 3_600_000
_MINUTE_COMPARED_SECONDS = 24 * 3_600
_RAW_ENDS = (
    "SELECT s AS stream_number, max(pos) AS end_position FROM {source} WHERE account = 0 GROUP BY s"
)
_MONTHS = "SELECT DISTINCT month AS number FROM {rollup} ORDER BY number"
_ROLLUP_ENDS = (
    "SELECT link AS stream_number, max(pos) AS end_position FROM {rollup}"
    " WHERE account = 0 GROUP BY link"
)


class RebuiltPartition(msgspec.Struct, frozen=True):
    """A rollup's partition (ingest month, YYYYMM) and the outcome of its rebuild, in words."""

    rollup: str
    month: int
    outcome: str

    def __str__(self) -> str:
        return f"{self.rollup} {self.month}: {self.outcome}"


class _StreamEnd(msgspec.Struct, frozen=True):
    stream_number: int
    end_position: int


async def repair(
    clickhouse: ClickHouse,
    balance: Balance,
    minute_hours: int,
    months: Container[int] | None = None,
) -> list[RebuiltPartition]:
    """Rebuilds every partition that differs from raw, of all ingest months or of some.

    A month of which raw lacks accepted events is left alone: its rollup may hold them still.
    """
    await prepare_repair(clickhouse)
    differing = {(row.rollup, row.month) for row in await find_differences(clickhouse)}
    incomplete = incomplete_months(balance)
    rebuilt: list[RebuiltPartition] = []
    for rollup, month in sorted(differing):
        if months is not None and month not in months:
            continue
        if month in incomplete:
            outcome = (
                "left alone, raw lacks accepted events of it: run `linkjolt restore`, or"
                " `linkjolt rebuild` to make it equal to what is left"
            )
            rebuilt.append(RebuiltPartition(rollup, month, outcome))
        else:
            rebuilt.append(await rebuild(clickhouse, rollup, month, minute_hours))
    return rebuilt


async def rebuild_range(
    clickhouse: ClickHouse, first: int, last: int, minute_hours: int, tables: Iterable[str]
) -> list[RebuiltPartition]:
    """Rebuilds every partition of the ingest months `first` to `last`, different or not."""
    await prepare_repair(clickhouse)
    rebuilt: list[RebuiltPartition] = []
    for rollup in tables:
        rows_read = [await clickhouse.read(MONTHS[rollup, source], NumberRow) for source in SOURCES]
        months = sorted({row.number for rows in rows_read for row in rows})
        for month in months:
            if first <= month <= last:
                rebuilt.append(await rebuild(clickhouse, rollup, month, minute_hours))
    return rebuilt


async def prepare_repair(clickhouse: ClickHouse) -> None:
    """Drops staging tables left by a crash, and pulls every rollup up to the end of raw.

    Rejected if raw ends before a rollup: then raw rows are lost and have to be restored first.
    """
    for rollup in ROLLUPS:
        await clickhouse.execute(f"DROP TABLE IF EXISTS {_staging_table(rollup.table)} SYNC")
    raw = {
        end.stream_number: end.end_position
        for source in SOURCES
        for end in await clickhouse.read(_RAW_ENDS.format(source=source), _StreamEnd)
    }
    for rollup in ROLLUPS:
        for end in await clickhouse.read(_ROLLUP_ENDS.format(rollup=rollup.table), _StreamEnd):
            if end.end_position > raw.get(end.stream_number, 0):
                stream = redis_keys.stream(end.stream_number)
                message = (
                    f"the raw events of {stream.kind}/{stream.shard} end before {rollup.table}"
                    " does: run `linkjolt restore`, or wait until they are read from the stream"
                )
                raise Rejected(Reason.conflict, message)
    for stream_number, end_position in raw.items():
        kind = redis_keys.stream(stream_number).kind
        await pulling.catch_up(clickhouse, kind, stream_number, end_position)


def incomplete_months(balance: Balance) -> set[int]:
    """Returns the ingest months with an accepted event that is missing from the balance."""
    return {
        hour.hour.year * 100 + hour.hour.month
        for stream in balance.streams
        for hour in stream.hours
        if hour.difference > 0
    }


async def rebuild(
    clickhouse: ClickHouse, rollup: str, month: int, minute_hours: int
) -> RebuiltPartition:
    """Rebuilds one partition, after `prepare_repair`. Rejected if the new one differs from raw."""
    oldest = 0
    if rollup == "rollup_minute":
        # An hour more, for events whose time is ahead of the clock.
        oldest = (time.time_ns() // 1_000_000 - (minute_hours + 1) * _HOUR_MS) << 20
    if month_end(month) < oldest:
        return RebuiltPartition(rollup, month, "left alone, it is older than this rollup is kept")
    if month < await read_kept_month(clickhouse):
        outcome = "left alone, its raw clicks are past their retention"
        return RebuiltPartition(rollup, month, outcome)
    staging = _staging_table(rollup)
    await clickhouse.execute(f"CREATE TABLE {staging} AS {rollup}")
    after = max(month_start(month) - 1, oldest)
    for end in await clickhouse.read(_ROLLUP_ENDS.format(rollup=rollup), _StreamEnd):
        end_position = min(end.end_position, month_end(month))
        if end_position >= month_start(month):
            await _fill_staging(
                clickhouse, rollup, end.stream_number, min(after, end_position), end_position
            )
    if rollup == "rollup_day":
        await count_staging(clickhouse, staging, month)
    for source in SOURCES:
        if unequal := await _count_unequal_in_staging(clickhouse, rollup, source, month):
            await clickhouse.execute(f"DROP TABLE {staging} SYNC")
            message = f"{rollup} {month}: {unequal} rebuilt cells differ from raw, nothing changed"
            raise Rejected(Reason.internal, message)
    await _swap(clickhouse, rollup, month)
    return RebuiltPartition(rollup, month, "rebuilt from raw")


async def _swap(clickhouse: ClickHouse, rollup: str, month: int) -> None:
    """Exchanges the staging table, with all other months, for the rollup: one rename on disk.

    REPLACE PARTITION would be shorter, but a kill at the wrong moment left both the old and the
    new partition (23 of 35 kills, engine 26.9); with EXCHANGE never (0 of 44).
    """
    staging = _staging_table(rollup)
    months = await clickhouse.read(_MONTHS.format(rollup=rollup), NumberRow)
    for other in months:
        if other.number != month:
            # Hard links, no copies.
            attach = f"ALTER TABLE {staging} ATTACH PARTITION {other.number} FROM {rollup}"
            await clickhouse.execute(attach)
    await clickhouse.execute(f"EXCHANGE TABLES {staging} AND {rollup}")
    await clickhouse.execute(f"DROP TABLE {staging} SYNC")


async def _fill_staging(
    clickhouse: ClickHouse, rollup: str, stream_number: int, after: int, end_position: int
) -> None:
    """Pulls a stream's raw rows in (after, end_position], with a marker, into the staging table."""
    source = redis_keys.stream(stream_number).kind
    sql = _on_staging(PULLS[rollup, source], rollup)
    month, rows = month_of(end_position), pulling.CHUNK_ROWS
    while True:
        range_parameters = {
            "s": stream_number,
            "after": after,
            "end_position": end_position,
            "rows": rows,
        }
        [span] = await clickhouse.read(SPANS[source], RawSpan, range_parameters)
        end = chunk_end(span, end_position, rows)
        await clickhouse.execute(
            sql, {"s": stream_number, "after": after, "end_position": end, "month": month}
        )
        if end >= end_position:
            return
        after = end


async def _count_unequal_in_staging(
    clickhouse: ClickHouse, rollup: str, source: Source, month: int
) -> int:
    since = int(time.time()) // 60 * 60 - _MINUTE_COMPARED_SECONDS
    parameters = {
        "after": month_start(month) - 1,
        "end_position": month_end(month),
        "month": month,
        "clicks": int(source == "clicks"),
        "since": since if rollup == "rollup_minute" else 0,
    }
    sql = _on_staging(DIFFERENCES[rollup, source], rollup)
    return (await clickhouse.read(sql, NumberRow, parameters))[0].number


def _staging_table(rollup: str) -> str:
    return f"staging_{rollup}"


def _on_staging(sql: str, rollup: str) -> str:
    """Returns the statement with the staging table in place of the rollup."""
    return re.sub(rf"\b{rollup}\b", _staging_table(rollup), sql)
