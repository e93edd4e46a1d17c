"""Requests are limited by key and account, failed authentications by address."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from linkjolt.auth.access import identify_sender
from linkjolt.auth.rate_limits import RateLimits
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import call
from linkjolt.web.requests import RATE_LIMITS
from tests.linkjolt.api.client import Api, application
from tests.linkjolt.registry import samples
from tests.waiting import wait_until

PATH = "/v1/campaigns"
_STATE = re.compile(r'"(\w+)";r=(\d+);t=(\d+)')


@asynccontextmanager
async def limited(redis: Redis, peer: str = "203.0.113.7", **settings: Any) -> AsyncGenerator[Api]:
    """Serves the registry's routes under rate limits to a client at an address."""
    limits = RateLimits(redis, SharedSettings(**settings))
    app = application(redis, rate_limits=limits)
    transport = httpx2.ASGITransport(app=app, client=(peer, 4711))
    async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
        api = Api(client, redis)
        await api.use_key("admin")
        yield api


async def statuses(api: Api, times: int, **headers: str) -> list[int]:
    return [(await api.client.get(PATH, headers=headers)).status_code for _ in range(times)]


def bad_key() -> str:
    return f"Bearer {api_key_secrets.make_secret()}"


async def test_a_key_over_its_limit_is_refused_with_the_seconds_to_wait(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=5) as api:
        assert await statuses(api, 5) == [200] * 5
        refused = await api.client.get(PATH)
    assert refused.status_code == 429
    problem = refused.json()
    assert problem["code"] == "rate_limited"
    assert problem["detail"] == "The API key may send 5 requests a minute."
    assert refused.headers["retry-after"] == "12"
    assert refused.headers["ratelimit-policy"] == '"key";q=5;w=60, "account";q=12000;w=60'
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=12, "account";r=')
    assert refused.headers["x-ratelimit-limit"] == "5"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert abs(int(refused.headers["x-ratelimit-reset"]) - time.time() - 12) < 2


async def test_who_waits_as_long_as_told_is_let_in(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=60) as api:
        while (refused := await api.client.get(PATH)).status_code == 200:
            pass
        await asyncio.sleep(int(refused.headers["retry-after"]))
        assert await statuses(api, 1) == [200]


@pytest.mark.parametrize(
    ("path", "status"), [(PATH, 200), (f"{PATH}/cmp_99", 404), (f"{PATH}?limit=0", 422)]
)
async def test_every_authenticated_answer_says_what_is_left(
    redis: Redis, path: str, status: int
) -> None:
    async with limited(redis, rate_key_per_minute=200, rate_account_per_minute=0) as api:
        answers = [await api.client.get(path) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {status}
    left = [_STATE.findall(answer.headers["ratelimit"]) for answer in answers]
    assert left == [[("key", "9", "1")], [("key", "8", "1")], [("key", "7", "1")]]
    assert answers[2].headers["x-ratelimit-remaining"] == "7"


async def test_a_refusal_for_the_scope_says_what_is_left(redis: Redis) -> None:
    async with limited(redis) as api:
        await api.use_key("reports:read")
        answer = await api.client.get(PATH)
    assert answer.status_code == 403
    assert "ratelimit" in answer.headers


async def test_without_limits_no_answer_speaks_of_them(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=0, rate_account_per_minute=0) as api:
        answer = await api.client.get(PATH)
    assert not [name for name in answer.headers if "ratelimit" in name]


async def test_the_keys_of_an_account_share_its_limit(redis: Redis) -> None:
    async with limited(redis, rate_account_per_minute=5) as api:
        assert await statuses(api, 3) == [200] * 3
        await api.use_key("admin")
        assert await statuses(api, 3) == [200, 200, 429]
        refused = await api.client.get(PATH)
    assert refused.json()["detail"] == "The account may send 5 requests a minute."


async def test_another_key_is_not_refused(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=5) as api:
        assert 429 in await statuses(api, 6)
        await api.use_key("admin")
        assert await statuses(api, 1) == [200]


async def test_two_listeners_share_a_keys_limit(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=5) as one, limited(redis) as two:
        secret = one.client.headers["authorization"]
        settings = SharedSettings(rate_key_per_minute=5)
        app = application(redis, rate_limits=RateLimits(redis, settings))
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
            other = Api(client, redis)
            assert await statuses(one, 3) == [200] * 3
            assert await statuses(other, 3, authorization=secret) == [200, 200, 429]
        assert await statuses(two, 1) == [200]


async def test_a_key_has_the_limit_that_was_set_for_it(redis: Redis) -> None:
    async with limited(redis) as api:
        await api.use_key("admin", rate_limit_per_minute=3)
        assert await statuses(api, 4) == [200, 200, 200, 429]


async def test_a_key_may_have_a_limit_where_others_have_none(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=0, rate_account_per_minute=0) as api:
        await api.use_key("admin", rate_limit_per_minute=3)
        assert await statuses(api, 4) == [200, 200, 200, 429]


async def test_an_address_that_fails_too_often_is_refused(redis: Redis) -> None:
    async with limited(redis, rate_failures_per_minute=20) as api:
        failed = await statuses(api, 25, authorization=bad_key())
        assert failed == [401] * 20 + [429] * 5
        refused = await api.client.get(PATH, headers={"Authorization": "Basic x"})
    assert refused.status_code == 429
    assert refused.json()["code"] == "rate_limited"
    assert refused.headers["retry-after"] in ("2", "3")


async def test_a_valid_key_passes_from_an_address_that_failed_too_often(redis: Redis) -> None:
    async with limited(redis, rate_failures_per_minute=5) as api:
        assert await statuses(api, 6, authorization=bad_key()) == [401] * 5 + [429]
        # It is in no memory yet.
        assert await statuses(api, 2) == [200, 200]


async def test_an_unknown_key_costs_no_look_up_after_too_many(redis: Redis) -> None:
    async with limited(redis, rate_failures_per_minute=5) as api:
        await statuses(api, 5, authorization=bad_key())

        async def is_known_unknown() -> bool:
            before = await _reads(redis)
            assert await statuses(api, 1, authorization=bad_key()) == [429]
            return await _reads(redis) == before

        await wait_until(is_known_unknown)
        before = await _reads(redis)
        for _ in range(50):
            assert await statuses(api, 1, authorization=bad_key()) == [429]
        assert await _reads(redis) == before


async def _reads(redis: Redis) -> int:
    stats = await call(redis, "INFO", "commandstats")
    names = ("cmdstat_get", "cmdstat_mget", "cmdstat_evalsha")
    return sum(int(stats.get(name, {"calls": 0})["calls"]) for name in names)


async def test_a_key_made_after_that_is_known(redis: Redis) -> None:
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    await directory.start_at_feed_end()
    following = asyncio.create_task(directory.follow())
    stranger, secret = api_key_secrets.make_secret(), api_key_secrets.make_secret()
    await wait_until(lambda: directory.is_unknown_key(stranger))
    assert directory.is_unknown_key(secret)
    await Registry(redis).create(samples.key(secret, "admin"))
    await wait_until(lambda: not directory.is_unknown_key(secret))
    assert directory.is_unknown_key(stranger)
    following.cancel()


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ("203.0.113.7", "203.0.113.8", False),
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
    ],
)
async def test_an_address_is_an_ipv4_address_or_a_64(
    redis: Redis, first: str, second: str, shared: bool
) -> None:
    settings = SharedSettings(rate_failures_per_minute=2)
    app = application(redis, rate_limits=RateLimits(redis, settings))
    answered: list[int] = []
    for peer in (first, first, second):
        transport = httpx2.ASGITransport(app=app, client=(peer, 1))
        async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
            headers = {"Authorization": bad_key()}
            answered.append((await client.get(PATH, headers=headers)).status_code)
    assert answered == [401, 401, 429 if shared else 401]


async def test_a_trusted_proxy_names_the_address(redis: Redis) -> None:
    async with limited(redis, peer="127.0.0.1", rate_failures_per_minute=1) as api:
        for address, status in (("192.0.2.1", 401), ("192.0.2.1", 429), ("192.0.2.2", 401)):
            headers = {"X-Forwarded-For": address, "Authorization": bad_key()}
            assert (await api.client.get(PATH, headers=headers)).status_code == status
    async with limited(redis, peer="198.51.100.1", rate_failures_per_minute=1) as api:
        for address, status in (("192.0.2.8", 401), ("192.0.2.9", 429)):
            headers = {"X-Forwarded-For": address, "Authorization": bad_key()}
            assert (await api.client.get(PATH, headers=headers)).status_code == status


async def test_many_addresses_fill_neither_memory_nor_redis(redis: Redis) -> None:
    limits = RateLimits(redis, SharedSettings())
    failures = limits.failures
    assert failures
    scope: dict[str, Any] = {"type": "http", "headers": []}
    for number in range(12_000):
        scope["client"] = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1
        failures.count(scope)
        if number % 1_000 == 0:
            await asyncio.sleep(0)
    assert failures.known == 10_000
    await wait_until(lambda: not limits.shares.is_asking)
    seconds = 1 + 2 * 12
    assert await call(redis, "DBSIZE") <= 100 * seconds


async def test_a_refused_account_costs_its_key_nothing(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=200, rate_account_per_minute=1) as api:
        assert await statuses(api, 1) == [200]
        assert await statuses(api, 50) == [429] * 50
        answer = await api.client.get(PATH)
    assert _STATE.findall(answer.headers["ratelimit"])[0][1] != "0"


async def test_a_stored_key_of_a_former_release_has_the_default_limit(redis: Redis) -> None:
    async with limited(redis, rate_key_per_minute=5) as api:
        key = await api.use_key("admin")
        raw = await call(redis, "GET", f"lj:{{r}}:key:{key.number}")
        former = raw.replace(b',"rate_limit_per_minute":null', b"")
        assert former != raw
        await call(redis, "SET", f"lj:{{r}}:key:{key.number}", former)
        assert await statuses(api, 6) == [200] * 5 + [429]


async def test_a_long_answer_counts_once_and_its_keys_end_is_no_failure(redis: Redis) -> None:
    settings = SharedSettings(rate_key_per_minute=2, rate_failures_per_minute=1)
    secret, registry = api_key_secrets.make_secret(), Registry(redis)
    key = await registry.create(samples.key(secret, "admin"))
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    scope: dict[str, Any] = {
        "type": "http",
        "client": ("203.0.113.7", 1),
        "headers": [(b"authorization", f"Bearer {secret}".encode())],
        RATE_LIMITS: RateLimits(redis, settings),
    }
    for _ in range(10):
        await identify_sender(scope, directory)
    await registry.delete(ApiKey, key.account, key.number, datetime.now(UTC))
    directory.clear()
    for _ in range(3):
        with pytest.raises(Rejected) as refused:
            await identify_sender(scope, directory)
        assert refused.value.reason is Reason.unauthorized


async def test_an_expired_key_counts_as_failed(redis: Redis) -> None:
    async with limited(redis, rate_failures_per_minute=2) as api:
        await api.use_key("admin", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
        assert await statuses(api, 3) == [401, 401, 429]
