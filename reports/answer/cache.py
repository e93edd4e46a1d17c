"""Shares each report among all who request it at once, such as a hundred dashboards."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

import msgspec
from redis.asyncio import Redis

from linkjolt.datasets import Dataset
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.fair_slots import Asker, ask_for, current_asker
from reports.answer.report import ReportBuilder
from reports.freshness import data_as_of
from reports.names import NameCache
from reports.period import floor_to_quarter
from reports.query.request import ReportRequest

_CACHED_MAX = 1_000
# A cached answer whose data is no older is returned while the next one is built.
_STALE_MAX = timedelta(seconds=1.5)
_Key = tuple[Dataset, ReportRequest]
Answer = TypeVar("Answer")


class _BuiltReport(msgspec.Struct, Generic[Answer], frozen=True):
    """A task that builds an answer of data as of an instant, for all who asked for it."""

    as_of: datetime
    asker: Asker
    task: asyncio.Task[Answer]


class ReportCache(Generic[Answer]):
    """Builds answers of one kind, and returns a cached one until more events are stored.

    `data_as_of`, which every step of the aggregator advances, shows that. The first request after
    it moved starts the next answer, unless one is being built: one of each at a time is enough for
    the warehouse. Until that is done the latest answer is returned if it is fresh enough; every
    answer shows its age by its own `data_as_of`.
    """

    def __init__(
        self,
        build: Callable[[ReportBuilder, ReportRequest, datetime | None], Awaitable[Answer]],
        redis: Redis,
        clickhouse: ClickHouse,
        settings: ReportsSettings,
        names: NameCache,
    ) -> None:
        self._build = build
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings
        self._names = names
        self._as_of: datetime | None = None
        self._latest: dict[_Key, _BuiltReport[Answer]] = {}
        self._pending: dict[_Key, _BuiltReport[Answer]] = {}

    async def get(self, dataset: Dataset, request: ReportRequest) -> Answer:
        """Returns the answer to a request. Raises Rejected, ClickHouseFailed."""
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        if as_of is None:
            return await self._run(dataset, request, as_of)
        key = dataset, msgspec.structs.replace(request, asked_at=_rounded_asked_at(request))
        now = datetime.now(UTC)
        if as_of != self._as_of:
            self._as_of = as_of
            fresh = {k: v for k, v in self._latest.items() if now - v.as_of <= _STALE_MAX}
            self._latest = fresh
        latest = self._latest.get(key)
        if latest and latest.as_of == as_of:
            return latest.task.result()
        pending = self._pending.get(key) or self._start(key, request, as_of)
        self._clickhouse.slots.join(pending.asker, current_asker())
        if latest and now - latest.as_of <= _STALE_MAX:
            return latest.task.result()
        # A client that disconnects does not cancel the answer of the others.
        return await asyncio.shield(pending.task)

    def _start(self, key: _Key, request: ReportRequest, as_of: datetime) -> _BuiltReport[Answer]:
        asker = Asker(set(current_asker().keys))

        async def run() -> Answer:
            ask_for(asker)
            return await self._run(key[0], request, as_of)

        task = asyncio.create_task(run())
        self._pending[key] = _BuiltReport(as_of, asker, task)
        task.add_done_callback(lambda _: self._done(key))
        return self._pending[key]

    def _done(self, key: _Key) -> None:
        built = self._pending.pop(key)
        if built.task.cancelled() or built.task.exception():
            return
        # While no event is stored no entry expires.
        if len(self._latest) >= _CACHED_MAX:
            self._latest.clear()
        self._latest[key] = built

    async def _run(
        self, dataset: Dataset, request: ReportRequest, as_of: datetime | None
    ) -> Answer:
        builder = ReportBuilder(dataset, self._redis, self._clickhouse, self._settings, self._names)
        return await self._build(builder, request, as_of)


def _rounded_asked_at(request: ReportRequest) -> datetime:
    """Rounds the instant of a request, so that those of one quarter hour or minute share a key."""
    if request.interval == "minute":
        return request.asked_at.replace(second=0, microsecond=0)
    return floor_to_quarter(request.asked_at)
