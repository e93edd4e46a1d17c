"""One report: its queries run, its rows compared, named and written as JSON or CSV."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime
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
        query = rows_query(page.request, self._books, self._seconds)
        if request.one_row:
            data, more = await self._page(query, page, request)
            totals: Row = data[0] if data else {**measure(request, EMPTY_CELL)}
        else:
            (data, more), totals = await asyncio.gather(
                self._page(query, page, request), self._totals(request)
            )
        elapsed = time.monotonic() - began
        metrics.REPORT_SECONDS.labels(query.source).observe(elapsed)
        metrics.INCOMPLETE.inc(self._broken)
        return Report(
            data=data,
            totals=totals,
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

    async def _page(
        self, query: Query, page: Page, request: ReportRequest
    ) -> tuple[list[Row], bool]:
        """The rows of a page, and whether there are more."""
        cells = fill(page, await self._run(query))
        if page.starts is not None:
            return await self._rows(page.request, request, cells), page.more
        shown = cells[: request.limit]
        return await self._rows(page.request, request, shown), len(cells) > request.limit

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

    async def _totals(self, request: ReportRequest) -> Row:
        asked = [request]
        if request.compare != "none":
            asked.append(compared(request, shift_of(request)))
        queries = [totals_query(one, self._books, self._seconds) for one in asked]
        found = await asyncio.gather(*map(self._run, queries))
        measured = [measure(request, cells[0] if cells else EMPTY_CELL) for cells in found]
        return {**measured[0]} if len(measured) == 1 else {**measured[0], "previous": measured[1]}

    async def _run(self, query: Query) -> list[Cell]:
        began = time.monotonic()
        cells = await self._clickhouse.read(query.sql, Cell, query.parameters)
        self._broken = self._broken or self._is_late(query, began)
        return cells

    def _is_late(self, query: Query, began: float) -> bool:
        # The engine does not say that it stopped early; it stops no earlier than this.
        return query.source == "raw" and time.monotonic() - began >= self._seconds


def _meta(
    request: ReportRequest,
    as_of: datetime | None,
    source: Literal["rollup", "raw"],
    elapsed_seconds: float,
    incomplete: bool,
) -> Meta:
    earlier = compared(request, shift_of(request)) if request.compare != "none" else None
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
