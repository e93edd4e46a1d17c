"""`linkjolt aggregator`, `linkjolt migrate`."""

import asyncio

import click

from aggregator import app
from aggregator.warehouse.migrate import Tables
from aggregator.warehouse.migrate import migrate as run_migrations
from linkjolt.runtime import lifecycle
from linkjolt.runtime.instance import find_redis_url
from linkjolt.settings import Aggregator, load
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import connect

_data_option = click.option("--data", help="Data directory of the instance.")


def _required_clickhouse(settings: Aggregator) -> ClickHouse:
    if not settings.clickhouse_url:
        raise click.ClickException(
            "set LINKJOLT_CLICKHOUSE_URL (the embedded engine runs inside `linkjolt up`)"
        )
    return clickhouse.server(settings.clickhouse_url, clients=2)


@click.command()
@_data_option
def aggregator(data: str | None) -> None:
    """Stores what the streams hold, in one process, on a ClickHouse server."""

    async def main(stop: asyncio.Event) -> None:
        settings = load(Aggregator, overrides={"data": data})
        redis = connect(find_redis_url(settings.data, settings.redis_url))
        engine = _required_clickhouse(settings)
        lifecycle.announce_ready()
        await app.run(settings, redis, engine, stop, "")
        await redis.aclose()
        await engine.close()

    lifecycle.run(main)


@click.command()
def migrate() -> None:
    """Creates or updates the warehouse's tables on a ClickHouse server."""

    async def main(_: asyncio.Event) -> None:
        settings = load(Aggregator)
        engine = _required_clickhouse(settings)
        tables = Tables(settings.clickhouse_engine == "replicated", settings.clickhouse_cluster)
        try:
            ran = await run_migrations(engine, settings.minute_rollup_hours, tables)
        except ClickHouseFailed as error:
            raise click.ClickException(str(error)) from None
        finally:
            await engine.close()
        click.echo("\n".join(f"ran {name}" for name in ran) or "nothing to do")

    lifecycle.run(main)
