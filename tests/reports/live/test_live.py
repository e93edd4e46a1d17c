"""GET /v1/live sends every stored event over real HTTP, resumes, and ends in time."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.directory.directory import Directory
from linkjolt.settings import ReportsSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import server
from reports.app import create_app
from tests.aggregator.rollups.sample import Sample, insert_clicks, insert_conversions, make_sample
from tests.reports.conftest import make_secret

Heard = tuple[str, str, dict[str, Any]]


@dataclass
class Listening:
    """A served reports listener, with the event that stops it."""

    url: str
    port: int
    secret: str
    stop: asyncio.Event
    served: asyncio.Task[None]

    def head(self, **headers: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secret}", **headers}

    @asynccontextmanager
    async def live(self, **headers: str) -> AsyncGenerator[AsyncIterator[Heard]]:
        """Yields events as (name, id, data)."""
        async with (
            httpx2.AsyncClient(timeout=20) as http,
            http.stream("GET", f"{self.url}/v1/live", headers=self.head(**headers)) as answer,
        ):
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield _events(answer)


async def _events(answer: httpx2.Response) -> AsyncIterator[Heard]:
    fields: dict[str, str] = {}
    async for line in answer.aiter_lines():
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif "data" in fields:
            yield fields["event"], fields.get("id", ""), json.loads(fields["data"])
            fields = {}


async def hear(events: AsyncIterator[Heard], name: str, times: int = 1) -> list[Heard]:
    """Reads up to the given number of events of this name."""
    heard: list[Heard] = []
    async with asyncio.timeout(15):
        async for event in events:
            heard.append(event)
            if [one[0] for one in heard].count(name) == times:
                return heard
    raise AssertionError(f"the feed ended before: {heard[-2:]}")


@pytest.fixture
async def listening(
    redis: Redis, clickhouse: ClickHouse, mirror: RegistryMirror
) -> AsyncIterator[Listening]:
    sock = server.listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    stop = asyncio.Event()
    directory = Directory(redis, links_cached=10, unknown_cached=10)
    settings = Settings(shards=2, live_clients_max=2)
    app = create_app(settings, redis, clickhouse, directory, stop)
    served = asyncio.create_task(server.serve(app, sock=sock, stop=stop, shutdown_seconds=5))
    secret = await make_secret(redis, "reports:read")
    yield Listening(f"http://127.0.0.1:{port}", port, secret, stop, served)
    stop.set()
    await served


def fresh(seed: int, clicks: int = 20, conversions: int = 3) -> Sample:
    """Stores events of the last seconds."""
    end = datetime.now(UTC)
    found = make_sample(seed, end - timedelta(seconds=5), end, clicks, conversions)
    for row in found.conversions:
        row.kind, row.attribution = "created", "click"
    return found


async def put(clickhouse: ClickHouse, sample: Sample) -> None:
    await insert_clicks(clickhouse, sample.clicks)
    await insert_conversions(clickhouse, sample.conversions)


def ours(sample: Sample) -> set[str]:
    return {row.click_id for row in sample.clicks if row.account == 7}


async def test_events_are_told_as_they_are_stored(
    listening: Listening, clickhouse: ClickHouse
) -> None:
    async with listening.live() as events:
        assert (await hear(events, "hello"))[-1][2]["seconds"] == []
        sample = fresh(61)
        await put(clickhouse, sample)
        heard = await hear(events, "conversion", 3)
        heard += await hear(events, "tick")
    clicks = {data["click_id"] for name, _, data in heard if name == "click"}
    assert clicks == ours(sample)
    one = next(data for name, _, data in heard if name == "click" and data["link"] == "tc_2")
    assert (one["campaign"], one["campaign_name"]) == ("cmp_3", "Three")
    assert "ip" not in one
    ticks = [data for name, _, data in heard if name == "tick"]
    counted = sum(clicks + others for tick in ticks for _, clicks, others, _ in tick["seconds"])
    assert counted == len(clicks)


async def test_a_client_that_comes_back_hears_what_it_missed(
    listening: Listening, clickhouse: ClickHouse
) -> None:
    first, second = fresh(62), fresh(63)
    later = max(row.pos for row in (*first.clicks, *first.conversions)) >> 20
    for row in (*second.clicks, *second.conversions):
        row.pos += (later << 20) - (row.pos & ~((1 << 20) - 1)) + (1 << 20)
    async with listening.live() as events:
        await hear(events, "hello")
        await put(clickhouse, first)
        heard = await hear(events, "conversion", 3)
        heard += await hear(events, "tick")
        token = heard[-1][1]
    assert {d["click_id"] for name, _, d in heard if name == "click"} == ours(first)
    await put(clickhouse, second)
    async with listening.live(**{"Last-Event-ID": token}) as events:
        heard = await hear(events, "tick")
    assert {d["click_id"] for name, _, d in heard if name == "click"} == ours(second)
    # The counters of the last half hour come with the first event.
    seconds = heard[0][2]["seconds"]
    assert sum(one[1] + one[2] for one in seconds) == len(ours(first)) + len(ours(second))


async def test_a_heartbeat_tells_how_fresh_the_reports_are(listening: Listening) -> None:
    async with listening.live() as events:
        heard = await hear(events, "tick", 2)
    assert heard[-1][2]["stored"] == 0
    assert heard[-1][2]["now"] > heard[-2][2]["now"]
    assert "data_as_of" in heard[-1][2]


async def test_nobody_hears_of_another_accounts_events(
    listening: Listening, clickhouse: ClickHouse, redis: Redis
) -> None:
    listening.secret = await make_secret(redis, "reports:read", account=99)
    async with listening.live() as events:
        await hear(events, "hello")
        await put(clickhouse, fresh(64))
        heard = await hear(events, "tick", 3)
    assert {name for name, _, _ in heard} == {"tick"}


async def test_a_shutdown_ends_the_feed_and_says_so(listening: Listening) -> None:
    async with listening.live() as events:
        await hear(events, "hello")
        listening.stop.set()
        heard = await hear(events, "end")
    assert heard[-1][2] == {"reason": "shutdown"}
    async with asyncio.timeout(4):
        await listening.served


async def test_no_more_clients_listen_than_are_allowed(listening: Listening) -> None:
    async with listening.live() as one, listening.live() as two:
        await hear(one, "hello")
        await hear(two, "hello")
        async with httpx2.AsyncClient() as http:
            third = await http.get(f"{listening.url}/v1/live", headers=listening.head())
        assert (third.status_code, third.json()["code"]) == (503, "unavailable")
    async with asyncio.timeout(10):
        while True:
            with suppress(AssertionError):
                async with listening.live() as events:
                    await hear(events, "hello")
                    return


async def test_a_client_that_does_not_read_is_dropped(
    listening: Listening, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.live.feed._EVERY_SECONDS", 0.05)
    with socket.create_connection(("127.0.0.1", listening.port)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        head = (
            f"GET /v1/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {listening.secret}\r\n\r\n"
        )
        deaf.sendall(head.encode())
        metrics = f"{listening.url}/metrics"
        async with asyncio.timeout(60), httpx2.AsyncClient() as http:
            text = ""
            while "linkjolt_live_clients 1.0" not in text:
                text = (await http.get(metrics)).text
            await put(clickhouse, _wordy())
            while "linkjolt_live_dropped_total 1.0" not in text:
                text = (await http.get(metrics)).text


def _wordy() -> Sample:
    """Stores events whose texts fill every buffer on the way to the client."""
    sample = fresh(100, clicks=60, conversions=1)
    for row in sample.clicks:
        row.referrer_host = "x" * 500_000
    return sample


async def test_a_broken_token_is_as_none(listening: Listening) -> None:
    async with listening.live(**{"Last-Event-ID": "0-zz"}) as events:
        assert (await hear(events, "hello"))[-1][0] == "hello"
