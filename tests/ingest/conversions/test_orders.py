"""An order is one conversion: across edges, within a call to Redis, while reservations last."""

import asyncio
from collections import Counter
from pathlib import Path

import httpx2
from redis.asyncio import Redis

from ingest.app import create_app, open_edge
from linkjolt import redis_keys
from linkjolt.datasets import Dataset
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import call
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_http import ORDER

DAY_SECONDS = 86_400


async def test_of_200_posts_over_two_edges_exactly_one_is_created(
    shop: Shop, redis_server: RedisServer, tmp_path: Path
) -> None:
    # A long time-out, as `shop` has it.
    data = str(tmp_path / "other")
    settings = Settings(
        redis_url=redis_server.url,
        data=data,
        secret_key_file=str(shop.edge.sealer.path),
        redis_timeout_seconds=5,
    )
    headers = {"Authorization": f"Bearer {shop.key}"}
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://other") as other:
            clients = [shop.client, other] * 100
            posts = [c.post("/v1/conversions", json=ORDER, headers=headers) for c in clients]
            answers = await asyncio.gather(*posts)
    assert Counter(answer.status_code for answer in answers) == {201: 1, 200: 199}
    assert len({answer.json()["conversion_id"] for answer in answers}) == 1
    assert len(await shop.conversions()) == 1


async def test_orders_that_meet_in_one_call_are_taken_one_after_the_other(shop: Shop) -> None:
    values = [5, 6, 5, 7, 5]
    posts = [shop.post({**ORDER, "order_value": value}) for value in values]
    other = shop.post({**ORDER, "order_id": "other"})
    answers = await asyncio.gather(*posts, other)
    assert [answer.status_code for answer in answers] == [201, 409, 200, 409, 200, 201]
    assert [stored.order_value_minor for stored in await shop.conversions()] == [500, 9999]


async def remaining_seconds(redis: Redis) -> list[int]:
    """Seconds for which reservations and their conversions' ids stay; -1: for good."""
    keys = await call(redis, "KEYS", "lj:{0}:order:*")
    keys += await call(redis, "KEYS", "lj:{0}:conversion:*")
    return [await call(redis, "TTL", key) for key in keys]


async def test_reservations_are_kept_for_good(shop: Shop) -> None:
    await shop.post(ORDER)
    assert await remaining_seconds(shop.redis) == [-1, -1]


async def test_reservations_are_kept_for_as_many_days_as_is_set(
    shop: Shop, redis_server: RedisServer, tmp_path: Path
) -> None:
    data = str(tmp_path / "other")
    settings = Settings(
        redis_url=redis_server.url,
        data=data,
        secret_key_file=str(shop.edge.sealer.path),
        conversion_state_days=2,
        redis_timeout_seconds=5,
    )
    headers = {"Authorization": f"Bearer {shop.key}"}
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://other") as other:
            posts = [{**ORDER, "order_id": str(number)} for number in range(3)]
            sent = [other.post("/v1/conversions", json=p, headers=headers) for p in posts]
            assert {answer.status_code for answer in await asyncio.gather(*sent)} == {201}
    remaining = await remaining_seconds(shop.redis)
    assert len(remaining) == 6
    assert all(DAY_SECONDS < seconds <= 2 * DAY_SECONDS for seconds in remaining)


async def test_a_reservation_is_small_whatever_was_posted(shop: Shop) -> None:
    await shop.post({**ORDER, "metadata": {"note": "x" * 3_000}, "adv1": "y" * 250})
    digest = redis_keys.order_digest(Dataset(1), "sale", ORDER["order_id"])
    reservation: bytes = await call(shop.redis, "GET", redis_keys.order(0, digest))
    assert len(reservation) < 500
