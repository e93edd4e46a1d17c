"""Real servers for every test: one Redis-protocol server and one embedded ClickHouse a run."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from aggregator.warehouse.migrate import migrate
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage import clickhouse as clickhouse_module
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, connect

_databases = itertools.count(1)


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


@pytest.fixture
async def clickhouse(clickhouse_path: Path) -> AsyncIterator[ClickHouse]:
    """The embedded engine on a database of the test's own, with all tables."""
    database = f"test_{next(_databases)}"
    engine = clickhouse_module.embedded(str(clickhouse_path), clients=2, database=database)
    await migrate(engine)
    yield engine
    await engine.execute(f"DROP DATABASE {database} SYNC")
    await engine.close()
