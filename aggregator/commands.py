"""`linkjolt aggregator`, `linkjolt migrate`, `linkjolt audit`."""

import asyncio
import http.client
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import click
import msgspec

from aggregator import app
from aggregator.audit import Audit, audit, summary
from aggregator.migrate import migrate as run_migrations
from linkjolt import clickhouse, processes
from linkjolt.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.instance import find_redis_url, hold, read_run
from linkjolt.redis_client import RedisError, connect
from linkjolt.redis_server import RedisServer
from linkjolt.settings import Aggregator, load

_AUDIT_TRIES = 5
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
        processes.announce_ready()
        await app.run(settings, redis, engine, stop, "")
        await redis.aclose()
        await engine.close()

    processes.run(main)


@click.command()
def migrate() -> None:
    """Creates or updates the warehouse's tables on a ClickHouse server."""

    async def main(_: asyncio.Event) -> None:
        settings = load(Aggregator)
        engine = _required_clickhouse(settings)
        try:
            ran = await run_migrations(engine, settings.minute_rollup_hours)
        except ClickHouseFailed as error:
            raise click.ClickException(str(error)) from None
        finally:
            await engine.close()
        click.echo("\n".join(f"ran {name}" for name in ran) or "nothing to do")

    processes.run(main)


@click.command("audit")
@_data_option
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
def audit_command(data: str | None, as_json: bool) -> None:
    """Checks that accepted = stored + waiting + rejected and every rollup equals raw.

    Exit status 0 when all is clean, else 1.
    """
    found: list[Audit] = []

    async def main(_: asyncio.Event) -> None:
        settings = load(Aggregator, overrides={"data": data})
        try:
            found.append(await _audit(settings))
        except (ClickHouseFailed, RedisError) as error:
            raise click.ClickException(str(error)) from None

    processes.run(main)
    text = msgspec.json.format(msgspec.json.encode(found[0])).decode()
    click.echo(text if as_json else summary(found[0]))
    sys.exit(0 if found[0].clean else 1)


async def _audit(settings: Aggregator) -> Audit:
    run = read_run(settings.data)
    if run is not None and run.control:
        answer = await asyncio.to_thread(_ask, run.control, "/audit")
        return msgspec.json.decode(answer, type=Audit)
    if settings.redis_url and settings.clickhouse_url:
        return await _audit_servers(settings)
    async with _stopped_instance(settings) as (redis_url, engine):
        redis = connect(redis_url)
        try:
            return await audit(redis, engine, settings.shards)
        finally:
            await redis.aclose()


async def _audit_servers(settings: Aggregator) -> Audit:
    """On servers the aggregator may be at work, so that an uneven look is taken again."""
    redis = connect(settings.redis_url)
    engine = clickhouse.server(settings.clickhouse_url, clients=1)
    found = await audit(redis, engine, settings.shards)
    for _ in range(_AUDIT_TRIES):
        if found.clean:
            break
        found = await audit(redis, engine, settings.shards)
    await redis.aclose()
    await engine.close()
    return found


@asynccontextmanager
async def _stopped_instance(settings: Aggregator) -> AsyncGenerator[tuple[str, ClickHouse]]:
    """The embedded servers of an instance that does not run, for as long as the command takes."""
    folder = Path(settings.data)
    if not (folder / "redis").exists():
        raise click.ClickException(f"there is no instance under {settings.data}")
    with hold(settings.data):
        server = RedisServer(folder / "redis")
        child = server.start()
        try:
            await asyncio.to_thread(server.wait_ready, child)
            engine = clickhouse.embedded(str(folder / "clickhouse"), clients=1)
            await run_migrations(engine, settings.minute_rollup_hours)
            yield server.url, engine
            await engine.close()
        finally:
            child.terminate()
            child.wait()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=600)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask(control: str, route: str) -> bytes:
    """The answer of the warehouse process; one clear line where it gives none."""
    try:
        with closing(_UnixConnection(control)) as connection:
            connection.request("GET", route)
            response = connection.getresponse()
            body = response.read()
    except OSError as error:
        raise click.ClickException(f"the warehouse process does not answer: {error}") from None
    if response.status != 200:
        raise click.ClickException(f"the warehouse process answers {response.status}: {body!r}")
    return body
