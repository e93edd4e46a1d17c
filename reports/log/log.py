"""`GET /v1/events`: every recorded request, conversion and adjustment, the newest first."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from datetime import datetime

import msgspec
from redis.asyncio import Redis
from starlette.responses import Response

from linkjolt import redis_keys
from linkjolt.dimensions import SPARSE
from linkjolt.events import RECORDED
from linkjolt.settings import Reports as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import requests
from reports import csv
from reports.csv import csv_text
from reports.freshness import data_as_of
from reports.log.csv import COLUMNS, csv_row
from reports.log.listing import LIMIT_MAX, cursor_after
from reports.log.request import FILTERS, Kind, Wanted, click_place
from reports.log.rows import ClickFound, FactFound, Found, Logged, logged, numbers_in
from reports.names import find_link, read_names
from reports.period import milliseconds
from reports.query.templates import fill

# What a conversion has of its click's parameters.
_CARRIED = tuple(name for name in SPARSE if name not in ("coupon_code", "region"))
# No link has this number: it is beyond those of click ids.
_NO_LINK = (1 << 32) - 1


class LogMeta(msgspec.Struct, frozen=True):
    """`incomplete`: the time for the search ran out, and events may be missing."""

    data_as_of: datetime | None
    incomplete: bool


class LogPage(msgspec.Struct, frozen=True):
    data: list[Logged]
    next_cursor: str | None
    meta: LogMeta


class Log:
    """The log of the events kept under `books`. What it calls raises ClickHouseFailed."""

    def __init__(
        self, books: int, redis: Redis, clickhouse: ClickHouse, settings: Settings
    ) -> None:
        self._books = books
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings

    async def answer(self, wanted: Wanted) -> Response:
        """The page as JSON or CSV; the whole log as CSV, where no page of it is asked for."""
        if wanted.whole:
            return await csv.stream(self.csv(wanted), "events")
        page = await self.page(wanted)
        if wanted.format == "json":
            return requests.json_response(page)
        rows = [COLUMNS, *map(csv_row, page.data)]
        return csv.page(rows, "events", page.next_cursor)

    async def page(self, wanted: Wanted) -> LogPage:
        """A page. Raises Rejected for an unknown tracking code."""
        began = time.monotonic()
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        rows, more = await self._find(wanted)
        late = time.monotonic() - began >= self._settings.report_raw_max_seconds
        return LogPage(
            await self._named(rows),
            cursor_after(rows[-1].time_ms, rows[-1].id) if more else None,
            LogMeta(as_of, late),
        )

    async def csv(self, wanted: Wanted) -> AsyncGenerator[str]:
        """The header and every event, page by page."""
        wanted = msgspec.structs.replace(wanted, limit=LIMIT_MAX)
        yield csv_text([COLUMNS])
        more = True
        while more:
            rows, more = await self._find(wanted)
            yield csv_text(map(csv_row, await self._named(rows)))
            if rows:
                last = rows[-1].time_ms, rows[-1].id
                wanted = msgspec.structs.replace(wanted, before=last)

    async def _find(self, wanted: Wanted) -> tuple[list[Found], bool]:
        """The rows of a page, and whether there are more."""
        account = redis_keys.owner(self._books)
        link = await find_link(self._redis, account, wanted.link) if wanted.link else 0
        searches = [self._search(kind, wanted, link) for kind in wanted.kinds]
        rows = [row for found in await asyncio.gather(*searches) for row in found]
        rows.sort(key=lambda row: (row.time_ms, row.id), reverse=True)
        return rows[: wanted.limit], len(rows) > wanted.limit

    async def _search(self, kind: Kind, wanted: Wanted, link: int) -> list[Found]:
        parameters: dict[str, object] = {
            "account": self._books,
            "start_ms": milliseconds(wanted.start),
            "end_ms": milliseconds(wanted.end),
            "before_ms": wanted.before[0],
            "before_id": wanted.before[1],
            "link": link,
            "limit": wanted.limit + 1,
            **{name: getattr(wanted, name) for name in FILTERS},
        }
        sql = self._sql(kind)
        if kind == "conversion":
            return [*await self._clickhouse.read(sql, FactFound, parameters)]
        if place := click_place(wanted.click_id):
            # The id tells where the row is: a read by primary key, which the other filters narrow.
            parameters |= {"start_ms": place.time_ms, "end_ms": place.time_ms + 1}
            parameters["link"] = place.link if link in (0, place.link) else _NO_LINK
        return [*await self._clickhouse.read(sql, ClickFound, parameters)]

    def _sql(self, kind: Kind) -> str:
        recorded = RECORDED if kind == "click" else _CARRIED
        pairs = ", ".join(f"('{name}', r.{name})" for name in recorded)
        seconds = f"{self._settings.report_raw_max_seconds:f}"
        return fill(f"log_{kind}s", {"recorded": f"[{pairs}]", "seconds": seconds})

    async def _named(self, rows: Sequence[Found]) -> list[Logged]:
        account = redis_keys.owner(self._books)
        named = await read_names(self._clickhouse, account, numbers_in(rows))
        return [logged(row, named) for row in rows]
