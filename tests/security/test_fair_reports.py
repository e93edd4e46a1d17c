"""One key's heavy reports make no other key's wait behind all of them."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import httpx2
import pytest
from redis.asyncio import Redis
from starlette.types import Message

from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.fair_slots import Asker, FairSlots, ask_for
from reports.app import create_app
from tests.aggregator.rollups.sample import make_sample, store
from tests.reports.answer.test_cache import progress
from tests.reports.conftest import make_secret, open_http

END = datetime(2026, 11, 10, tzinfo=UTC)
HEAVY = 60
# What may be answered before the other key's report, on a busy machine, too; without turns nearly
# all sixty are.
BEFORE_MAX = 15


@pytest.fixture
async def http(redis: Redis, clickhouse: ClickHouse) -> AsyncIterator[httpx2.AsyncClient]:
    sample = make_sample(71, END - timedelta(hours=9), END, 3_000, 100)
    await store(clickhouse, sample)
    async with open_http(redis, clickhouse, ReportsSettings(shards=2)) as http:
        yield http


def heavy(number: int) -> dict[str, str]:
    """Makes the parameters of a report from raw events, which no other number has."""
    start = END - timedelta(days=1, minutes=number)
    return {
        "from": start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "to": END.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "group_by": "sub1,country",
    }


@pytest.mark.parametrize("same_report", [False, True])
@pytest.mark.parametrize("cached", [False, True])
async def test_another_keys_report_is_answered_while_sixty_wait(
    http: httpx2.AsyncClient, redis: Redis, same_report: bool, cached: bool
) -> None:
    if cached:
        await progress(redis, 1_795_327_569_038)
    greedy, other = [await make_secret(redis, "reports:read") for _ in range(2)]
    done = 0
    began = asyncio.Event()

    async def ask(secret: str, parameters: dict[str, str]) -> None:
        head = {"Authorization": f"Bearer {secret}"}
        answer = await http.get("/v1/reports", params=parameters, headers=head)
        assert answer.status_code == 200, answer.text

    async def ask_heavy(number: int) -> None:
        nonlocal done
        await ask(greedy, heavy(number))
        done += 1
        began.set()

    asking = [asyncio.create_task(ask_heavy(number)) for number in range(HEAVY)]
    await began.wait()
    before = done
    # Also where it waits for the very answer for which the other key is the last in line.
    await ask(
        other, heavy(HEAVY - 1) if same_report else {"from": "2026-11-09", "to": "2026-11-10"}
    )
    assert done - before <= BEFORE_MAX
    await asyncio.gather(*asking)


@pytest.mark.long
async def test_a_key_with_too_many_waiting_is_refused_and_no_other(
    http: httpx2.AsyncClient, redis: Redis
) -> None:
    greedy, other = [await make_secret(redis, "reports:read") for _ in range(2)]

    async def ask(secret: str, number: int) -> httpx2.Response:
        head = {"Authorization": f"Bearer {secret}"}
        return await http.get("/v1/reports", params=heavy(number), headers=head)

    asking = [asyncio.create_task(ask(greedy, number)) for number in range(200)]
    await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert (await ask(other, 0)).status_code == 200
    answers = await asyncio.gather(*asking)
    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
        assert answer.headers["retry-after"] == "1"
    assert (await ask(greedy, 0)).status_code == 200


async def hold(slots: FairSlots, order: list[int], key: int, release: asyncio.Event) -> None:
    ask_for(Asker({key}))
    async with slots.take():
        order.append(key)
        await release.wait()


async def test_keys_have_slots_in_turn_and_none_has_all() -> None:
    slots, order = FairSlots(3), list[int]()
    release = asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, order, 1, release)) for _ in range(4)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert order == [1, 1]
    tasks += [asyncio.create_task(hold(slots, order, key, release)) for key in (2, 2, 3)]
    release.set()
    await asyncio.gather(*tasks)
    assert order[:3] == [1, 1, 2]
    assert order.index(3) <= 4


async def test_who_gives_up_waiting_or_running_leaves_the_slot() -> None:
    slots, order, never = FairSlots(1), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, order, key, never)) for key in (1, 2, 3)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    # The second is granted the slot of the first, and cancelled before it runs.
    tasks[0].cancel()
    await asyncio.sleep(0)
    tasks[1].cancel()
    release = asyncio.Event()
    release.set()
    tasks[2].cancel()
    await asyncio.wait(tasks)
    async with asyncio.timeout(5):
        await hold(slots, order, 4, release)
    assert order[-1] == 4


async def test_the_bound_on_waiting_is_each_keys_own() -> None:
    slots, order, release = FairSlots(2, waiting_max=1), list[int](), asyncio.Event()
    tasks = [asyncio.create_task(hold(slots, order, 1, release)) for _ in range(2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(Rejected) as refused:
        await asyncio.create_task(hold(slots, order, 1, release))
    assert refused.value.reason is Reason.too_many_requests
    tasks.append(asyncio.create_task(hold(slots, order, 2, release)))
    release.set()
    await asyncio.gather(*tasks)
    assert sorted(order) == [1, 1, 2]


async def test_a_download_breaks_off_when_its_key_is_revoked(
    redis: Redis, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.log.events.LIMIT_MAX", 100)
    await store(clickhouse, make_sample(71, END - timedelta(hours=9), END, 3_000, 100))
    directory = Directory(redis, links_cached=100, unknown_cached=100)
    app = create_app(ReportsSettings(shards=2), redis, clickhouse, directory, asyncio.Event())
    secret = await make_secret(redis, "events:read")
    key = await directory.key(secret)
    assert key
    pages: list[bytes] = []

    async def receive() -> Message:
        return await asyncio.Future()

    async def send(message: Message) -> None:
        if message["type"] != "http.response.body":
            return
        pages.append(message["body"])
        if len(pages) == 3:
            await Registry(redis).delete(ApiKey, key.account, key.number, END)
            directory.clear()

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/events",
        "raw_path": b"/v1/events",
        "http_version": "1.1",
        "query_string": b"format=csv&from=2026-11-09&to=2026-11-10",
        "headers": [(b"host", b"x"), (b"authorization", f"Bearer {secret}".encode())],
        "client": ("127.0.0.1", 1),
    }
    with pytest.raises(RuntimeError, match="response already started"):
        await app(scope, receive, send)
    assert len(pages) == 3


async def test_a_key_has_a_few_downloads_open(
    redis: Redis, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reports.app._DOWNLOADS_MAX", 0)
    async with open_http(redis, clickhouse, ReportsSettings(shards=2)) as http:
        secret = await make_secret(redis, "events:read", "reports:read")
        head = {"Authorization": f"Bearer {secret}"}
        for path in ("events", "conversions", "reports"):
            whole = await http.get(f"/v1/{path}?format=csv", headers=head)
            assert (whole.status_code, whole.json()["code"]) == (429, "too_many_requests")
