"""Runs aggregator and reports in the one process that may open the embedded ClickHouse."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import click
import msgspec
from redis.asyncio import Redis

from aggregator.app import run as run_aggregator
from linkjolt.clicks.client_address import address_reader
from linkjolt.directory.directory import Directory
from linkjolt.registry.sealed.start import open_sealer
from linkjolt.runtime import instance, lifecycle
from linkjolt.runtime.background import outlive_os_errors
from linkjolt.settings import AggregatorSettings, EdgeSettings, ReportsSettings, load
from linkjolt.storage import clickhouse, redis
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import server
from linkjolt.web.tls import open_tls
from reports.app import create_app

# Of the descriptors; the embedded engine opens hundreds of files at once.
_CONNECTIONS_SHARE = 0.5
_EMBEDDED_SHARE = 0.25


class _WarehouseSettings(msgspec.Struct, frozen=True):
    aggregator: AggregatorSettings
    reports: ReportsSettings
    edge: EdgeSettings


@click.command()
def warehouse() -> None:
    """Run aggregator and reports in one process, on the embedded ClickHouse."""
    settings = _WarehouseSettings(
        load(AggregatorSettings), load(ReportsSettings), load(EdgeSettings)
    )
    shared = settings.aggregator
    url = instance.find_redis_url(shared.data, shared.redis_url)
    path = Path(shared.data, "clickhouse")
    path.mkdir(parents=True, exist_ok=True)
    embedded = not shared.clickhouse_url
    with instance.lock(path.with_suffix(".lock"), str(path)) if embedded else nullcontext():
        lifecycle.run(lambda stop: _run(settings, url, stop))


async def _run(settings: _WarehouseSettings, redis_url: str, stop: asyncio.Event) -> None:
    tls = open_tls(settings.reports, "reports")
    sock = server.listen(settings.reports.host, settings.reports.reports_port)
    async with (
        _redis(redis_url) as redis,
        _clickhouse(settings.aggregator, 1) as writer,
        _clickhouse(settings.aggregator, 1) as log,
        _clickhouse(settings.aggregator, settings.reports.report_readers) as readers,
    ):
        sealer = await open_sealer(settings.reports, redis)
        directory = _directory(redis, settings.edge)
        app = create_app(settings.reports, redis, readers, directory, stop, sealer)
        control = instance.control_path(settings.aggregator.data)
        lifecycle.exempt_objects_of_start()
        # If one of them fails, the process ends and is started again.
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(outlive_os_errors(directory.follow))
            seconds = settings.reports.shutdown_seconds
            serving = server.serve(
                app,
                sock=sock,
                stop=stop,
                shutdown_seconds=seconds,
                descriptor_share=_CONNECTIONS_SHARE if readers.remote else _EMBEDDED_SHARE,
                tls=tls,
            )
            aggregating = run_aggregator(settings.aggregator, redis, writer, log, stop, control)
            await asyncio.wait([tasks.create_task(serving), tasks.create_task(aggregating)])
            following.cancel()


@asynccontextmanager
async def _redis(url: str) -> AsyncGenerator[Redis]:
    client = redis.connect(url)
    try:
        yield client
    finally:
        await client.aclose()


@asynccontextmanager
async def _clickhouse(settings: AggregatorSettings, clients: int) -> AsyncGenerator[ClickHouse]:
    if settings.clickhouse_url:
        engine = clickhouse.server(settings.clickhouse_url, clients)
    else:
        engine = clickhouse.embedded(str(Path(settings.data, "clickhouse")), clients)
    try:
        yield engine
    finally:
        await engine.close()


def _directory(redis: Redis, settings: EdgeSettings) -> Directory:
    return Directory(
        redis,
        links_cached=settings.links_cached,
        unknown_cached=settings.unknown_codes_cached,
        addresses=address_reader(settings),
    )
