"""Defines the commands `linkjolt aggregator` and `linkjolt migrate`."""

import asyncio

import click

from aggregator import app
from aggregator.warehouse.migrate import TableOptions
from aggregator.warehouse.migrate import migrate as run_migrations
from linkjolt.registry.sealed.start import open_sealer
from linkjolt.runtime import lifecycle
from linkjolt.runtime.instance import find_redis_url
from linkjolt.settings import AggregatorSettings, load
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import connect

_data_option = click.option("--data", help="Data directory of the instance.")


def _connect_clickhouse(settings: AggregatorSettings, clients: int = 2) -> ClickHouse:
    if not settings.clickhouse_url:
        raise click.ClickException(
            "set LINKJOLT_CLICKHOUSE_URL (the embedded engine runs inside `linkjolt up`)"
        )
    return clickhouse.server(settings.clickhouse_url, clients)


@click.command()
@_data_option
def aggregator(data: str | None) -> None:
    """Stores the events of the streams on a ClickHouse server, in one process."""

    async def main(stop: asyncio.Event) -> None:
        settings = load(AggregatorSettings, overrides={"data": data})
        redis = connect(find_redis_url(settings.data, settings.redis_url))
        await open_sealer(settings, redis)
        engine, log_engine = _connect_clickhouse(settings), _connect_clickhouse(settings, 1)
        lifecycle.announce_ready()
        await app.run(settings, redis, engine, log_engine, stop, "")
        await redis.aclose()
        await engine.close()
        await log_engine.close()

    lifecycle.run(main)


@click.command()
def migrate() -> None:
    """Creates or updates the warehouse's tables on a ClickHouse server."""

    async def main(_: asyncio.Event) -> None:
        settings = load(AggregatorSettings)
        engine = _connect_clickhouse(settings)
        tables = TableOptions(
            settings.clickhouse_engine == "replicated", settings.clickhouse_cluster
        )
        try:
            ran = await run_migrations(engine, settings.minute_rollup_hours, tables)
        except ClickHouseFailed as error:
            raise click.ClickException(str(error)) from None
        finally:
            await engine.close()
        click.echo("\n".join(f"ran {name}" for name in ran) or "nothing to do")

    lifecycle.run(main)
