"""Provides the registry's API, as both listeners mount it, with an admin key."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from tests.linkjolt.api.client import Api, serving


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api
