"""accepted = stored + rejected + waiting, in every state between the reads."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from aggregator.rows.rows import CLICK_COLUMNS, ClickRow, click_marker
from linkjolt import redis_keys
from linkjolt.balance import balance
from linkjolt.balance.balance import StreamBacklog, StreamBalance, balance_stream, read_balance
from linkjolt.balance.edge_status import publish_edge_status
from linkjolt.balance.stale import StaleRule
from linkjolt.balance.stored_counts import StoredCounts
from linkjolt.datasets import Dataset
from linkjolt.position import position
from linkjolt.redis_keys import Stream, clicks, conversions
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from reports.balance import BalanceReader

HOUR = 3_600_000
NOW_MS = int(datetime(2026, 11, 20, 10, 59, 59, tzinfo=UTC).timestamp() * 1000)


async def accept(redis: Redis, stream: Stream, ms: int, events: int) -> int:
    """Adds an entry of this many lines and its count in the ledger, as a publish does."""
    frame = b"\n".join([b"{}"] * events)
    async with redis.pipeline(transaction=True) as pipe:
        commands: Any = pipe
        commands.xadd(stream.key, {"f": frame}, id=f"{ms}-*")
        commands.hincrby(stream.ledger_key, ms // HOUR, events)
        identity, _ = await commands.execute()
    return position(identity)


async def store(clickhouse: ClickHouse, s: int, pos: int, events: int) -> None:
    rows = [ClickRow(account=Dataset(1), time=1.0, s=s, pos=pos) for _ in range(events)]
    lines = msgspec.json.Encoder().encode_lines([*rows, click_marker(s, pos)])
    await clickhouse.insert("clicks", CLICK_COLUMNS, lines)


async def reject(clickhouse: ClickHouse, s: int, pos: int, line: int) -> None:
    row = msgspec.json.encode({"s": s, "pos": pos, "line": line, "reason": "undecodable"})
    await clickhouse.insert("rejects", ["s", "pos", "line", "reason"], row)


async def of(redis: Redis, clickhouse: ClickHouse, stream: str) -> StreamBalance:
    found = await read_balance(redis, clickhouse, shards=2)
    return next(one for one in found.streams if one.stream == stream)


async def test_nothing_accepted_is_an_even_balance(redis: Redis, clickhouse: ClickHouse) -> None:
    found = await read_balance(redis, clickhouse, shards=2)
    names = [stream.stream for stream in found.streams]
    assert names == ["clicks/0", "conversions/0", "clicks/1", "conversions/1"]
    assert all(stream.accepted == 0 and stream.hours == () for stream in found.streams)


async def test_events_are_waiting_until_stored_or_rejected_in_the_hour_they_came(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    first = await accept(redis, clicks(1), NOW_MS, 3)
    await accept(redis, clicks(1), NOW_MS + 5_000, 2)
    waiting = await of(redis, clickhouse, "clicks/1")
    assert (waiting.accepted, waiting.waiting, waiting.difference) == (5, 5, 0)
    assert waiting.oldest_waiting_ms == NOW_MS

    await reject(clickhouse, 2, first, 2)
    await reject(clickhouse, 2, first, 2)
    await store(clickhouse, 2, first, 2)
    stored = await of(redis, clickhouse, "clicks/1")
    assert stored.oldest_waiting_ms == NOW_MS + 5_000
    assert [
        (h.hour.hour, h.accepted, h.stored, h.rejected, h.waiting, h.difference)
        for h in stored.hours
    ] == [(10, 3, 2, 1, 0, 0), (11, 2, 0, 0, 2, 0)]


async def test_a_lost_and_a_doubled_event_show_as_difference(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    pos = await accept(redis, clicks(0), NOW_MS, 4)
    await store(clickhouse, 0, pos, 3)
    assert (await of(redis, clickhouse, "clicks/0")).difference == 1
    await store(clickhouse, 0, pos, 2)
    assert (await of(redis, clickhouse, "clicks/0")).difference == -1


async def test_entries_dropped_from_the_stream_before_they_were_stored_are_a_difference(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    await accept(redis, conversions(0), NOW_MS, 4)
    await accept(redis, conversions(0), NOW_MS + 1, 1)
    await call(redis, "XTRIM", conversions(0).key, "MINID", "=", f"{NOW_MS + 1}-0")
    found = await of(redis, clickhouse, "conversions/0")
    assert (found.accepted, found.waiting, found.difference) == (5, 1, 4)


async def test_stored_events_stay_even_when_their_stream_is_trimmed_empty(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    pos = await accept(redis, clicks(0), NOW_MS, 4)
    await store(clickhouse, 0, pos, 4)
    await call(redis, "XTRIM", clicks(0).key, "MAXLEN", 0)
    found = await of(redis, clickhouse, "clicks/0")
    assert (found.accepted, found.stored, found.waiting, found.difference) == (4, 4, 0, 0)


async def test_a_long_queue_is_estimated_and_says_so(
    redis: Redis, clickhouse: ClickHouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(balance, "COUNTED_ENTRIES", 100)
    for index in range(105):
        await accept(redis, clicks(0), NOW_MS + index, 2)
    found = await of(redis, clickhouse, "clicks/0")
    assert (found.waiting, found.difference, found.waiting_estimated) == (210, 0, True)
    assert found.oldest_waiting_ms == NOW_MS


async def test_the_balance_is_even_while_events_come_and_are_stored_and_trimmed(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    stopped = asyncio.Event()

    async def flow() -> None:
        waiting: list[int] = []
        for index in range(100_000):
            waiting.append(await accept(redis, clicks(0), NOW_MS + index * 100, 3))
            if len(waiting) == 8:
                pos = waiting[-1]
                rows = [
                    ClickRow(account=Dataset(1), s=0, pos=one) for one in waiting for _ in range(3)
                ]
                lines = msgspec.json.Encoder().encode_lines([*rows, click_marker(0, pos)])
                await clickhouse.insert("clicks", CLICK_COLUMNS, lines)
                await call(redis, "XTRIM", clicks(0).key, "MINID", "=", f"{pos >> 20}-0")
                waiting.clear()
            if stopped.is_set():
                return

    flowing = asyncio.create_task(flow())
    for _ in range(12):
        found = await of(redis, clickhouse, "clicks/0")
        assert [hour.difference for hour in found.hours] == [0] * len(found.hours)
    stopped.set()
    await flowing
    assert (await of(redis, clickhouse, "clicks/0")).stored > 0


def test_differences_of_hours_add_up_to_the_stream() -> None:
    queue = StreamBacklog(accepted=Counter({1: 5, 2: 5}), last_position=0)
    found = balance_stream(clicks(0), queue, 0, stored=Counter({1: 4}), rejected=Counter({2: 1}))
    assert [hour.difference for hour in found.hours] == [1, 4]
    assert found.difference == 5


async def test_what_was_counted_once_is_added_to_what_came_since(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    counts = StoredCounts()
    early, late = 500_000 * HOUR << 20, 500_009 * HOUR << 20
    await insert_clicks(clickhouse, [early + 1, early + 2])
    assert (await counts.read(clickhouse, {0: early + 2}))["clicks"][0] == {500_000: 2}
    await insert_clicks(clickhouse, [late + 1, late + 2])
    for _ in range(2):
        found = await counts.read(clickhouse, {0: late + 1})
        assert found["clicks"][0] == {500_000: 2, 500_009: 1}


async def insert_clicks(clickhouse: ClickHouse, positions: list[int]) -> None:
    rows = [ClickRow(account=Dataset(1), click_id=str(pos), s=0, pos=pos) for pos in positions]
    lines = b"\n".join(msgspec.json.encode(row) for row in rows)
    await clickhouse.insert("clicks", CLICK_COLUMNS, lines)


async def test_spooled_events_of_living_edges_and_shed_clicks_are_told(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    await publish_edge_status(redis, 1, spooled=3, newly_shed=2)
    await publish_edge_status(redis, 2, spooled=4, newly_shed=1)
    await call(redis, "HSET", redis_keys.EDGES, 3, b'{"spooled":99,"at_ms":1}')
    found = await read_balance(redis, clickhouse, shards=1)
    assert (found.spooled, found.shed) == (7, 3)


async def behind_seconds(redis: Redis, clickhouse: ClickHouse) -> float:
    await BalanceReader(redis, clickhouse, 2, StaleRule()).read()
    behind = REGISTRY.get_sample_value("linkjolt_behind_seconds")
    assert behind is not None
    return behind


async def test_reports_are_behind_by_the_age_of_the_stream_that_is_stored_least(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    began = time.time()
    for stream, age in zip(redis_keys.streams(2), (0, 90, 10, 0), strict=True):
        as_of_ms = int((began - age) * 1000)
        await call(redis, "HSET", redis_keys.PROGRESS, stream.number, as_of_ms)
    behind = await behind_seconds(redis, clickhouse)
    assert 90 <= behind <= 90.01 + time.time() - began


async def test_before_anything_is_stored_reports_are_behind_by_the_oldest_event(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    assert await behind_seconds(redis, clickhouse) == 0
    began = time.time()
    await accept(redis, clicks(1), int((began - 40) * 1000), 1)
    await accept(redis, clicks(0), int((began - 30) * 1000), 1)
    behind = await behind_seconds(redis, clickhouse)
    assert 40 <= behind <= 40.01 + time.time() - began
