"""One report: its queries run, its rows named, its answer written as JSON or CSV."""

import asyncio
import csv
import io
import time
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

import msgspec
from redis.asyncio import Redis

from linkjolt import names
from linkjolt.clickhouse import ClickHouse
from linkjolt.settings import Reports as Settings
from reports import metrics
from reports.freshness import data_as_of
from reports.lookup import read_names, resolve_links
from reports.query import Query, rows_query, totals_query
from reports.request import ReportRequest, cursor_at
from reports.rows import EMPTY_CELL, Cell, Row, RowValue, make_row, measure, numbers_in
from reports.vocabulary import MONEY, Interval, TimeBasis

# What a spreadsheet would take for a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Meta(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """[from, to) in UTC, as it was answered; `incomplete`: the time for raw events ran out."""

    data_as_of: datetime | None
    source: Literal["rollup", "raw"]
    elapsed_ms: int
    timezone: str
    incomplete: bool
    start: datetime
    end: datetime
    interval: Interval
    time_basis: TimeBasis


class Report(msgspec.Struct, frozen=True):
    data: list[Row]
    totals: Row
    next_cursor: str | None
    meta: Meta


class _Answer(msgspec.Struct, frozen=True):
    cells: list[Cell]
    broken: bool


async def make_report(
    request: ReportRequest, books: int, redis: Redis, clickhouse: ClickHouse, settings: Settings
) -> Report:
    """The answer to a request, of the events kept under `books`.

    Raises Rejected for an unknown link, ClickHouseFailed.
    """
    began = time.monotonic()
    as_of = await data_as_of(redis, clickhouse, settings.shards)
    account = names.owner(books)
    request = await resolve_links(redis, account, request)
    seconds = settings.report_raw_max_seconds
    page = rows_query(request, books, seconds)
    queries = [page] if request.one_row else [page, totals_query(request, books, seconds)]
    answers = await asyncio.gather(*(_run(clickhouse, query, seconds) for query in queries))
    rows, totals = answers[0], answers[-1]
    shown = rows.cells[: request.limit]
    named = await read_names(clickhouse, account, numbers_in(request, shown))
    elapsed = time.monotonic() - began
    incomplete = rows.broken or totals.broken
    metrics.REPORT_SECONDS.labels(page.source).observe(elapsed)
    metrics.INCOMPLETE.inc(incomplete)
    more = len(rows.cells) > request.limit
    return Report(
        data=[make_row(request, cell, named) for cell in shown],
        totals=measure(request, totals.cells[0] if totals.cells else EMPTY_CELL),
        next_cursor=cursor_at(request.offset + request.limit) if more else None,
        meta=Meta(
            as_of,
            page.source,
            round(elapsed * 1000),
            request.timezone,
            incomplete,
            request.start,
            request.end,
            request.interval,
            request.time_basis,
        ),
    )


async def _run(clickhouse: ClickHouse, query: Query, raw_max_seconds: float) -> _Answer:
    began = time.monotonic()
    cells = await clickhouse.read(query.sql, Cell, query.parameters)
    # The engine does not say that it stopped early; it stops no earlier than this.
    late = time.monotonic() - began >= raw_max_seconds
    return _Answer(cells, query.source == "raw" and late)


def csv_lines(request: ReportRequest, rows: Sequence[Row]) -> str:
    """A header and the rows (RFC 4180); text that a spreadsheet would run is quoted by a '."""
    columns = csv_columns(request)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_csv_value(row.get(column)) for column in columns])
    return text.getvalue()


def csv_columns(request: ReportRequest) -> list[str]:
    columns = ["time"] if request.interval != "none" else []
    for name in request.group_by:
        columns += [name, f"{name}_name"] if name in ("campaign", "affiliate") else [name]
    columns += request.metrics
    if any(name in MONEY for name in request.metrics):
        columns += [name for name in ("currency", "currencies") if name not in columns]
    return columns


def _csv_value(value: RowValue) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " ".join(value)
    if isinstance(value, str) and value.startswith(_FORMULA_STARTS):
        return f"'{value}"
    return str(value)
