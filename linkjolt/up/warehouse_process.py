"""The process that holds the embedded ClickHouse and runs aggregator and reports on it.

Only one process may have the engine open, so both live here. They are loaded by name, for
this package is imported by theirs and must not import them.
"""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Protocol, cast

import click
import msgspec
from redis.asyncio import Redis
from starlette.types import ASGIApp

from linkjolt.directory.directory import Directory
from linkjolt.runtime import instance, lifecycle
from linkjolt.settings import Aggregator, Edge, Reports, load
from linkjolt.storage import clickhouse, redis
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import server


class _Settings(msgspec.Struct, frozen=True):
    aggregator: Aggregator
    reports: Reports
    edge: Edge


class _RunAggregator(Protocol):
    def __call__(
        self,
        settings: Aggregator,
        redis: Redis,
        clickhouse: ClickHouse,
        stop: asyncio.Event,
        control: str,
    ) -> Coroutine[None, None, None]: ...


class _CreateReports(Protocol):
    def __call__(
        self,
        settings: Reports,
        redis: Redis,
        clickhouse: ClickHouse,
        directory: Directory,
        stop: asyncio.Event,
    ) -> ASGIApp: ...


@click.command()
def warehouse() -> None:
    """Run aggregator and reports in one process, on the embedded ClickHouse."""
    settings = _Settings(load(Aggregator), load(Reports), load(Edge))
    shared = settings.aggregator
    url = instance.find_redis_url(shared.data, shared.redis_url)
    path = Path(shared.data, "clickhouse")
    path.mkdir(parents=True, exist_ok=True)
    embedded = not shared.clickhouse_url
    with instance.lock(path.with_suffix(".lock"), str(path)) if embedded else nullcontext():
        lifecycle.run(lambda stop: _run(settings, url, stop))


async def _run(settings: _Settings, redis_url: str, stop: asyncio.Event) -> None:
    sock = server.listen(settings.reports.host, settings.reports.reports_port)
    async with (
        _redis(redis_url) as redis,
        _clickhouse(settings.aggregator, 1) as writer,
        _clickhouse(settings.aggregator, settings.reports.report_readers) as readers,
    ):
        directory = _directory(redis, settings.edge)
        app = _create_reports()(settings.reports, redis, readers, directory, stop)
        control = instance.control_path(settings.aggregator.data)
        # Where one of them fails the others must not live on: the process ends, is started again.
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(directory.follow())
            seconds = settings.reports.shutdown_seconds
            serving = server.serve(app, sock=sock, stop=stop, shutdown_seconds=seconds)
            aggregating = _run_aggregator()(settings.aggregator, redis, writer, stop, control)
            await asyncio.wait([tasks.create_task(serving), tasks.create_task(aggregating)])
            following.cancel()


def _run_aggregator() -> _RunAggregator:
    return cast(_RunAggregator, importlib.import_module("aggregator.app").run)


def _create_reports() -> _CreateReports:
    return cast(_CreateReports, importlib.import_module("reports.app").create_app)


@asynccontextmanager
async def _redis(url: str) -> AsyncGenerator[Redis]:
    client = redis.connect(url)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def _clickhouse(settings: Aggregator, clients: int) -> AsyncGenerator[ClickHouse]:
    if settings.clickhouse_url:
        engine = clickhouse.server(settings.clickhouse_url, clients)
    else:
        engine = clickhouse.embedded(str(Path(settings.data, "clickhouse")), clients)
    try:
        yield engine
    finally:
        await engine.close()


def _directory(redis: Redis, settings: Edge) -> Directory:
    return Directory(
        redis,
        links_cached=settings.links_cached,
        unknown_cached=settings.unknown_codes_cached,
    )
