"""The registry's routes served over ASGI, as both listeners mount them."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import msgspec
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware

from linkjolt.api.resources import routes
from linkjolt.auth.rate_limits import RateLimits
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings
from linkjolt.web.answer_headers import RequestIds
from linkjolt.web.requests import EXCEPTION_HANDLERS
from linkjolt.webhooks.deliveries.api import DeliveryLog
from tests.linkjolt.registry import samples
from tests.sealers import any_sealer

EDGE_URL = "https://go.example"
SETTINGS = SharedSettings(public_url=EDGE_URL)


def application(
    redis: Redis,
    delivery_log: DeliveryLog | None = None,
    settings: SharedSettings = SETTINGS,
    *,
    rate_limits: RateLimits | None = None,
) -> Starlette:
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    return Starlette(
        routes=routes(Registry(redis, any_sealer()), directory, settings, delivery_log),
        middleware=[Middleware(RequestIds, rate_limits)],
        exception_handlers=EXCEPTION_HANDLERS,
    )


class Api:
    """What a merchant's developer has: an address, and a key."""

    def __init__(self, client: httpx2.AsyncClient, redis: Redis) -> None:
        self.client = client
        self.registry = Registry(redis, any_sealer())

    async def use_key(self, *scopes: str, **fields: object) -> ApiKey:
        """From now on every request carries a new key with these scopes, which is returned."""
        secret = api_key_secrets.make_secret(test=bool(fields.get("test")))
        entry = msgspec.structs.replace(samples.key(secret, *scopes), **fields)
        key = await self.registry.create(entry)
        self.client.headers["Authorization"] = f"Bearer {secret}"
        return key

    async def send(self, method: str, path: str, body: object = None) -> httpx2.Response:
        return await self.client.request(method, path, json=body)

    async def post(self, path: str, body: object) -> dict[str, Any]:
        """The 201 answer's body."""
        response = await self.send("POST", path, body)
        assert response.status_code == 201, response.text
        return response.json()

    async def get(self, path: str) -> dict[str, Any]:
        """The 200 answer's body."""
        response = await self.send("GET", path)
        assert response.status_code == 200, response.text
        return response.json()

    async def refused(
        self, method: str, path: str, body: object = None
    ) -> tuple[int, str, list[str]]:
        """Status, code and named fields of a problem answer."""
        response = await self.send(method, path, body)
        problem = response.json()
        assert response.headers["content-type"] == "application/problem+json"
        assert problem["status"] == response.status_code
        fields = [error["field"] for error in problem["errors"]]
        return response.status_code, problem["code"], fields


@asynccontextmanager
async def serving(
    redis: Redis, delivery_log: DeliveryLog | None = None, settings: SharedSettings = SETTINGS
) -> AsyncGenerator[Api]:
    """An Api with an admin key; with the log it is as the reports listener mounts it."""
    transport = httpx2.ASGITransport(app=application(redis, delivery_log, settings))
    async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
        api = Api(client, redis)
        await api.use_key("admin")
        yield api
