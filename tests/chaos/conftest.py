"""Provides an edge and its shop on the run's Redis, behind a proxy that can lose replies."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from loadtests.chaos_proxy import LossyProxy
from tests.chaos.shop import Custom, EdgeProcess
from tests.ingest.conftest import make_key, make_link


@pytest.fixture
async def proxy(redis_server: RedisServer) -> AsyncGenerator[LossyProxy]:
    """Runs a lossy proxy in front of the run's Redis."""
    lossy = LossyProxy(redis_server.url, seed=1)
    async with lossy.running():
        yield lossy


@pytest.fixture
async def edge(proxy: LossyProxy, tmp_path: Path) -> AsyncGenerator[EdgeProcess]:
    """Makes an edge that is not started yet."""
    process = EdgeProcess(tmp_path, proxy.url)
    yield process
    process.kill()


@pytest.fixture
async def custom(redis: Redis, edge: EdgeProcess) -> Custom:
    registry = Registry(redis)
    await make_link(registry)
    key = await make_key(registry, ["conversions:write", "links:write"])
    return Custom(edge.url, key)
