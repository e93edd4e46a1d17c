"""Real servers for every test: one Redis-protocol server and one embedded ClickHouse a run."""

import asyncio
import io
import itertools
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
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

# For `make test`; without a profile a property is tried with eight times as many examples. A busy
# machine is no failure: neither has a deadline.
settings.register_profile("short", max_examples=12, deadline=None)
settings.register_profile("whole", deadline=None)
settings.load_profile("whole")
_numbers = itertools.count(1)
# Of this process, with all tables and nothing in them: making one takes as long as many tests.
_databases: list[str] = []
_TABLES = """SELECT name, ifNull(total_rows, 0) AS total_rows,
replaceOne(create_table_query, concat(database, '.'), '') AS definition
FROM system.tables WHERE database = currentDatabase()"""
_MUTATIONS = "SELECT count() AS n FROM system.mutations WHERE database = currentDatabase()"


class _Table(msgspec.Struct, frozen=True):
    name: str
    definition: str
    total_rows: int


class _Count(msgspec.Struct, frozen=True):
    n: int


class Migrated(msgspec.Struct, frozen=True):
    """The definitions of all tables as migrations leave them, and the number of migrations."""

    tables: dict[str, str]
    migrations: int


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
def migrated(clickhouse_path: Path) -> Migrated:
    """The tables that the database `migrated` has."""

    async def make() -> Migrated:
        engine = clickhouse_module.embedded(str(clickhouse_path), clients=1, database="migrated")
        await migrate(engine)
        found = await _read_tables(engine)
        await engine.close()
        rows = {one.name: one.total_rows for one in found}
        return Migrated({one.name: one.definition for one in found}, rows["migrations"])

    return asyncio.run(make())


@pytest.fixture
async def clickhouse(clickhouse_path: Path, migrated: Migrated) -> AsyncIterator[ClickHouse]:
    """The embedded engine on a database of the test's own, with all tables."""
    database = _databases.pop() if _databases else await _make_database(clickhouse_path, migrated)
    engine = clickhouse_module.embedded(str(clickhouse_path), clients=2, database=database)
    yield engine
    if await _empty(engine, migrated):
        _databases.append(database)
    else:
        await engine.execute(f"DROP DATABASE {database} SYNC")
    await engine.close()


async def _make_database(path: Path, migrated: Migrated) -> str:
    """Copies the tables, which takes half the processor time that the migrations take."""
    database = f"test_{next(_numbers)}"
    engine = clickhouse_module.embedded(str(path), clients=1, database=database)
    for name in migrated.tables:
        await engine.execute(f"CREATE TABLE {name} AS migrated.{name}")
    await engine.execute("INSERT INTO migrations SELECT * FROM migrated.migrations")
    await engine.close()
    return database


async def _empty(engine: ClickHouse, migrated: Migrated) -> bool:
    """Empties the tables for the next test; False where a test left more behind than rows."""
    found = await _read_tables(engine)
    if {one.name: one.definition for one in found} != migrated.tables:
        return False
    mutations = await engine.read(_MUTATIONS, _Count)
    filled = {one.name: one.total_rows for one in found if one.total_rows}
    if mutations[0].n or filled.pop("migrations", 0) != migrated.migrations:
        return False
    for name in filled:
        await engine.execute(f"TRUNCATE TABLE {name} SYNC")
    return True


async def _read_tables(engine: ClickHouse) -> list[_Table]:
    return await engine.read(_TABLES, _Table)


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
