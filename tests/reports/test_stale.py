"""An event that waits longer than it may is named, with where it waits and for how long."""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from ingest.publishing.frames import Frame, Payload
from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import new_producer
from linkjolt import redis_keys
from linkjolt.balance.balance import Balance, read_balance
from linkjolt.balance.edge_status import EdgeStatus, publish_edge_status
from linkjolt.balance.stale import StaleRule, stale_rule
from linkjolt.redis_keys import clicks, conversions
from linkjolt.settings import SharedSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, server_time_ms
from reports.balance import BalanceReader
from tests.reports.test_balance import accept, store

LIMIT_SECONDS = 300
RULE = StaleRule(LIMIT_SECONDS)


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    opened = open_spool(tmp_path / "spool", 1 << 20, new_producer)
    yield opened
    await opened.close()


async def read(redis: Redis, clickhouse: ClickHouse, rule: StaleRule = RULE) -> Balance:
    return await read_balance(redis, clickhouse, 2, rule=rule)


def ago_ms(now_ms: int, seconds: float) -> int:
    return now_ms - int(seconds * 1000)


async def test_the_oldest_event_of_a_stream_makes_it_stale_until_it_is_stored(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    now_ms = await server_time_ms(redis)
    old = await accept(redis, clicks(1), ago_ms(now_ms, 400), 3)
    await accept(redis, clicks(1), ago_ms(now_ms, 5), 2)
    await accept(redis, conversions(0), ago_ms(now_ms, 200), 1)
    [stale] = (await read(redis, clickhouse)).stale
    assert (stale.where, stale.events) == ("clicks/1", 5)
    assert 400 <= stale.seconds < 430
    await store(clickhouse, clicks(1).number, old, 3)
    assert (await read(redis, clickhouse)).stale == ()


async def test_an_event_dated_ahead_of_the_clock_of_redis_is_not_stale(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    await accept(redis, clicks(0), await server_time_ms(redis) + 3_600_000, 1)
    found = await read(redis, clickhouse, StaleRule(0.0))
    assert found.streams[0].waiting == 1
    assert found.stale == ()


async def test_a_spool_that_was_never_seen_empty_is_stale(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    now_ms = await server_time_ms(redis)
    for worker, seconds in ((1, 400), (2, 200)):
        status = EdgeStatus(9, ago_ms(now_ms, 60), ago_ms(now_ms, seconds))
        await call(redis, "HSET", redis_keys.EDGES, worker, msgspec.json.encode(status))
        await publish_edge_status(redis, worker, spooled=worker, newly_shed=0)
    found = await read(redis, clickhouse)
    assert found.spooled == 3
    [stale] = found.stale
    assert (stale.where, stale.events) == ("spool of edge 1", 1)
    assert 400 <= stale.seconds < 430
    # Once empty it begins anew.
    await publish_edge_status(redis, 1, spooled=0, newly_shed=0)
    await publish_edge_status(redis, 1, spooled=5, newly_shed=0)
    assert (await read(redis, clickhouse)).stale == ()


async def test_a_status_of_an_older_release_is_read(redis: Redis, clickhouse: ClickHouse) -> None:
    now_ms = await server_time_ms(redis)
    status = b'{"spooled":4,"at_ms":%d}' % now_ms
    await call(redis, "HSET", redis_keys.EDGES, 1, status)
    found = await read(redis, clickhouse)
    assert (found.spooled, found.stale) == (4, ())
    await publish_edge_status(redis, 1, spooled=4, newly_shed=0)
    assert (await read(redis, clickhouse)).stale == ()


def frame(stream_number: int, events: int) -> Frame:
    return Frame(stream_number, events, Payload([], [b"{}"]))


async def test_spool_files_that_nobody_drains_are_counted_and_stale(
    redis: Redis, clickhouse: ClickHouse, tmp_path: Path, spool: Spool
) -> None:
    rule = stale_rule(SharedSettings(data=str(tmp_path)))
    await spool.add(frame(conversions(0).number, 3))
    await spool.add(frame(clicks(1).number, 2))
    await spool.add(frame(conversions(0).number, 4))
    found = await read(redis, clickhouse, rule)
    assert (found.spooled, found.stale) == (9, ())
    # What a killed edge leaves: all of it is still in the write-ahead log.
    for path in (tmp_path / "spool").iterdir():
        os.utime(path, times=(time.time(), time.time() - 400))
    stale = (await read(redis, clickhouse, rule)).stale
    assert sorted((each.where, each.events) for each in stale) == [
        ("spool of clicks/1", 2),
        ("spool of conversions/0", 7),
    ]
    assert all(400 <= each.seconds < 430 for each in stale)
    # Reading it is no writing.
    assert (await read(redis, clickhouse, rule)).stale != ()
    oldest = await spool.oldest_frames(conversions(0).number, 10)
    await spool.remove(conversions(0).number, oldest)
    found = await read(redis, clickhouse, rule)
    assert (found.spooled, found.stale) == (2, ())


async def test_a_spool_file_that_cannot_be_read_hides_no_other(
    redis: Redis,
    clickhouse: ClickHouse,
    tmp_path: Path,
    spool: Spool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "spool" / "000.spool").write_bytes(b"no database" * 100)
    await spool.add(frame(clicks(0).number, 2))
    found = await read(redis, clickhouse, StaleRule(LIMIT_SECONDS, tmp_path / "spool"))
    assert found.spooled == 2
    assert "spool file not read" in capsys.readouterr().out


async def test_without_a_folder_of_spools_nothing_is_spooled(
    redis: Redis, clickhouse: ClickHouse, tmp_path: Path
) -> None:
    rule = stale_rule(SharedSettings(data=str(tmp_path / "none")))
    assert (await read(redis, clickhouse, rule)).spooled == 0


async def test_a_metric_counts_what_is_stale(redis: Redis, clickhouse: ClickHouse) -> None:
    reader = BalanceReader(redis, clickhouse, 2, RULE)
    now_ms = await server_time_ms(redis)
    for stream in (clicks(0), conversions(1)):
        await accept(redis, stream, ago_ms(now_ms, 400), 1)
    await reader.read()
    assert REGISTRY.get_sample_value("linkjolt_balance_stale_backlogs") == 2
    await call(redis, "FLUSHALL")
    await reader.read()
    assert REGISTRY.get_sample_value("linkjolt_balance_stale_backlogs") == 0
