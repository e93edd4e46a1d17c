"""The live feed looks at its key with every step, and a key has a few streams only."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.datasets import account_of
from linkjolt.directory.directory import Directory
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import server
from reports.app import create_app
from tests.aggregator.rollups.sample import ACCOUNT
from tests.linkjolt.registry import samples
from tests.reports.live.test_live import Listening, hear
from tests.waiting import wait_until

PER_KEY = 3


@pytest.fixture
async def listening(redis: Redis, clickhouse: ClickHouse) -> AsyncIterator[Listening]:
    sock = server.listen("127.0.0.1", 0)
    port, stop = sock.getsockname()[1], asyncio.Event()
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    settings = ReportsSettings(live_clients_per_key_max=PER_KEY, live_clients_max=PER_KEY + 2)
    app = create_app(settings, redis, clickhouse, directory, stop)
    following = asyncio.create_task(directory.follow())
    served = asyncio.create_task(server.serve(app, sock=sock, stop=stop, shutdown_seconds=5))
    yield Listening(f"http://127.0.0.1:{port}", port, "", stop, served)
    stop.set()
    await served
    following.cancel()


async def use_key(listening: Listening, redis: Redis, **fields: object) -> ApiKey:
    """Makes a key that reads reports, and listens by it from now on."""
    listening.secret = api_key_secrets.make_secret()
    key = samples.key(listening.secret, "reports:read")
    changed = msgspec.structs.replace(key, **{"account": account_of(ACCOUNT), **fields})
    return await Registry(redis).create(changed)


async def test_the_feed_ends_when_its_key_is_revoked(listening: Listening, redis: Redis) -> None:
    key = await use_key(listening, redis)
    async with listening.live() as events:
        await hear(events, "tick", 2)
        await Registry(redis).delete(ApiKey, key.account, key.number, datetime.now(UTC))
        heard = await hear(events, "end")
    assert heard[-1][2] == {"reason": "unauthorized"}


async def test_the_feed_ends_when_its_key_expires(listening: Listening, redis: Redis) -> None:
    await use_key(listening, redis, expires_at=datetime.now(UTC) + timedelta(seconds=2))
    async with listening.live() as events:
        await hear(events, "hello")
        heard = await hear(events, "end")
    assert heard[-1][2] == {"reason": "unauthorized"}


async def test_the_feed_ends_when_its_key_loses_the_scope(
    listening: Listening, redis: Redis
) -> None:
    key = await use_key(listening, redis)
    async with listening.live() as events:
        await hear(events, "hello")
        await Registry(redis).patch(
            ApiKey,
            key.account,
            key.number,
            lambda key: msgspec.structs.replace(key, scopes=("links:read",)),
        )
        heard = await hear(events, "end")
    assert heard[-1][2] == {"reason": "forbidden"}


async def status(listening: Listening, secret: str) -> tuple[int, str]:
    """Opens a stream, and returns its status and `Retry-After`."""
    head = {"Authorization": f"Bearer {secret}"}
    async with (
        httpx2.AsyncClient(timeout=20) as http,
        http.stream("GET", f"{listening.url}/v1/live", headers=head) as answer,
    ):
        return answer.status_code, answer.headers.get("retry-after", "")


async def test_a_key_has_a_few_streams_and_leaves_the_others_theirs(
    listening: Listening, redis: Redis
) -> None:
    await use_key(listening, redis)
    first = listening.secret
    opened = asyncio.Event()
    statuses: list[int] = []

    async def hold() -> None:
        head = {"Authorization": f"Bearer {first}"}
        async with (
            httpx2.AsyncClient(timeout=20) as http,
            http.stream("GET", f"{listening.url}/v1/live", headers=head) as answer,
        ):
            statuses.append(answer.status_code)
            if answer.status_code == 200:
                await opened.wait()

    # All at once: none may slip in while another is being opened.
    holding = [asyncio.create_task(hold()) for _ in range(PER_KEY + 5)]
    await wait_until(lambda: len(statuses) == len(holding))
    assert sorted(statuses) == [200] * PER_KEY + [429] * 5
    assert await status(listening, first) == (429, "1")
    await use_key(listening, redis)
    assert await status(listening, listening.secret) == (200, "")

    async def first_fits() -> bool:
        return await status(listening, first) == (200, "")

    opened.set()
    await asyncio.gather(*holding)
    # Each has gone once its connection is closed: the same number fits again.
    await wait_until(first_fits)


async def test_a_head_of_the_feed_holds_no_stream(listening: Listening, redis: Redis) -> None:
    await use_key(listening, redis)
    async with httpx2.AsyncClient(timeout=20) as http:
        for _ in range(PER_KEY + 3):
            answer = await http.head(f"{listening.url}/v1/live", headers=listening.head())
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
