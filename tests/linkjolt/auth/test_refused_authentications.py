"""Refused authentications are summed, and a flood of them leaves a bounded number of entries."""

import random
from datetime import UTC, datetime

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis
from starlette.types import Scope

from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditEntry
from linkjolt.auth.refused_authentications import OTHERS, SUMS_MAX, RefusedAuthentications
from linkjolt.clicks.client_address import address_reader
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import RedisError, connect, read_stream
from linkjolt.web.answer_headers import RequestIds
from tests.linkjolt.api.client import application
from tests.linkjolt.registry import samples


def _scope(secret: str, address: str = "203.0.113.7", **headers: str) -> Scope:
    lines = {"authorization": f"Bearer {secret}", **headers}
    return {
        "type": "http",
        "method": "GET",
        "path": "/v1/reports",
        "client": (address, 1),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in lines.items()],
    }


@pytest.fixture
def refusals(redis: Redis) -> RefusedAuthentications:
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    return RefusedAuthentications(redis, directory)


async def _entries(redis: Redis) -> list[AuditEntry]:
    read = await read_stream(redis, redis_keys.AUDIT_REFUSED, "-", count=100_000)
    return [msgspec.json.decode(fields[b"e"], type=AuditEntry) for _, fields in read]


async def test_equal_refusals_are_one_entry(redis: Redis, refusals: RefusedAuthentications) -> None:
    secret = api_key_secrets.make_secret()
    for last in (1, 2, 3):
        refusals.count(_scope(secret, f"203.0.113.{last}"))
    refusals.count(_scope(secret, "198.51.100.9"))
    await refusals.write()
    found = {(one.address, one.key_hint): one.count for one in await _entries(redis)}
    hint = api_key_secrets.hint(secret)
    assert found == {("203.0.113.0", hint): 3, ("198.51.100.0", hint): 1}


async def test_a_flood_leaves_a_bounded_number_of_entries(
    redis: Redis, refusals: RefusedAuthentications
) -> None:
    dice = random.Random(1)
    for number in range(100_000):
        address = f"{dice.randrange(1, 224)}.{dice.randrange(256)}.{dice.randrange(256)}.1"
        refusals.count(_scope(f"lj_live_{number:038}", address))
    await refusals.write()
    found = await _entries(redis)
    assert len(found) == SUMS_MAX + 1
    assert sum(one.count for one in found) == 100_000
    assert max(found, key=lambda one: one.count).address == OTHERS


async def test_what_is_no_key_is_not_shown(redis: Redis, refusals: RefusedAuthentications) -> None:
    for secret in ("hunter2-hunter2", "jane@shop.example", "lj_live_", "Basic x"):
        refusals.count(_scope(secret))
    refusals.count({**_scope(""), "headers": []})
    await refusals.write()
    assert [(one.key_hint, one.count) for one in await _entries(redis)] == [("", 4)]


async def test_the_sender_is_found_behind_trusted_proxies_only(redis: Redis) -> None:
    addresses = address_reader(SharedSettings())
    directory = Directory(redis, links_cached=10, unknown_cached=10, addresses=addresses)
    refusals = RefusedAuthentications(redis, directory)
    named = {"x-forwarded-for": "198.51.100.77"}
    refusals.count(_scope("secret", "127.0.0.1", **named))
    refusals.count(_scope("secret", "203.0.113.7", **named))
    refusals.count(_scope("secret", "2001:db8:1:2::3"))
    await refusals.write()
    found = {one.address for one in await _entries(redis)}
    assert found == {"198.51.100.0", "203.0.113.0", "2001:db8:1::"}


async def test_sums_outlive_an_outage(refusals: RefusedAuthentications, redis: Redis) -> None:
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    nowhere = connect("redis://127.0.0.1:1", 0.2)
    lost = RefusedAuthentications(nowhere, directory)
    secret = api_key_secrets.make_secret()
    lost.count(_scope(secret))
    with pytest.raises(RedisError):
        await lost.write()
    lost.count(_scope(secret))
    lost._redis = redis  # pyright: ignore[reportPrivateUsage]
    await lost.write()
    await nowhere.aclose()
    assert [one.count for one in await _entries(redis)] == [2]


async def test_a_listener_counts_what_it_refuses(
    redis: Redis, refusals: RefusedAuthentications
) -> None:
    secret = api_key_secrets.make_secret()
    key = samples.key(secret, "admin", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    await Registry(redis).create(key)
    app = RequestIds(application(redis), on_unauthorized=refusals.count)
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://edge"
    ) as client:
        for bearer in (secret, "lj_live_unknown", None):
            headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
            assert (await client.get("/v1/links", headers=headers)).status_code == 401
    await refusals.write()
    assert sum(one.count for one in await _entries(redis)) == 2
