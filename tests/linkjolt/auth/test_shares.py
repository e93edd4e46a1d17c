"""Shares of rate limits: leased ahead of use, spent from memory, exact over processes."""

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.auth import gcra
from linkjolt.auth.gcra import Limit
from linkjolt.auth.shares import Bucket, Shares
from linkjolt.storage.redis import call, connect
from tests.waiting import wait_until


def limit_of(per_minute: int) -> Limit:
    limit = gcra.limit("key", per_minute)
    assert limit
    return limit


async def taken(shares: Shares, bucket: Bucket, times: int) -> int:
    return sum([await shares.take(bucket) for _ in range(times)])


async def calls_of_scripts(redis: Redis) -> int:
    """Counts the calls of scripts since the server started."""
    stats = await call(redis, "INFO", "commandstats")
    return sum(int(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"]) for name in ("evalsha",))


@pytest.fixture
async def frozen_redis() -> AsyncGenerator[Redis]:
    """A client of a server that accepts connections and answers nothing."""
    connected: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connected.append(writer), "127.0.0.1", 0)
    client = connect(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", 1.0)
    yield client
    await client.aclose()
    for writer in connected:
        writer.close()
    server.close()


@pytest.mark.parametrize("per_minute", [1, 5, 60, 300])
async def test_a_low_limit_grants_its_burst_exactly_over_processes(
    redis: Redis, per_minute: int
) -> None:
    limit = limit_of(per_minute)
    processes = [Shares(redis) for _ in range(3)]
    granted = 0
    for turn in range(limit.burst * 3):
        shares = processes[turn % 3]
        granted += await shares.take(shares.bucket(limit, 1))
    assert granted == limit.burst


async def test_a_high_limit_costs_few_calls_of_redis(redis: Redis) -> None:
    limit, shares = limit_of(60_000), Shares(redis)
    bucket = shares.bucket(limit, 1)
    await shares.take(bucket)
    before = await calls_of_scripts(redis)
    assert await taken(shares, bucket, 2_000) == 2_000
    assert await calls_of_scripts(redis) - before <= 2 * 2_000 / limit.batch


async def test_a_refused_bucket_costs_no_call_of_redis(redis: Redis) -> None:
    limit, shares = limit_of(5), Shares(redis)
    bucket = shares.bucket(limit, 1)
    assert await taken(shares, bucket, 6) == 5
    before = await calls_of_scripts(redis)
    assert await taken(shares, bucket, 1_000) == 0
    assert await calls_of_scripts(redis) == before


async def test_a_bucket_is_refused_until_the_instant_that_redis_named(redis: Redis) -> None:
    limit = limit_of(60)
    now = time.monotonic()
    shares = Shares(redis, lambda: now)
    bucket = shares.bucket(limit, 1)
    assert await taken(shares, bucket, limit.burst + 1) == limit.burst
    assert 0.9 < bucket.refused_until - now <= 1
    await asyncio.sleep(bucket.refused_until - now)
    assert not await shares.take(bucket)
    now = bucket.refused_until
    assert await taken(shares, bucket, 2) == 1


async def test_many_at_once_get_what_is_there(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine's Redis may take longer, and would count as unavailable.
    monkeypatch.setattr("linkjolt.auth.shares._WAIT_SECONDS", 10.0)
    limit, shares = limit_of(6_000), Shares(redis)
    bucket = shares.bucket(limit, 1)
    started = time.monotonic()
    results = await asyncio.gather(*(shares.take(bucket) for _ in range(2 * limit.burst)))
    new = (time.monotonic() - started) / limit.interval_seconds
    assert limit.burst <= sum(results) <= limit.burst + new + 1


async def test_an_unused_share_goes_back(redis: Redis) -> None:
    limit, now = limit_of(6_000), time.monotonic()
    idle = Shares(redis, lambda: now)
    bucket = idle.bucket(limit, 1)
    await idle.take(bucket)
    leased_until = int(await call(redis, "GET", bucket.key))
    assert bucket.share
    now += 3
    running = asyncio.create_task(idle.run())
    await wait_until(lambda: not bucket.share and bucket.answer is None)
    running.cancel()
    assert int(await call(redis, "GET", bucket.key) or 0) < leased_until


async def test_without_redis_no_request_waits_twice(frozen_redis: Redis) -> None:
    limit, shares = limit_of(6_000), Shares(frozen_redis)
    bucket = shares.bucket(limit, 1)
    started = time.monotonic()
    await shares.take(bucket)
    assert time.monotonic() - started < 0.5
    started = time.monotonic()
    await taken(shares, bucket, 200)
    assert time.monotonic() - started < 0.05


async def test_without_redis_a_process_limits_by_itself(frozen_redis: Redis) -> None:
    limit, shares = limit_of(60), Shares(frozen_redis)
    bucket = shares.bucket(limit, 1)
    assert limit.burst <= await taken(shares, bucket, 100) <= limit.burst + 1


async def test_what_was_taken_without_redis_is_counted_afterwards(redis: Redis) -> None:
    limit = limit_of(5)
    now = time.monotonic()
    broken = connect("redis://127.0.0.1:1")
    shares = Shares(broken, lambda: now)
    bucket = shares.bucket(limit, 1)
    assert await taken(shares, bucket, 6) == 5
    await broken.aclose()
    other = Shares(redis, lambda: now)
    other.report(bucket)
    await wait_until(lambda: bucket.answer is None)
    fresh = Shares(redis)
    assert not await fresh.take(fresh.bucket(limit, 1))


async def test_a_clock_of_redis_that_was_put_back_locks_nobody_out(redis: Redis) -> None:
    limit, shares = limit_of(600), Shares(redis)
    bucket = shares.bucket(limit, 1)
    await call(redis, "SET", bucket.key, (time.time_ns() // 1000) + 86_400_000_000)
    assert not await shares.take(bucket)
    assert bucket.refused_until - time.monotonic() < 0.2


async def test_a_limits_key_expires(redis: Redis) -> None:
    shares = Shares(redis)
    bucket = shares.bucket(limit_of(60), 1)
    await shares.take(bucket)
    assert 0 < await call(redis, "PTTL", redis_keys.rate_limit("key", "1")) <= 5_000
