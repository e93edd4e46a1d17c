"""Provides a registry, and an edge's view of it, on the test's own Redis."""

import pytest
from redis.asyncio import Redis

from linkjolt.directory.directory import Directory
from linkjolt.registry.store import Registry
from tests.sealers import any_sealer


@pytest.fixture
def registry(redis: Redis) -> Registry:
    return Registry(redis, any_sealer())


@pytest.fixture
def directory(redis: Redis) -> Directory:
    return Directory(redis, links_cached=100, unknown_cached=100)
