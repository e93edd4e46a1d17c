"""Real servers for every test: one Redis-protocol server and one embedded ClickHouse a run."""

import asyncio
import io
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
from hypothesis import settings
from redis.asyncio import Redis

from aggregator.warehouse.migrate import migrate
from linkjolt import logs
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage import clickhouse as clickhouse_module
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, connect

# For `make test`; without a profile a property is tried with four times as many examples.
settings.register_profile("short", max_examples=25)
_databases = itertools.count(1)


class _Table(msgspec.Struct, frozen=True):
    name: str


@pytest.fixture(autouse=True)
def logging_of_its_own() -> Iterator[None]:
    """Undoes a test's configuration of logging, on which no other test may depend."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), appendfsync="everysec")
    child = server.start()
    server.wait_ready(child)
    yield server
    child.terminate()
    child.wait(10)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty server."""
    client = connect(redis_server.url)
    await call(client, "FLUSHALL")
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def clickhouse_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clickhouse")


@pytest.fixture(scope="session")
def migrated(clickhouse_path: Path) -> Sequence[str]:
    """The names of all tables, which the database `migrated` has as the migrations leave them."""

    async def make() -> Sequence[str]:
        engine = clickhouse_module.embedded(str(clickhouse_path), clients=1, database="migrated")
        await migrate(engine)
        sql = "SELECT name FROM system.tables WHERE database = currentDatabase()"
        names = await engine.read(sql, _Table)
        await engine.close()
        return [row.name for row in names]

    return asyncio.run(make())


@pytest.fixture
async def clickhouse(clickhouse_path: Path, migrated: Sequence[str]) -> AsyncIterator[ClickHouse]:
    """The embedded engine on a database of the test's own, with all tables.

    They are copies: nine statements take half the processor time that the migrations take.
    """
    database = f"test_{next(_databases)}"
    engine = clickhouse_module.embedded(str(clickhouse_path), clients=2, database=database)
    for name in migrated:
        await engine.execute(f"CREATE TABLE {name} AS migrated.{name}")
    await engine.execute("INSERT INTO migrations SELECT * FROM migrated.migrations")
    yield engine
    await engine.execute(f"DROP DATABASE {database} SYNC")
    await engine.close()


@pytest.fixture
def read_lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Configures logging, and reads its lines so far as objects."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.handlers, root.level
    logs.configure("info", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = before
    logging.captureWarnings(False)
    structlog.reset_defaults()
