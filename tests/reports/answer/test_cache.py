"""A report that many request is built once, and again as soon as more is stored."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Dataset
from linkjolt.reasons import Rejected
from linkjolt.settings import ReportsSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from reports.answer.cache import ReportCache
from reports.answer.report import Report, ReportBuilder
from reports.names import NameCache
from reports.query.request import parse_request
from tests.aggregator.rollups.sample import ACCOUNT, make_sample, store
from tests.waiting import wait_until

END = datetime(2026, 11, 10, tzinfo=UTC)
PERIOD = [("from", "2026-11-09"), ("to", "2026-11-10")]
NOW = datetime(2026, 11, 20, 15, 7, 3, tzinfo=UTC)


async def progress(redis: Redis, ms: int) -> None:
    for stream in redis_keys.streams(2):
        await call(redis, "HSET", redis_keys.PROGRESS, stream.number, ms)


@pytest.fixture
async def answers(redis: Redis, clickhouse: ClickHouse) -> ReportCache[Report]:
    await store(
        clickhouse, make_sample(71, END - timedelta(hours=9), END - timedelta(hours=5), 100, 10)
    )
    await progress(redis, 1_795_327_569_038)
    return ReportCache(
        ReportBuilder.report, redis, clickhouse, Settings(shards=2), NameCache(clickhouse)
    )


async def test_one_is_made_for_all_who_ask_until_more_is_stored(
    answers: ReportCache[Report], redis: Redis, clickhouse: ClickHouse
) -> None:
    wanted = [parse_request(PERIOD, NOW + timedelta(seconds=n)) for n in range(20)]
    found = await asyncio.gather(*(answers.get(ACCOUNT, one) for one in wanted))
    assert all(one is found[0] for one in found)
    await store(clickhouse, make_sample(72, END - timedelta(hours=4), END, 50, 1))
    await progress(redis, 1_795_327_569_538)
    later = await answers.get(ACCOUNT, wanted[0])
    assert later.meta.data_as_of != found[0].meta.data_as_of
    assert later.totals["clicks"] != found[0].totals["clicks"]


async def test_accounts_and_questions_are_kept_apart(answers: ReportCache[Report]) -> None:
    wanted = parse_request(PERIOD, NOW)
    by_link = parse_request([*PERIOD, ("group_by", "link")], NOW)
    one, other, third = (
        await answers.get(ACCOUNT, wanted),
        await answers.get(Dataset(ACCOUNT + 1), wanted),
        await answers.get(ACCOUNT, by_link),
    )
    assert one.totals["clicks"] != other.totals["clicks"]
    assert len(third.data) > 1


async def test_one_who_hangs_up_takes_nothing_from_the_others(answers: ReportCache[Report]) -> None:
    wanted = parse_request(PERIOD, NOW)
    first = asyncio.create_task(answers.get(ACCOUNT, wanted))
    second = asyncio.create_task(answers.get(ACCOUNT, wanted))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).data


async def test_a_refusal_is_not_kept(answers: ReportCache[Report]) -> None:
    unknown = parse_request([*PERIOD, ("link", "tc_none")], NOW)
    for _ in range(2):
        with pytest.raises(Rejected):
            await answers.get(ACCOUNT, unknown)
    assert (await answers.get(ACCOUNT, parse_request(PERIOD, NOW))).data


async def test_without_knowing_how_fresh_it_is_nothing_is_kept(
    answers: ReportCache[Report], redis: Redis
) -> None:
    await call(redis, "DEL", redis_keys.PROGRESS)
    wanted = parse_request(PERIOD, NOW)
    assert await answers.get(ACCOUNT, wanted) is not await answers.get(ACCOUNT, wanted)


async def test_the_last_answer_is_given_while_the_next_is_made_if_its_data_is_fresh(
    answers: ReportCache[Report], redis: Redis
) -> None:
    wanted = parse_request(PERIOD, NOW)
    now_ms = time.time_ns() // 1_000_000
    await progress(redis, now_ms - 1_501)
    stale = await answers.get(ACCOUNT, wanted)
    await progress(redis, now_ms - 1_500)
    assert await answers.get(ACCOUNT, wanted) is not stale
    # As if of this instant, however long the first answers took.
    ahead_ms = time.time_ns() // 1_000_000 + 10_000
    await progress(redis, ahead_ms)
    fresh = await answers.get(ACCOUNT, wanted)
    await progress(redis, ahead_ms + 1)
    assert await answers.get(ACCOUNT, wanted) is fresh

    async def is_made() -> bool:
        return await answers.get(ACCOUNT, wanted) is not fresh

    await wait_until(is_made)


async def test_an_answer_that_grew_old_while_nothing_was_stored_is_not_given(
    answers: ReportCache[Report], redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No request came in between, and no event was stored meanwhile."""
    wanted = parse_request(PERIOD, NOW)
    ahead_ms = time.time_ns() // 1_000_000 + 10_000
    await progress(redis, ahead_ms)
    old = await answers.get(ACCOUNT, wanted)
    await progress(redis, ahead_ms + 1)
    other = parse_request([*PERIOD, ("group_by", "link")], NOW)
    await answers.get(ACCOUNT, other)
    monkeypatch.setattr("reports.answer.cache._STALE_MAX", timedelta(seconds=-60))
    assert await answers.get(ACCOUNT, wanted) is not old
