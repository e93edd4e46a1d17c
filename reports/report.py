"""One report: its queries run, its rows compared, named and written as JSON or CSV."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import Literal

import msgspec
from redis.asyncio import Redis

from linkjolt import names
from linkjolt.clickhouse import ClickHouse
from linkjolt.errors import Reason, Rejected
from linkjolt.settings import Reports as Settings
from reports import metrics
from reports.compare import compared, narrowed, paired, shift_of
from reports.export import csv_text
from reports.lookup import read_names, resolve_links
from reports.query import Query, rows_query, totals_query
from reports.request import ReportRequest, cursor_at
from reports.rows import EMPTY_CELL, Cell, Row, csv_columns, csv_row, make_row, measure, numbers_in
from reports.series import Page, fill, page_of
from reports.vocabulary import Interval, TimeBasis

EXPORTED_ROWS_MAX = 1_000_000
_TOO_COSTLY = "takes too long from raw events: choose a shorter period, or fewer dimensions"
_VISITORS_DIFFER = (
    "a visitor counts once in each row and once in totals, so rows may add up to more;"
    " visitors are told apart within a UTC day, and over several days are the sum of the days"
)


class Span(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """[from, to) in UTC."""

    start: datetime
    end: datetime


class Meta(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """[from, to) in UTC, as it was answered; `incomplete`: the time for raw events ran out.

    `compared` is the period of `previous` in rows and totals. `notes` says by metric why totals
    are not the sum of the rows.
    """

    data_as_of: datetime | None
    source: Literal["rollup", "raw"]
    elapsed_ms: int
    timezone: str
    incomplete: bool
    start: datetime
    end: datetime
    interval: Interval
    time_basis: TimeBasis
    compared: Span | None
    notes: dict[str, str]


class Report(msgspec.Struct, frozen=True):
    data: list[Row]
    totals: Row
    next_cursor: str | None
    meta: Meta


class Reporter:
    """Makes one report of the events kept under `books`. What it calls raises ClickHouseFailed."""

    def __init__(
        self, books: int, redis: Redis, clickhouse: ClickHouse, settings: Settings
    ) -> None:
        self._books = books
        self._redis = redis
        self._clickhouse = clickhouse
        self._seconds = settings.report_raw_max_seconds
        # A query ran into its time limit.
        self._broken = False

    async def make(self, request: ReportRequest, as_of: datetime | None) -> Report:
        """The answer to a request; `as_of` was read before. Raises Rejected for an unknown link."""
        began = time.monotonic()
        request = await resolve_links(self._redis, names.owner(self._books), request)
        page = page_of(request)
        together = _together(page, request)
        query = rows_query(page.request, self._books, self._seconds, totals=together)
        apart = not together and not request.one_row
        cells, totals, before = await asyncio.gather(
            self._run(query),
            self._sum(request if apart else None),
            self._sum(_earlier(request)),
        )
        sums = [cell for cell in cells if cell.total] if together else cells[:1]
        rows = fill(page, [cell for cell in cells if not cell.total])
        more = page.more if page.starts is not None else len(rows) > request.limit
        shown = rows if page.starts is not None else rows[: request.limit]
        data = await self._rows(page.request, request, shown)
        elapsed = time.monotonic() - began
        metrics.REPORT_SECONDS.labels(query.source).observe(elapsed)
        metrics.INCOMPLETE.inc(self._broken)
        return Report(
            data=data,
            totals=_totals(request, totals or (sums or [EMPTY_CELL])[0], before),
            next_cursor=cursor_at(request.offset + request.limit) if more else None,
            meta=_meta(request, as_of, query.source, elapsed, self._broken),
        )

    async def csv(self, request: ReportRequest) -> AsyncGenerator[str]:
        """The header and every row of the report, at most EXPORTED_ROWS_MAX, as they are named.

        The warehouse has answered before the first text comes, so a slow reader holds up nobody.
        """
        request = await resolve_links(self._redis, names.owner(self._books), request)
        request = msgspec.structs.replace(request, limit=EXPORTED_ROWS_MAX)
        page = page_of(request)
        query = rows_query(page.request, self._books, self._seconds)
        began = time.monotonic()
        async with self._clickhouse.export(query.sql, Cell, query.parameters) as batches:
            if self._is_late(query, began):
                raise Rejected(Reason.too_costly, _TOO_COSTLY)
            yield csv_text([csv_columns(request)])
            for cells in [fill(page, list(chain(*batches)))] if page.starts else batches:
                rows = await self._rows(page.request, request, cells)
                yield csv_text(csv_row(request, row) for row in rows)

    async def _rows(
        self, page: ReportRequest, request: ReportRequest, cells: Sequence[Cell]
    ) -> list[Row]:
        """Named rows, each with `previous` where a comparison is wanted."""
        numbers = numbers_in(request, cells)
        named = await read_names(self._clickhouse, names.owner(self._books), numbers)
        rows = [make_row(request, cell, named) for cell in cells]
        if request.compare == "none" or not cells:
            return rows
        shift = shift_of(request)
        earlier = narrowed(compared(page, shift), cells)
        found = await self._run(rows_query(earlier, self._books, self._seconds))
        pairs = zip(rows, paired(page, shift, cells, found), strict=True)
        return [row | {"previous": measure(request, before)} for row, before in pairs]

    async def _sum(self, request: ReportRequest | None) -> Cell | None:
        """What all rows of a request come to."""
        if request is None:
            return None
        cells = await self._run(totals_query(request, self._books, self._seconds))
        return cells[0] if cells else EMPTY_CELL

    async def _run(self, query: Query) -> list[Cell]:
        began = time.monotonic()
        cells = await self._clickhouse.read(query.sql, Cell, query.parameters)
        self._broken = self._broken or self._is_late(query, began)
        return cells

    def _is_late(self, query: Query, began: float) -> bool:
        # The engine does not say that it stopped early; it stops no earlier than this.
        return query.source == "raw" and time.monotonic() - began >= self._seconds


def _together(page: Page, request: ReportRequest) -> bool:
    """Whether one query tells rows and totals: where the page's source is as quick for both.

    Visitors of days are merged, and there are fewer states of them by no dimension at all.
    """
    short = request.end - request.start <= timedelta(days=2)
    whole = request.offset == 0 and not page.more and not request.one_row
    return whole and (short or "unique_clicks" not in request.metrics)


def _earlier(request: ReportRequest) -> ReportRequest | None:
    return compared(request, shift_of(request)) if request.compare != "none" else None


def _totals(request: ReportRequest, cell: Cell, before: Cell | None) -> Row:
    totals: Row = {**measure(request, cell)}
    return totals if before is None else totals | {"previous": measure(request, before)}


def _meta(
    request: ReportRequest,
    as_of: datetime | None,
    source: Literal["rollup", "raw"],
    elapsed_seconds: float,
    incomplete: bool,
) -> Meta:
    earlier = _earlier(request)
    several = not request.one_row and "unique_clicks" in request.metrics
    return Meta(
        data_as_of=as_of,
        source=source,
        elapsed_ms=round(elapsed_seconds * 1000),
        timezone=request.timezone,
        incomplete=incomplete,
        start=request.start,
        end=request.end,
        interval=request.interval,
        time_basis=request.time_basis,
        compared=Span(earlier.start, earlier.end) if earlier else None,
        notes={"unique_clicks": _VISITORS_DIFFER} if several else {},
    )
