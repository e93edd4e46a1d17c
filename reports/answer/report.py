"""Reports: their queries run, their rows compared, named and written as JSON or CSV."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import Reports as Settings
from linkjolt.storage.clickhouse import ClickHouse
from reports import metrics
from reports.answer.meta import Meta, earlier_of, meta_of
from reports.answer.rows import (
    EMPTY_CELL,
    Cell,
    Row,
    csv_columns,
    csv_row,
    make_row,
    measure,
    numbers_in,
)
from reports.answer.series import Page, fill, page_of
from reports.csv import csv_text
from reports.names import NameCache, resolve_links
from reports.query.compare import compared, narrowed, narrows, paired, shift_of
from reports.query.query import (
    Query,
    both_query,
    joins_earlier,
    rows_query,
    tops_query,
    tops_together,
    totals_query,
)
from reports.query.request import ReportRequest, cursor_at
from reports.query.sources import Source, choose_shape, source_of

EXPORTED_ROWS_MAX = 1_000_000
_TOO_COSTLY = "takes too long from raw events: choose a shorter period, or fewer dimensions"


class Report(msgspec.Struct, frozen=True):
    data: list[Row]
    totals: Row
    next_cursor: str | None
    meta: Meta


class Tops(msgspec.Struct, frozen=True):
    """By dimension its first rows."""

    data: dict[str, list[Row]]
    meta: Meta


class _Sums(msgspec.Struct, frozen=True):
    """Rows of the warehouse and what all rows come to; rows are None where not yet asked for."""

    rows: list[Cell] | None
    total: Cell


class Reporter:
    """Makes one report of the events kept under `books`. What it calls raises ClickHouseFailed."""

    def __init__(
        self,
        books: int,
        redis: Redis,
        clickhouse: ClickHouse,
        settings: Settings,
        named: NameCache,
    ) -> None:
        self._books = books
        self._redis = redis
        self._clickhouse = clickhouse
        self._named = named
        self._seconds = settings.report_raw_max_seconds
        # A query ran into its time limit.
        self._broken = False

    async def make(self, request: ReportRequest, as_of: datetime | None) -> Report:
        """The answer to a request; `as_of` was read before. Raises Rejected for an unknown link."""
        began = time.monotonic()
        request = await self._known(request, as_of)
        page = page_of(request)
        sums, before = await self._both(page, request)
        rows = fill(page, sums.rows or [])
        more = page.more if page.starts is not None else len(rows) > request.limit
        shown = rows if page.starts is not None else rows[: request.limit]
        data = await self._rows(page.request, request, shown, before.rows if before else None)
        return Report(
            data=data,
            totals=_totals(request, sums.total, before),
            next_cursor=cursor_at(request.offset + request.limit) if more else None,
            meta=self._told(request, as_of, source_of(choose_shape(page.request)), began),
        )

    async def tops(self, request: ReportRequest, as_of: datetime | None) -> Tops:
        """The first rows by each of `request.tops`, from one query where they can be."""
        began = time.monotonic()
        request = await self._known(request, as_of)
        alone = {name: _alone(request, name) for name in request.tops}
        found, source = await self._found(request, alone)
        numbers: dict[str, set[int]] = {}
        for name, cells in found.items():
            numbers |= numbers_in(alone[name], cells)
        named = await self._named.read(redis_keys.owner(self._books), numbers)
        data = {name: [make_row(alone[name], one, named) for one in found[name]] for name in found}
        return Tops(data, self._told(request, as_of, source, began))

    async def _found(
        self, request: ReportRequest, alone: Mapping[str, ReportRequest]
    ) -> tuple[dict[str, list[Cell]], Source]:
        """The rows by each dimension, of which `alone` has the report."""
        together = tops_together(request)
        apart = alone.keys() - {*chain(*together)}
        queries = [tops_query(request, tops, self._books, self._seconds) for tops in together]
        queries += [rows_query(alone[name], self._books, self._seconds) for name in apart]
        answers = await asyncio.gather(*(self._run(query) for query in queries))
        found: dict[str, list[Cell]] = {name: [] for name in alone}
        for cell in chain(*answers[: len(together)]):
            found[cell.top].append(cell)
        for name, cells in zip(apart, answers[len(together) :], strict=True):
            found[name] = cells[: request.limit]
        raw = any(query.source == "raw" for query in queries)
        return found, "raw" if raw else "rollup"

    async def csv(self, request: ReportRequest, as_of: datetime | None) -> AsyncGenerator[str]:
        """The header and every row of the report, at most EXPORTED_ROWS_MAX, as they are named.

        The warehouse has answered before the first text comes, so a slow reader holds up nobody.
        """
        request = await self._known(request, as_of)
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

    async def _known(self, request: ReportRequest, as_of: datetime | None) -> ReportRequest:
        request = await resolve_links(self._redis, redis_keys.owner(self._books), request)
        return msgspec.structs.replace(request, as_of=as_of)

    async def _rows(
        self,
        page: ReportRequest,
        request: ReportRequest,
        cells: Sequence[Cell],
        before: Sequence[Cell] | None = None,
    ) -> list[Row]:
        """Named rows, each with `previous` where a comparison is wanted."""
        numbers = numbers_in(request, cells)
        named = await self._named.read(redis_keys.owner(self._books), numbers)
        rows = [make_row(request, cell, named) for cell in cells]
        if request.compare == "none" or not cells:
            return rows
        shift = shift_of(request)
        if before is None:
            earlier = narrowed(compared(page, shift), cells)
            before = await self._run(rows_query(earlier, self._books, self._seconds))
        pairs = zip(rows, paired(page, shift, cells, before), strict=True)
        return [row | {"previous": measure(request, cell)} for row, cell in pairs]

    async def _both(self, page: Page, request: ReportRequest) -> tuple[_Sums, _Sums | None]:
        """The sums of a report and of the one compared with, from one query where they can be."""
        earlier = earlier_of(request)
        if earlier is None:
            return await self._sums(page, request), None
        if narrows(request):
            return await asyncio.gather(self._sums(page, request), self._whole(earlier))
        before = Page(compared(page.request, shift_of(request)), more=page.more)
        if _together(page, request) and joins_earlier(page.request, before.request):
            query = both_query(page.request, before.request, self._books, self._seconds)
            cells = await self._run(query)
            now, then = ([cell for cell in cells if cell.earlier == n] for n in (0, 1))
            return _apart(now), _apart(then)
        return await asyncio.gather(self._sums(page, request), self._sums(before, earlier))

    async def _whole(self, request: ReportRequest) -> _Sums:
        return _Sums(None, await self._total(request))

    async def _sums(self, page: Page, request: ReportRequest) -> _Sums:
        """A page's rows, and what all rows of the request come to."""
        if _together(page, request):
            query = rows_query(page.request, self._books, self._seconds, totals=True)
            return _apart(await self._run(query))
        query = rows_query(page.request, self._books, self._seconds)
        if request.one_row:
            rows = await self._run(query)
            return _Sums(rows, rows[0] if rows else EMPTY_CELL)
        return _Sums(*await asyncio.gather(self._run(query), self._total(request)))

    async def _total(self, request: ReportRequest) -> Cell:
        cells = await self._run(totals_query(request, self._books, self._seconds))
        return cells[0] if cells else EMPTY_CELL

    async def _run(self, query: Query) -> list[Cell]:
        began = time.monotonic()
        cells = await self._clickhouse.read(query.sql, Cell, query.parameters)
        self._broken = self._broken or self._is_late(query, began)
        return cells

    def _told(
        self, request: ReportRequest, as_of: datetime | None, source: Source, began: float
    ) -> Meta:
        elapsed = time.monotonic() - began
        metrics.REPORT_SECONDS.labels(source).observe(elapsed)
        metrics.INCOMPLETE.inc(self._broken)
        return meta_of(request, as_of, source, elapsed, self._broken)

    def _is_late(self, query: Query, began: float) -> bool:
        # The engine does not say that it stopped early; it stops no earlier than this.
        return query.source == "raw" and time.monotonic() - began >= self._seconds


def _apart(cells: Sequence[Cell]) -> _Sums:
    rows = [cell for cell in cells if not cell.total]
    return _Sums(rows, next((cell for cell in cells if cell.total), EMPTY_CELL))


def _together(page: Page, request: ReportRequest) -> bool:
    """Whether one query tells rows and totals: where the page's source is as quick for both.

    Visitors of days are merged, and there are fewer states of them by no dimension at all.
    """
    short = request.end - request.start <= timedelta(days=2)
    whole = request.offset == 0 and not page.more and not request.one_row
    return whole and (short or "unique_clicks" not in request.metrics)


def _alone(request: ReportRequest, name: str) -> ReportRequest:
    return msgspec.structs.replace(request, group_by=(name,), tops=())


def _totals(request: ReportRequest, cell: Cell, before: _Sums | None) -> Row:
    totals: Row = {**measure(request, cell)}
    return totals if before is None else totals | {"previous": measure(request, before.total)}
