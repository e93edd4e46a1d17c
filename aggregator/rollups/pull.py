"""Rollups are pulled from raw: a step, a recovery, a backfill, a new rollup are one function."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from aggregator.rollups.day_counts import miscounted
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
from aggregator.warehouse.insert_tokens import Start, insert_once
from aggregator.warehouse.months import month_end, month_of, month_start
from linkjolt.fault_points import fault
from linkjolt.storage.clickhouse import ClickHouse

__all__ = ["ROLLUPS", "Difference", "Rollup", "Source", "Watermarks", "catch_up", "differences"]

# By rollup table and stream number: the position up to which the rollup holds the stream.
Watermarks = dict[tuple[str, int], int]

CHUNK_ROWS = 500_000
# Half of a small pull is the engine's planning, by one thread.
_PULLS_AT_ONCE = 3
_MINUTE_COMPARED_SECONDS = 24 * 3600


class Span(msgspec.Struct, frozen=True):
    """Raw rows after a position: the first and last of at most so many, and their number.

    `earliest`: the UTC second of the earliest event among them.
    """

    first: int
    last: int
    rows: int
    earliest: int = 0


class Pulled(msgspec.Struct, frozen=True):
    """How many raw rows were pulled, about, and the UTC second of the earliest event among them."""

    rows: int
    earliest: int


class Difference(msgspec.Struct, frozen=True):
    """An ingest month (YYYYMM) in which `unequal` cells of a rollup disagree with raw."""

    rollup: str
    source: Source
    month: int
    unequal: int


class _Number(msgspec.Struct, frozen=True):
    number: int


def chunk_end(span: Span, base: int, rows: int) -> int:
    """Where the next pull ends: at `base`, at a month's end or, once `rows` are reached, at a row.

    Rows of one position are never split, for the end is a position.
    """
    if span.rows == 0:
        return base
    end = min(base, month_end(month_of(span.first)))
    return min(end, span.last) if span.rows >= rows else end


async def pull(
    clickhouse: ClickHouse, rollup: str, source: Source, s: int, after: int, upto: int
) -> int:
    """Adds the raw rows of stream `s` in (after, upto] to a rollup; answers the new watermark.

    All of them lie in one ingest month. A range pulled twice counts twice: `after` has to be the
    watermark. On a server another pull from there may have won, so the answer may be another than
    `upto`. ClickHouseFailed leaves open whether it happened: read the watermark again.
    """
    parameters = {"s": s, "after": after, "upto": upto, "month": month_of(upto)}
    sql = PULLS[rollup, source]
    if not clickhouse.remote:
        await clickhouse.execute(sql, parameters)
        return upto
    return await insert_once(
        clickhouse,
        Start(rollup, s, after),
        lambda token: clickhouse.execute(sql + IN_ONE_PIECE, parameters, token),
        lambda: watermark(clickhouse, rollup, s),
    )


async def watermark(clickhouse: ClickHouse, rollup: str, s: int) -> int:
    """The position up to which a rollup holds stream `s`; 0 when it holds nothing."""
    return (await clickhouse.read(WATERMARKS[rollup], _Number, {"s": s}))[0].number


class Spans:
    """Where pulls of one stream end, asked for once for all rollups that stand at one place."""

    def __init__(
        self, clickhouse: ClickHouse, source: Source, s: int, base: int, rows: int
    ) -> None:
        self._clickhouse = clickhouse
        self._sql = SPANS[source]
        self._parameters = {"s": s, "base": base, "rows": rows}
        self._known: dict[int, Span] = {}
        self._one = asyncio.Lock()

    async def end(self, after: int) -> int:
        """Where a pull from there ends."""
        async with self._one:
            if after not in self._known:
                parameters = {**self._parameters, "after": after}
                found = await self._clickhouse.read(self._sql, Span, parameters)
                self._known[after] = found[0]
        return chunk_end(self._known[after], self._parameters["base"], self._parameters["rows"])

    @property
    def pulled(self) -> Pulled | None:
        """None where there was nothing."""
        spans = [span for span in self._known.values() if span.rows]
        if not spans:
            return None
        return Pulled(sum(span.rows for span in spans), min(span.earliest for span in spans))


async def catch_up(
    clickhouse: ClickHouse,
    source: Source,
    s: int,
    base: int,
    remembered: Watermarks | None = None,
    chunk_rows: int = CHUNK_ROWS,
    wanted: Sequence[Rollup] = ROLLUPS,
) -> Pulled | None:
    """Pulls rollups from their watermarks to `base`, a position up to which raw is complete.

    `remembered` saves reading the watermarks; an entry is gone while its pull is in doubt. None
    where there was nothing to pull.
    """
    known = {} if remembered is None else remembered
    spans = Spans(clickhouse, source, s, base, chunk_rows)
    turns = asyncio.Semaphore(_PULLS_AT_ONCE)

    async def follow(table: str) -> None:
        async with turns:
            at = known.pop((table, s), None)
            if at is None:
                at = await watermark(clickhouse, table, s)
            while at < base:
                at = await pull(clickhouse, table, source, s, at, await spans.end(at))
                fault("aggregator_after_rollup")
            known[table, s] = at

    # None is left running by the failure of another: it would pull what is pulled anew.
    ends = await asyncio.gather(
        *(follow(rollup.table) for rollup in reversed(wanted)), return_exceptions=True
    )
    for end in ends:
        if end is not None:
            raise end
    return spans.pulled


async def differences(clickhouse: ClickHouse, source: Source, rollup: str) -> list[Difference]:
    """Ingest months in which a rollup is not what raw at or below its watermarks makes of it.

    rollup_minute is compared over the last 24 hours only, for it forgets.
    """
    found: list[Difference] = []
    since = 0
    if rollup == "rollup_minute":
        since = int(datetime.now(UTC).timestamp()) // 60 * 60 - _MINUTE_COMPARED_SECONDS
    for month in await clickhouse.read(MONTHS[rollup, source], _Number):
        unequal = await _unequal(clickhouse, source, rollup, month.number, since)
        if (source, rollup) == ("clicks", "rollup_day"):
            unequal += await miscounted(clickhouse, month.number)
        if unequal:
            found.append(Difference(rollup, source, month.number, unequal))
    return found


async def _unequal(
    clickhouse: ClickHouse, source: Source, rollup: str, month: int, since: int
) -> int:
    parameters = {
        "after": month_start(month) - 1,
        "upto": month_end(month),
        "month": month,
        "clicks": int(source == "clicks"),
        "since": since,
    }
    return (await clickhouse.read(DIFFERENCES[rollup, source], _Number, parameters))[0].number
