"""Runs LinkJolt as an operator does: separate processes on Redis and a ClickHouse server."""

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
    """Provides the command line on both servers; its processes end with the test."""
    commands = Linkjolt(
        tmp_path,
        LINKJOLT_REDIS_URL=redis_server.url,
        LINKJOLT_CLICKHOUSE_URL=warehouse.url(),
        # How long a killed aggregator holds its streams.
        LINKJOLT_LEASE_SECONDS="2",
    )
    yield commands
    commands.end()


@pytest.fixture
async def installation(linkjolt: Linkjolt, warehouse: Warehouse) -> Installation:
    """Provides an edge with a link, and no aggregator or reports yet."""
    installation = Installation(linkjolt, warehouse)
    await wait_until(lambda: answers(f"{installation.edge_url}/readyz"))
    await installation.make_link()
    return installation
