"""Provides people, and browsers on a reports listener for them."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from linkjolt.storage.clickhouse import ClickHouse
from tests.people.browsers import Browser, People


@pytest.fixture
def people(redis: Redis, clickhouse: ClickHouse) -> People:
    return People(redis, clickhouse)


@pytest.fixture
async def browser(people: People) -> AsyncIterator[Browser]:
    async with people.browser() as one:
        yield one
