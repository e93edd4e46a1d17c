"""Answers `GET /v1/events`: every request, conversion and adjustment, the newest first."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

import msgspec
from redis.asyncio import Redis
from starlette.responses import Response

from linkjolt import datasets
from linkjolt.datasets import Dataset
from linkjolt.dimensions import SPARSE
from linkjolt.events import RECORDED_PARAMETERS
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import requests
from reports import csv
from reports.csv import csv_text
from reports.freshness import data_as_of
from reports.log.event_request import FILTERS, EventLogQuery, Kind, parse_click_ref
from reports.log.event_rows import (
    COLUMNS,
    LoggedClickRow,
    LoggedConversionRow,
    LoggedRow,
    LogRecord,
    csv_row,
    log_record,
    registry_numbers,
)
from reports.log.listing import LIMIT_MAX, make_cursor
from reports.names import find_link_number, read_names
from reports.period import to_milliseconds
from reports.query.templates import fill

# The parameters of its click that a conversion carries.
_CARRIED_PARAMETERS = tuple(name for name in SPARSE if name not in ("coupon_code", "region"))
# No link has this number: click ids hold smaller ones.
_NO_LINK = (1 << 32) - 1


class EventLogMeta(msgspec.Struct, frozen=True):
    """Freshness; `incomplete`: the search reached its time limit, events may be missing."""

    data_as_of: datetime | None
    incomplete: bool


class EventLogPage(msgspec.Struct, frozen=True):
    """One page of the event log."""

    data: list[LogRecord]
    next_cursor: str | None
    meta: EventLogMeta


class EventLog:
    """Reads the event log of one dataset. Its methods raise ClickHouseFailed."""

    def __init__(
        self, dataset: Dataset, redis: Redis, clickhouse: ClickHouse, settings: ReportsSettings
    ) -> None:
        self._dataset = dataset
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings

    async def answer(self, query: EventLogQuery, download: csv.Download) -> Response:
        """Answers a page as JSON or CSV, or the whole log as CSV if the query has no page."""
        if query.every_row:
            return await csv.stream_response(self.csv(query), "events", download)
        page = await self.page(query)
        if query.format == "json":
            return requests.json_response(page)
        rows = [COLUMNS, *map(csv_row, page.data)]
        return csv.page_response(rows, "events", page.next_cursor)

    async def page(self, query: EventLogQuery) -> EventLogPage:
        """Reads a page. Raises Rejected for an unknown tracking code."""
        started_at = time.monotonic()
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        rows, more = await self._read_rows(query)
        incomplete = time.monotonic() - started_at >= self._settings.report_raw_max_seconds
        return EventLogPage(
            await self._records(rows),
            make_cursor(rows[-1].time_ms, rows[-1].id) if more else None,
            EventLogMeta(as_of, incomplete),
        )

    async def csv(self, query: EventLogQuery) -> AsyncGenerator[str]:
        """Yields the header and every event as CSV, page by page."""
        query = msgspec.structs.replace(query, limit=LIMIT_MAX)
        yield csv_text([COLUMNS])
        more = True
        while more:
            rows, more = await self._read_rows(query)
            yield csv_text(map(csv_row, await self._records(rows)))
            if rows:
                last = rows[-1].time_ms, rows[-1].id
                query = msgspec.structs.replace(query, before=last)

    async def _read_rows(self, query: EventLogQuery) -> tuple[list[LoggedRow], bool]:
        """Reads the rows of a page, and whether more follow."""
        account = datasets.account_of(self._dataset)
        link = await find_link_number(self._redis, account, query.link) if query.link else 0
        searches = [self._search(kind, query, link) for kind in query.kinds]
        rows = [row for result in await asyncio.gather(*searches) for row in result]
        rows.sort(key=lambda row: (row.time_ms, row.id), reverse=True)
        return rows[: query.limit], len(rows) > query.limit

    async def _search(self, kind: Kind, query: EventLogQuery, link: int) -> list[LoggedRow]:
        parameters: dict[str, object] = {
            "account": self._dataset,
            "start_ms": to_milliseconds(query.start),
            "end_ms": to_milliseconds(query.end),
            "before_ms": query.before[0],
            "before_id": query.before[1],
            "link": link,
            "limit": query.limit + 1,
            **{name: getattr(query, name) for name in FILTERS},
        }
        sql = self._sql(kind)
        if kind == "conversion":
            return [*await self._clickhouse.read(sql, LoggedConversionRow, parameters)]
        if click := parse_click_ref(query.click_id):
            # The id holds link and time: a read by primary key, narrowed by the other filters.
            parameters |= {"start_ms": click.time_ms, "end_ms": click.time_ms + 1}
            parameters["link"] = click.link if link in (0, click.link) else _NO_LINK
        return [*await self._clickhouse.read(sql, LoggedClickRow, parameters)]

    def _sql(self, kind: Kind) -> str:
        recorded_columns = RECORDED_PARAMETERS if kind == "click" else _CARRIED_PARAMETERS
        pairs = ", ".join(f"('{name}', r.{name})" for name in recorded_columns)
        seconds = f"{self._settings.report_raw_max_seconds:f}"
        return fill(f"log_{kind}s", {"recorded": f"[{pairs}]", "seconds": seconds})

    async def _records(self, rows: Sequence[LoggedRow]) -> list[LogRecord]:
        account = datasets.account_of(self._dataset)
        names = await read_names(self._clickhouse, account, registry_numbers(rows))
        return [log_record(row, names) for row in rows]
