"""Reports that many ask for at once are made once: a hundred dashboards look at the same ones."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import msgspec
from redis.asyncio import Redis

from linkjolt.settings import Reports as Settings
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.report import Reporter
from reports.freshness import data_as_of
from reports.names import NameCache
from reports.period import down_to_quarter
from reports.query.request import ReportRequest

_KEPT_MAX = 1_000
# An answer whose data is no older is given while the next is made.
_GIVEN_AGAIN = timedelta(seconds=1.5)
_Key = tuple[int, ReportRequest]
A = TypeVar("A")


class _Made(msgspec.Struct, Generic[A], frozen=True):
    as_of: datetime
    task: asyncio.Task[A]


class Answers(Generic[A]):
    """Makes answers of one kind, and gives one again for as long as nothing more is stored.

    What is stored is told by `data_as_of`, which the aggregator moves on with every step. Who asks
    after it moved starts the next answer, unless one is being made, for one of a kind at a time is
    enough for the warehouse. He is given the last one where that is fresh enough, else the one
    being made: each tells by its own `data_as_of` how old it is.
    """

    def __init__(
        self,
        make: Callable[[Reporter, ReportRequest, datetime | None], Awaitable[A]],
        redis: Redis,
        clickhouse: ClickHouse,
        settings: Settings,
        named: NameCache,
    ) -> None:
        self._how = make
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings
        self._named = named
        self._as_of: datetime | None = None
        self._last: dict[_Key, _Made[A]] = {}
        self._next: dict[_Key, _Made[A]] = {}

    async def get(self, books: int, request: ReportRequest) -> A:
        """The answer. Raises Rejected, ClickHouseFailed."""
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        if as_of is None:
            return await self._make(books, request, as_of)
        key = books, msgspec.structs.replace(request, asked_at=_reach(request))
        now = datetime.now(UTC)
        if as_of != self._as_of:
            self._as_of = as_of
            self._last = {k: v for k, v in self._last.items() if now - v.as_of <= _GIVEN_AGAIN}
        last = self._last.get(key)
        if last and last.as_of == as_of:
            return last.task.result()
        coming = self._next.get(key)
        if coming is None:
            task = asyncio.create_task(self._make(books, request, as_of))
            coming = self._next[key] = _Made(as_of, task)
            task.add_done_callback(lambda _: self._done(key))
        if last and now - last.as_of <= _GIVEN_AGAIN:
            return last.task.result()
        # One who hangs up does not take it from the others.
        return await asyncio.shield(coming.task)

    def _done(self, key: _Key) -> None:
        made = self._next.pop(key)
        if made.task.cancelled() or made.task.exception():
            return
        # While nothing is stored nothing is forgotten.
        if len(self._last) >= _KEPT_MAX:
            self._last.clear()
        self._last[key] = made

    async def _make(self, books: int, request: ReportRequest, as_of: datetime | None) -> A:
        reporter = Reporter(books, self._redis, self._clickhouse, self._settings, self._named)
        return await self._how(reporter, request, as_of)


def _reach(request: ReportRequest) -> datetime:
    """What is asked for within a quarter of an hour, or a minute, reaches equally far."""
    if request.interval == "minute":
        return request.asked_at.replace(second=0, microsecond=0)
    return down_to_quarter(request.asked_at)
