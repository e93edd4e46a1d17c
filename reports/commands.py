"""Runs `linkjolt reports`: the reports process alone, with a ClickHouse server."""

import asyncio

import click

from linkjolt.clicks.client_address import address_reader
from linkjolt.directory.directory import Directory
from linkjolt.registry.sealed.start import open_sealer
from linkjolt.runtime.background import outlive_os_errors
from linkjolt.runtime.exposure import warn_of_exposure
from linkjolt.runtime.instance import find_redis_url
from linkjolt.runtime.lifecycle import exempt_objects_of_start, run
from linkjolt.settings import EdgeSettings, ReportsSettings, load
from linkjolt.storage.clickhouse import server as clickhouse_server
from linkjolt.storage.redis import connect
from linkjolt.web import server
from linkjolt.web.tls import open_tls
from reports.app import create_app


@click.command()
@click.option("--host", help="Address to bind.")
@click.option("--reports-port", type=int, help="Port to listen on.")
@click.option("--data", help="Data directory of the running instance.")
def reports(host: str | None, reports_port: int | None, data: str | None) -> None:
    """Serves reports and the registry API in one process."""

    async def main(stop: asyncio.Event) -> None:
        settings = load(
            ReportsSettings, overrides={"host": host, "reports_port": reports_port, "data": data}
        )
        if not settings.clickhouse_url:
            raise click.ClickException(
                "set LINKJOLT_CLICKHOUSE_URL: the embedded ClickHouse belongs to the process"
                " that stores events, and `linkjolt up` serves reports from it"
            )
        warn_of_exposure(settings)
        await _serve(settings, load(EdgeSettings), stop)

    run(main)


async def _serve(settings: ReportsSettings, edge: EdgeSettings, stop: asyncio.Event) -> None:
    tls = open_tls(settings, "reports")
    sock = server.listen(settings.host, settings.reports_port)
    redis = connect(find_redis_url(settings.data, settings.redis_url))
    sealer = await open_sealer(settings, redis)
    clickhouse = clickhouse_server(settings.clickhouse_url, settings.report_readers)
    directory = Directory(
        redis,
        links_cached=edge.links_cached,
        unknown_cached=edge.unknown_codes_cached,
        addresses=address_reader(settings),
    )
    app = create_app(settings, redis, clickhouse, directory, stop, sealer)
    exempt_objects_of_start()
    try:
        async with asyncio.TaskGroup() as tasks:
            following = tasks.create_task(outlive_os_errors(directory.follow))
            await server.serve(
                app, sock=sock, stop=stop, shutdown_seconds=settings.shutdown_seconds, tls=tls
            )
            following.cancel()
    finally:
        await redis.aclose()
        await clickhouse.close()
