"""Pulls rollups from raw rows, for a step, a recovery, a backfill and a new rollup alike."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from aggregator.rollups.day_counts import count_miscounted_cells
from aggregator.rollups.statements import (
    DIFFERENCES,
    IN_ONE_PIECE,
    MONTHS,
    PULLS,
    ROLLUPS,
    SPANS,
    WATERMARKS,
    Rollup,
    Source,
)
from aggregator.warehouse.insert_tokens import InsertStart, insert_once
from linkjolt.fault_points import fault
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_end, month_of, month_start
from linkjolt.storage.raw_retention import read_kept_month

__all__ = [
    "ROLLUPS",
    "Rollup",
    "RollupDifference",
    "Source",
    "Watermarks",
    "catch_up",
    "find_differing_months",
]

# By rollup table and stream number: the position up to which the rollup holds the stream.
Watermarks = dict[tuple[str, int], int]

CHUNK_ROWS = 500_000
# Half of a small pull is planning by the engine, in one thread.
_PULLS_AT_ONCE = 3
_MINUTE_COMPARED_SECONDS = 24 * 3600


class RawSpan(msgspec.Struct, frozen=True):
    """The first and last position of a limited number of raw rows, and how many they are.

    `earliest`: the UTC second of the earliest event among them.
    """

    first: int
    last: int
    rows: int
    earliest: int = 0


class PulledRows(msgspec.Struct, frozen=True):
    """About how many raw rows were pulled, and the UTC second of the earliest event among them."""

    rows: int
    earliest_event_at: int


class RollupDifference(msgspec.Struct, frozen=True):
    """An ingest month (YYYYMM) in which `unequal` cells of a rollup differ from raw."""

    rollup: str
    source: Source
    month: int
    unequal: int


class NumberRow(msgspec.Struct, frozen=True):
    """The row of a query that returns one number."""

    number: int


def chunk_end(span: RawSpan, end_position: int, rows: int) -> int:
    """Returns the end of the next pull: `end_position`, a month's end, or a row after `rows` rows.

    Rows of one position are never split, for the end is a position.
    """
    if span.rows == 0:
        return end_position
    position = min(end_position, month_end(month_of(span.first)))
    return min(position, span.last) if span.rows >= rows else position


async def pull(
    clickhouse: ClickHouse,
    rollup: str,
    source: Source,
    stream_number: int,
    after: int,
    end_position: int,
) -> int:
    """Adds a stream's raw rows in (after, end_position] to a rollup; returns its new watermark.

    All of them lie in one ingest month. A range pulled twice counts twice: `after` has to be the
    watermark. On a server another pull from there may have won, with another end. ClickHouseFailed
    leaves open whether it was executed: read the watermark again.
    """
    parameters = {
        "s": stream_number,
        "after": after,
        "end_position": end_position,
        "month": month_of(end_position),
    }
    sql = PULLS[rollup, source]
    if not clickhouse.remote:
        await clickhouse.execute(sql, parameters)
        return end_position
    return await insert_once(
        clickhouse,
        InsertStart(rollup, stream_number, after),
        lambda token: clickhouse.execute(sql + IN_ONE_PIECE, parameters, token),
        lambda: read_watermark(clickhouse, rollup, stream_number),
    )


async def read_watermark(clickhouse: ClickHouse, rollup: str, stream_number: int) -> int:
    """Returns the position up to which a rollup holds a stream; 0 if it holds nothing."""
    return (await clickhouse.read(WATERMARKS[rollup], NumberRow, {"s": stream_number}))[0].number


class PullEnds:
    """The ends of one stream's pulls, read once for all rollups with the same watermark."""

    def __init__(
        self,
        clickhouse: ClickHouse,
        source: Source,
        stream_number: int,
        end_position: int,
        rows: int,
    ) -> None:
        self._clickhouse = clickhouse
        self._sql = SPANS[source]
        self._parameters = {"s": stream_number, "end_position": end_position, "rows": rows}
        self._spans: dict[int, RawSpan] = {}
        self._lock = asyncio.Lock()

    async def next_end(self, after: int) -> int:
        """Returns the end of a pull that starts behind `after`."""
        async with self._lock:
            if after not in self._spans:
                parameters = {**self._parameters, "after": after}
                rows_read = await self._clickhouse.read(self._sql, RawSpan, parameters)
                self._spans[after] = rows_read[0]
        return chunk_end(
            self._spans[after], self._parameters["end_position"], self._parameters["rows"]
        )

    @property
    def pulled(self) -> PulledRows | None:
        """The rows of all pulls; None if there were none."""
        spans = [span for span in self._spans.values() if span.rows]
        if not spans:
            return None
        return PulledRows(sum(span.rows for span in spans), min(span.earliest for span in spans))


async def catch_up(
    clickhouse: ClickHouse,
    source: Source,
    stream_number: int,
    end_position: int,
    watermarks: Watermarks | None = None,
    chunk_rows: int = CHUNK_ROWS,
    rollups: Sequence[Rollup] = ROLLUPS,
) -> PulledRows | None:
    """Pulls rollups from their watermarks to `end_position`, up to which raw is complete.

    `watermarks` saves reading them; an entry is missing while the outcome of its pull is unknown.
    Returns None if there was nothing to pull.
    """
    known = {} if watermarks is None else watermarks
    ends = PullEnds(clickhouse, source, stream_number, end_position, chunk_rows)
    turns = asyncio.Semaphore(_PULLS_AT_ONCE)

    async def pull_rollup(table: str) -> None:
        async with turns:
            after = known.pop((table, stream_number), None)
            if after is None:
                after = await read_watermark(clickhouse, table, stream_number)
            while after < end_position:
                end = await ends.next_end(after)
                after = await pull(clickhouse, table, source, stream_number, after, end)
                fault("aggregator_after_rollup")
            known[table, stream_number] = after

    # A failure leaves no other pull running, which would pull rows that are pulled again by then.
    outcomes = await asyncio.gather(
        *(pull_rollup(rollup.table) for rollup in reversed(rollups)), return_exceptions=True
    )
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
    return ends.pulled


async def find_differing_months(
    clickhouse: ClickHouse, source: Source, rollup: str
) -> list[RollupDifference]:
    """Finds ingest months in which a rollup differs from raw at or below its watermarks.

    rollup_minute is compared over the last 24 hours only, for older minutes expire, and clicks in
    months whose raw ones are kept.
    """
    kept_month = await read_kept_month(clickhouse) if source == "clicks" else 0
    differing: list[RollupDifference] = []
    since = 0
    if rollup == "rollup_minute":
        since = int(datetime.now(UTC).timestamp()) // 60 * 60 - _MINUTE_COMPARED_SECONDS
    for month in await clickhouse.read(MONTHS[rollup, source], NumberRow):
        if month.number < kept_month:
            continue
        unequal = await count_unequal_cells(clickhouse, source, rollup, month.number, since)
        if (source, rollup) == ("clicks", "rollup_day"):
            unequal += await count_miscounted_cells(clickhouse, month.number)
        if unequal:
            differing.append(RollupDifference(rollup, source, month.number, unequal))
    return differing


async def count_unequal_cells(
    clickhouse: ClickHouse, source: Source, rollup: str, month: int, since: int
) -> int:
    parameters = {
        "after": month_start(month) - 1,
        "end_position": month_end(month),
        "month": month,
        "clicks": int(source == "clicks"),
        "since": since,
    }
    return (await clickhouse.read(DIFFERENCES[rollup, source], NumberRow, parameters))[0].number
