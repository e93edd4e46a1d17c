"""Provides the reports listener over ASGI, with a key, a registry and its mirror."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis
from starlette.applications import Starlette

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.datasets import account_of
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from reports.app import create_app
from tests.aggregator.rollups.sample import ACCOUNT
from tests.linkjolt.registry import samples
from tests.sealers import any_sealer


class Client(msgspec.Struct, frozen=True):
    """A client of the listener with a key of the sample's account."""

    http: httpx2.AsyncClient
    secret: str

    async def get(self, path: str, **parameters: str | int) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.secret}"}
        return await self.http.get(path, params=parameters, headers=headers)

    async def report(self, **parameters: str | int) -> dict[str, Any]:
        response = await self.get("/v1/reports", **parameters)
        assert response.status_code == 200, response.text
        return response.json()


async def make_secret(redis: Redis, *scopes: str, account: int = ACCOUNT) -> str:
    secret = api_key_secrets.make_secret()
    key = msgspec.structs.replace(samples.key(secret, *scopes), account=account)
    await Registry(redis).create(key)
    return secret


def make_app(redis: Redis, clickhouse: ClickHouse, settings: Settings) -> Starlette:
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    return create_app(settings, redis, clickhouse, directory, asyncio.Event(), any_sealer())


def open_http(redis: Redis, clickhouse: ClickHouse, settings: Settings) -> httpx2.AsyncClient:
    """Opens a client of an application whose background tasks do not run."""
    return client_of(make_app(redis, clickhouse, settings))


def client_of(app: Starlette) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://reports.example")


@pytest.fixture
async def client(redis: Redis, clickhouse: ClickHouse) -> AsyncIterator[Client]:
    async with open_http(redis, clickhouse, Settings(shards=2)) as http:
        yield Client(http, await make_secret(redis, "reports:read"))


@pytest.fixture
async def mirror(redis: Redis, clickhouse: ClickHouse) -> RegistryMirror:
    """Creates campaigns 1 to 3 and links 1 to 5 of the sample's account, mirrored once."""
    registry = Registry(redis)
    for name in ("One", "Two", "Three"):
        await registry.create(samples.campaign(name, account=account_of(ACCOUNT)))
    for number in range(1, 6):
        link = samples.link(f"tc_{number}")
        await registry.create(msgspec.structs.replace(link, account=ACCOUNT))
    mirror = RegistryMirror(redis, clickhouse)
    await mirror.step()
    return mirror
