"""Builds reports: runs their queries, compares and names their rows, and describes the answer."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, islice

import msgspec
from redis.asyncio import Redis

from linkjolt import datasets
from linkjolt.datasets import Dataset
from linkjolt.reasons import Reason, Rejected
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from reports import metrics
from reports.answer.kept import check_kept
from reports.answer.rows import (
    EMPTY_ROW,
    AnswerRow,
    ReportRow,
    answer_metrics,
    answer_row,
    csv_columns,
    csv_row,
    registry_numbers,
)
from reports.answer.series import ReportPage, fill_empty_intervals, plan_page
from reports.csv import csv_text
from reports.names import NameCache, resolve_links
from reports.query.compare import (
    EarlierRows,
    Shift,
    by_place,
    filter_to_rows,
    filters_earlier_rows,
    pair_earlier_rows,
    shift_for,
    shifted_request,
)
from reports.query.query import (
    Query,
    can_join_earlier,
    comparison_query,
    rows_query,
    tops_per_query,
    tops_query,
    totals_query,
)
from reports.query.request import ReportRequest, cursor_at
from reports.query.sources import Source, choose_shape, source_of
from reports.vocabulary import Interval, TimeBasis

EXPORTED_ROWS_MAX = 1_000_000
_BATCH_ROWS = 500
_TOO_COSTLY = (
    "the report takes too long from raw events: choose a shorter period, or fewer dimensions"
)
_VISITORS_DIFFER = (
    "a visitor counts once in each row and once in totals, so rows may add up to more;"
    " visitors are told apart within a UTC day, and over several days are the sum of the days"
)


class ComparedPeriod(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The period [from, to) in UTC of the `previous` values."""

    start: datetime
    end: datetime


class ReportMeta(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """The period [from, to) in UTC that was answered, with freshness and source.

    `incomplete`: the time limit for raw events was reached. `compared` is the period of `previous`
    in rows and totals. `notes` explains by metric why totals are not the sum of the rows.
    """

    data_as_of: datetime | None
    source: Source
    elapsed_ms: int
    timezone: str
    incomplete: bool
    start: datetime
    end: datetime
    interval: Interval
    time_basis: TimeBasis
    compared: ComparedPeriod | None
    notes: dict[str, str]


def earlier_request(request: ReportRequest) -> ReportRequest | None:
    """Builds the request of the earlier period to compare with; None without a comparison."""
    return shifted_request(request, shift_for(request)) if request.compare != "none" else None


def make_meta(
    request: ReportRequest,
    as_of: datetime | None,
    source: Source,
    elapsed_seconds: float,
    incomplete: bool,
) -> ReportMeta:
    """Describes the answer to a request, whose rows were read from `source`."""
    earlier = earlier_request(request)
    differ = not request.is_single_row and "unique_clicks" in request.metrics
    return ReportMeta(
        data_as_of=as_of,
        source=source,
        elapsed_ms=round(elapsed_seconds * 1000),
        timezone=request.timezone,
        incomplete=incomplete,
        start=request.start,
        end=request.end,
        interval=request.interval,
        time_basis=request.time_basis,
        compared=ComparedPeriod(earlier.start, earlier.end) if earlier else None,
        notes={"unique_clicks": _VISITORS_DIFFER} if differ else {},
    )


class Report(msgspec.Struct, frozen=True):
    """One page of a report, with totals over all its rows."""

    data: list[AnswerRow]
    totals: AnswerRow
    next_cursor: str | None
    meta: ReportMeta


class TopRows(msgspec.Struct, frozen=True):
    """The first rows by each dimension."""

    data: dict[str, list[AnswerRow]]
    meta: ReportMeta


class _RowsAndTotal(msgspec.Struct, frozen=True):
    """Rows of the warehouse (None if not read yet) and the sum of all rows, on any page."""

    rows: list[ReportRow] | None
    total: ReportRow


class ReportBuilder:
    """Builds one report over the events of one dataset.

    Its methods raise ClickHouseFailed, and Rejected for an unknown link.
    """

    def __init__(
        self,
        dataset: Dataset,
        redis: Redis,
        clickhouse: ClickHouse,
        settings: ReportsSettings,
        names: NameCache,
    ) -> None:
        self._dataset = dataset
        self._redis = redis
        self._clickhouse = clickhouse
        self._names = names
        self._raw_max_seconds = settings.report_raw_max_seconds
        # Whether a query reached its time limit.
        self._timed_out = False

    async def report(self, request: ReportRequest, as_of: datetime | None) -> Report:
        """Builds the answer to a request; `as_of` has to be read before."""
        started_at = time.monotonic()
        request = await self._resolve(request, as_of)
        page = plan_page(request)
        current, before = await self._read_compared(page, request)
        rows = current.rows or []
        if page.starts is None:
            shown, more = rows[: request.limit], len(rows) > request.limit
        else:
            by_start = {row.bucket: row for row in rows}
            shown = list(fill_empty_intervals(page, page.starts, by_start))
            more = page.more
        earlier_rows = by_place(before.rows) if before and before.rows is not None else None
        data = await self._answer_rows(page.request, request, shown, earlier_rows)
        return Report(
            data=data,
            totals=_totals(request, current.total, before),
            next_cursor=cursor_at(request.offset + request.limit) if more else None,
            meta=self._meta(request, as_of, source_of(choose_shape(page.request)), started_at),
        )

    async def tops(self, request: ReportRequest, as_of: datetime | None) -> TopRows:
        """Reads the first rows by each of `request.tops`, with one query where possible."""
        started_at = time.monotonic()
        request = await self._resolve(request, as_of)
        requests = {name: _grouped_by(request, name) for name in request.tops}
        rows_by_top, source = await self._read_tops(request, requests)
        numbers: dict[str, set[int]] = {}
        for name, rows in rows_by_top.items():
            numbers |= registry_numbers(requests[name], rows)
        names = await self._names.read(datasets.account_of(self._dataset), numbers)
        data = {
            name: [answer_row(requests[name], row, names) for row in rows]
            for name, rows in rows_by_top.items()
        }
        return TopRows(data, self._meta(request, as_of, source, started_at))

    async def _read_tops(
        self, request: ReportRequest, requests: Mapping[str, ReportRequest]
    ) -> tuple[dict[str, list[ReportRow]], Source]:
        """Reads the rows by each dimension, of which `requests` has a report of its own."""
        grouped = tops_per_query(request)
        single = requests.keys() - {*chain(*grouped)}
        queries = [
            tops_query(request, tops, self._dataset, self._raw_max_seconds) for tops in grouped
        ]
        queries += [
            rows_query(requests[name], self._dataset, self._raw_max_seconds) for name in single
        ]
        answers = await asyncio.gather(*(self._run(query) for query in queries))
        rows_by_top: dict[str, list[ReportRow]] = {name: [] for name in requests}
        for row in chain(*answers[: len(grouped)]):
            rows_by_top[row.top].append(row)
        for name, rows in zip(single, answers[len(grouped) :], strict=True):
            rows_by_top[name] = rows[: request.limit]
        raw = any(query.source == "raw" for query in queries)
        return rows_by_top, "raw" if raw else "rollup"

    async def csv(self, request: ReportRequest, as_of: datetime | None) -> AsyncGenerator[str]:
        """Yields the header and every row of the report, EXPORTED_ROWS_MAX at most, as CSV.

        The warehouse has answered before the first text, so a slow reader delays no other.
        """
        request = await self._resolve(request, as_of)
        request = msgspec.structs.replace(request, limit=EXPORTED_ROWS_MAX)
        page = plan_page(request)
        query = rows_query(page.request, self._dataset, self._raw_max_seconds)
        await check_kept(self._clickhouse, query)
        started_at = time.monotonic()
        async with self._clickhouse.export(query.sql, ReportRow, query.parameters) as read:
            if self._is_late(query, started_at):
                raise Rejected(Reason.too_costly, _TOO_COSTLY)
            yield csv_text([csv_columns(request)])
            batches, earlier_rows = read, None
            if page.starts:
                by_start = {row.bucket: row async for rows in in_slices(read) for row in rows}
                batches = _batched(fill_empty_intervals(page, page.starts, by_start))
                if request.compare != "none":
                    earlier_rows = await self._read_earlier(page.request, shift_for(request), ())
            for rows in batches:
                answer_rows = await self._answer_rows(page.request, request, rows, earlier_rows)
                yield csv_text(csv_row(request, row) for row in answer_rows)

    async def _read_earlier(
        self, page: ReportRequest, shift: Shift, rows: Sequence[ReportRow]
    ) -> EarlierRows:
        earlier = filter_to_rows(shifted_request(page, shift), rows)
        return by_place(await self._run(rows_query(earlier, self._dataset, self._raw_max_seconds)))

    async def _resolve(self, request: ReportRequest, as_of: datetime | None) -> ReportRequest:
        request = await resolve_links(self._redis, datasets.account_of(self._dataset), request)
        return msgspec.structs.replace(request, as_of=as_of)

    async def _answer_rows(
        self,
        page: ReportRequest,
        request: ReportRequest,
        rows: Sequence[ReportRow],
        earlier_rows: EarlierRows | None = None,
    ) -> list[AnswerRow]:
        """Names rows and adds `previous` to each where the request compares."""
        numbers = registry_numbers(request, rows)
        names = await self._names.read(datasets.account_of(self._dataset), numbers)
        answer_rows = [answer_row(request, row, names) for row in rows]
        if request.compare == "none" or not rows:
            return answer_rows
        shift = shift_for(request)
        if earlier_rows is None:
            earlier_rows = await self._read_earlier(page, shift, rows)
        pairs = zip(answer_rows, pair_earlier_rows(page, shift, rows, earlier_rows), strict=True)
        return [row | {"previous": answer_metrics(request, earlier)} for row, earlier in pairs]

    async def _read_compared(
        self, page: ReportPage, request: ReportRequest
    ) -> tuple[_RowsAndTotal, _RowsAndTotal | None]:
        """Reads a report and the one compared with, with one query where possible."""
        earlier = earlier_request(request)
        if earlier is None:
            return await self._read(page, request), None
        if filters_earlier_rows(request):
            return await asyncio.gather(self._read(page, request), self._read_total_only(earlier))
        before = ReportPage(shifted_request(page.request, shift_for(request)), more=page.more)
        if _can_read_total_with_rows(page, request) and can_join_earlier(
            page.request, before.request
        ):
            query = comparison_query(
                page.request, before.request, self._dataset, self._raw_max_seconds
            )
            rows = await self._run(query)
            current = _split_total([row for row in rows if not row.earlier])
            return current, _split_total([row for row in rows if row.earlier])
        return await asyncio.gather(self._read(page, request), self._read(before, earlier))

    async def _read_total_only(self, request: ReportRequest) -> _RowsAndTotal:
        return _RowsAndTotal(None, await self._total(request))

    async def _read(self, page: ReportPage, request: ReportRequest) -> _RowsAndTotal:
        """Reads the rows of a page, and the sum of all rows of the request."""
        if _can_read_total_with_rows(page, request):
            query = rows_query(page.request, self._dataset, self._raw_max_seconds, totals=True)
            return _split_total(await self._run(query))
        query = rows_query(page.request, self._dataset, self._raw_max_seconds)
        if request.is_single_row:
            rows = await self._run(query)
            return _RowsAndTotal(rows, rows[0] if rows else EMPTY_ROW)
        return _RowsAndTotal(*await asyncio.gather(self._run(query), self._total(request)))

    async def _total(self, request: ReportRequest) -> ReportRow:
        rows = await self._run(totals_query(request, self._dataset, self._raw_max_seconds))
        return rows[0] if rows else EMPTY_ROW

    async def _run(self, query: Query) -> list[ReportRow]:
        await check_kept(self._clickhouse, query)
        started_at = time.monotonic()
        rows = await self._clickhouse.read(query.sql, ReportRow, query.parameters)
        self._timed_out = self._timed_out or self._is_late(query, started_at)
        return rows

    def _meta(
        self, request: ReportRequest, as_of: datetime | None, source: Source, started_at: float
    ) -> ReportMeta:
        elapsed = time.monotonic() - started_at
        metrics.REPORT_SECONDS.labels(source).observe(elapsed)
        metrics.REPORTS_INCOMPLETE.inc(self._timed_out)
        return make_meta(request, as_of, source, elapsed, self._timed_out)

    def _is_late(self, query: Query, started_at: float) -> bool:
        # The engine does not report that it stopped early; it never stops before the limit.
        return query.source == "raw" and time.monotonic() - started_at >= self._raw_max_seconds


def _split_total(rows: Sequence[ReportRow]) -> _RowsAndTotal:
    total = next((row for row in rows if row.total), EMPTY_ROW)
    return _RowsAndTotal([row for row in rows if not row.total], total)


def _can_read_total_with_rows(page: ReportPage, request: ReportRequest) -> bool:
    """Whether one query reads rows and total: where the page's source is as fast for both.

    Over long periods visitor states are merged, and the total alone needs fewer of them.
    """
    short = request.end - request.start <= timedelta(days=2)
    complete = request.offset == 0 and not page.more and not request.is_single_row
    return complete and (short or "unique_clicks" not in request.metrics)


def _grouped_by(request: ReportRequest, name: str) -> ReportRequest:
    return msgspec.structs.replace(request, group_by=(name,), tops=())


def _totals(request: ReportRequest, row: ReportRow, before: _RowsAndTotal | None) -> AnswerRow:
    totals: AnswerRow = {**answer_metrics(request, row)}
    if before is None:
        return totals
    return totals | {"previous": answer_metrics(request, before.total)}


def _batched(rows: Iterable[ReportRow]) -> Iterator[list[ReportRow]]:
    left = iter(rows)
    while batch := list(islice(left, _BATCH_ROWS)):
        yield batch
