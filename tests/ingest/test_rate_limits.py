"""An edge limits its API, and posts and postbacks only where settings say so."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from ingest.app import create_app, open_edge
from ingest.clicks.protocol import ClickProtocol
from ingest.conversions.protocol import PostProtocol, edge_protocol_factory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings
from linkjolt.storage.redis import call
from tests.ingest.conftest import Shop, make_key, make_link
from tests.ingest.oauth.clients import GRANT, make_program

LIMITED = {"rate_key_per_minute": 3, "rate_account_per_minute": 4}


@pytest.fixture
def open_shop(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> Any:
    """Opens a shop whose edge has these settings."""

    @asynccontextmanager
    async def opened(**fields: Any) -> AsyncGenerator[Shop]:
        registry = Registry(redis)
        link, key = await make_link(registry), await make_key(registry, ["admin"])
        settings = EdgeSettings(
            redis_url=redis_server.url, data=str(tmp_path), redis_timeout_seconds=5, **fields
        )
        async with open_edge(settings, asyncio.Event()) as edge:
            transport = httpx2.ASGITransport(app=create_app(edge))
            async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
                yield Shop(edge, redis, registry, client, link, key)

    return opened


def order(number: int) -> dict[str, object]:
    return {"tracking_code": "tc_ABC123", "order_value": 10, "order_id": f"order_{number}"}


async def test_posts_and_postbacks_are_not_counted_by_the_limits_of_keys(open_shop: Any) -> None:
    async with open_shop(**LIMITED) as shop:
        for number in range(8):
            answer = await shop.post(order(number))
            assert answer.status_code == 201
            assert "ratelimit" not in answer.headers
            query = f"key={shop.key}&tracking_code=tc_ABC123&payout=1&order_id=p{number}"
            assert (await shop.client.get(f"/postback?{query}")).status_code == 200
        answers = [await shop.get("/v1/campaigns") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]


async def test_adjustments_are_counted(open_shop: Any) -> None:
    async with open_shop(**LIMITED) as shop:
        body = {"order_id": "none", "kind": "approve", "adjustment_id": "a"}
        answers = [await shop.post(body, path="/v1/adjustments") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]


async def test_intake_is_limited_where_settings_say_so(open_shop: Any) -> None:
    async with open_shop(rate_intake_per_minute=3) as shop:
        answers = [await shop.post(order(number)) for number in range(2)]
        query = f"key={shop.key}&tracking_code=tc_ABC123&payout=1&order_id=p"
        postback = await shop.client.get(f"/postback?{query}")
        refused = [
            await shop.post(order(9)),
            await shop.client.get(f"/postback?{query}1"),
        ]
        assert (await shop.get("/v1/campaigns")).status_code == 200
        stored = len(await shop.conversions())
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].headers["ratelimit-policy"] == '"intake";q=3;w=60'
    assert postback.status_code == 200
    assert [(one.status_code, one.json()["code"]) for one in refused] == [(429, "rate_limited")] * 2
    assert stored == 3


async def test_a_limit_of_intake_leaves_posts_to_the_application(open_shop: Any) -> None:
    async with open_shop() as shop:
        edge = shop.edge
        for limit, expected in ((0, PostProtocol), (3, ClickProtocol)):
            edge.settings = msgspec.structs.replace(edge.settings, rate_intake_per_minute=limit)
            factory = edge_protocol_factory(edge)
            assert isinstance(factory, partial)
            assert factory.func is expected


@pytest.mark.parametrize("path", ["/v1/conversions", "/postback?key={key}&payout=1", "/v1/me"])
async def test_keys_that_fail_are_limited_on_every_way(open_shop: Any, path: str) -> None:
    async with open_shop(rate_failures_per_minute=3) as shop:
        found: list[int] = []
        for _ in range(5):
            key = api_key_secrets.make_secret()
            if path == "/v1/conversions":
                answer = await shop.post(order(1), key=key)
            elif path == "/v1/me":
                answer = await shop.get(path, key=key)
            else:
                answer = await shop.client.get(path.format(key=key))
            found.append(answer.status_code)
        assert found == [401, 401, 401, 429, 429]
        assert (await shop.post(order(1))).status_code == 201


async def test_signatures_that_fail_are_limited_and_valid_ones_pass(open_shop: Any) -> None:
    async with open_shop(rate_failures_per_minute=3) as shop:
        query = f"payout=1&key_id=key_1&ts=1700000000&sig={'0' * 64}"
        found = [(await shop.client.get(f"/postback?{query}")).status_code for _ in range(4)]
    assert found == [401, 401, 401, 429]


async def test_pixels_without_a_key_count_as_no_failure(open_shop: Any) -> None:
    async with open_shop(rate_failures_per_minute=1) as shop:
        for _ in range(3):
            assert (await shop.client.get("/p.gif?click_id=x&payout=1")).status_code == 200
        assert (await shop.get("/v1/me", key="lj_live_x")).status_code == 401


async def test_without_redis_a_known_key_is_limited_and_posts_are_taken(open_shop: Any) -> None:
    async with open_shop(rate_intake_per_minute=5) as shop:
        assert (await shop.post(order(0))).status_code == 201
        await call(shop.redis, "CONFIG", "SET", "maxmemory", 1)
        try:
            answers = [(await shop.post(order(number))).status_code for number in range(1, 7)]
        finally:
            await call(shop.redis, "CONFIG", "SET", "maxmemory", 0)
    assert answers == [202] * 4 + [429] * 2 or answers == [202] * 5 + [429]


async def test_an_address_that_guesses_secrets_of_clients_is_limited(open_shop: Any) -> None:
    async with open_shop(rate_failures_per_minute=2) as shop:
        program = await make_program(shop, "links:read")

        async def ask(secret: str, address: str) -> httpx2.Response:
            headers = {"X-Forwarded-For": address}
            auth = (program.client_id, secret)
            return await shop.client.post("/oauth/token", data=GRANT, auth=auth, headers=headers)

        answers = [await ask("wrong", "198.51.100.1") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [401, 401, 429, 429]
        assert answers[-1].json()["error"] == "temporarily_unavailable"
        assert int(answers[-1].headers["retry-after"]) > 0
        assert (await ask("wrong", "203.0.113.1")).status_code == 401
        assert (await ask(program.secret, "198.51.100.1")).status_code == 200
