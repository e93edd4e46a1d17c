"""Reports that many ask for at once are made once: a hundred dashboards look at the same ones."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
from redis.asyncio import Redis

from linkjolt.clickhouse import ClickHouse
from linkjolt.settings import Reports as Settings
from reports.freshness import data_as_of
from reports.report import Reporter
from reports.request import ReportRequest

# While nothing is stored nothing is forgotten.
_KEPT_MAX = 1_000
_Key = tuple[int, ReportRequest]
A = TypeVar("A")


class Answers(Generic[A]):
    """Makes answers of one kind, and gives one again for as long as nothing more is stored.

    Its freshness is that of the data: an answer is kept under `data_as_of`, which the aggregator
    moves on with every step, and is gone with the next.
    """

    def __init__(
        self,
        make: Callable[[Reporter, ReportRequest, datetime | None], Awaitable[A]],
        redis: Redis,
        clickhouse: ClickHouse,
        settings: Settings,
    ) -> None:
        self._how = make
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings
        self._as_of: datetime | None = None
        self._made: dict[_Key, asyncio.Task[A]] = {}

    async def get(self, books: int, request: ReportRequest) -> A:
        """The answer. Raises Rejected, ClickHouseFailed."""
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        if as_of is None:
            return await self._make(books, request, as_of)
        if as_of != self._as_of or len(self._made) >= _KEPT_MAX:
            self._as_of = as_of
            self._made.clear()
        # What is asked for within a minute reaches equally far.
        minute = request.asked_at.replace(second=0, microsecond=0)
        key = books, msgspec.structs.replace(request, asked_at=minute)
        task = self._made.get(key)
        if task is None:
            task = asyncio.create_task(self._make(books, request, as_of))
            self._made[key] = task
            task.add_done_callback(lambda done: self._forget_failed(key, done))
        # One who hangs up does not take it from the others.
        return await asyncio.shield(task)

    def _forget_failed(self, key: _Key, done: asyncio.Task[A]) -> None:
        if self._made.get(key) is done and (done.cancelled() or done.exception()):
            del self._made[key]

    async def _make(self, books: int, request: ReportRequest, as_of: datetime | None) -> A:
        reporter = Reporter(books, self._redis, self._clickhouse, self._settings)
        return await self._how(reporter, request, as_of)
