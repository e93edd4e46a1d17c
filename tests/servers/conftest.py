"""LinkJolt as an operator runs it: separate processes on a Redis and on a ClickHouse server."""

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage import clickhouse
from tests.servers.installation import Installation, Warehouse
from tests.servers.processes import Engine, Linkjolt, answers
from tests.waiting import wait_until

_databases = itertools.count(1)


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    started = Engine(tmp_path_factory.mktemp("clickhouse_server"))
    yield started
    started.kill()


@pytest.fixture
async def warehouse(engine: Engine) -> AsyncIterator[Warehouse]:
    await engine.ready()
    database = f"linkjolt_{next(_databases)}"
    root = clickhouse.server(f"http://127.0.0.1:{engine.port}/default", clients=1)
    await root.execute(f"CREATE DATABASE {database} ENGINE = Atomic")
    client = clickhouse.server(f"http://127.0.0.1:{engine.port}/{database}", clients=1)
    yield Warehouse(engine, database, client)
    await client.close()
    await engine.ready()
    await root.execute(f"DROP DATABASE {database} SYNC")
    await root.close()


@pytest.fixture
def linkjolt(
    redis: Redis, redis_server: RedisServer, warehouse: Warehouse, tmp_path: Path
) -> Iterator[Linkjolt]:
    """The command line on both servers; what it starts is ended with the test."""
    commands = Linkjolt(
        tmp_path,
        LINKJOLT_REDIS_URL=redis_server.url,
        LINKJOLT_CLICKHOUSE_URL=warehouse.url(),
        # A killed aggregator holds its streams for so long.
        LINKJOLT_LEASE_SECONDS="2",
    )
    yield commands
    commands.end()


@pytest.fixture
async def installation(linkjolt: Linkjolt, warehouse: Warehouse) -> Installation:
    """An edge with a link, and nothing yet that stores or reports."""
    installation = Installation(linkjolt, warehouse)
    await wait_until(lambda: answers(f"{installation.edge_url}/readyz"))
    await installation.make_link()
    return installation
