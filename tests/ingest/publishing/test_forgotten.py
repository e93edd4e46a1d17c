"""Acknowledged events are counted even where the server's file lost its tail."""

import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import open_abandoned_spools, open_spool
from ingest.publishing.stream_producer import StreamProducer, new_producer
from linkjolt.storage.redis import call
from tests.ingest.producers import (
    MAX_BYTES,
    STREAM,
    Lossy,
    accepted,
    drained,
    forget,
    make_producer,
    send,
)


async def snapshot(redis: Redis) -> dict[bytes, bytes]:
    """Dumps the producers' records and the ledger, as a server's file would hold them."""
    producers: list[bytes] = await call(redis, "KEYS", "lj:{0}:producer:*")
    return {key: await call(redis, "DUMP", key) for key in [*producers, STREAM.ledger_key.encode()]}


async def restore(redis: Redis, older: dict[bytes, bytes]) -> None:
    """Restores producers and ledger to an earlier state."""
    await forget(redis)
    for key, value in older.items():
        await call(redis, "RESTORE", key, 0, value, "REPLACE")


@pytest.mark.parametrize("by_spool", [False, True])
async def test_what_redis_forgot_of_its_acknowledged_events_goes_back_to_the_ledger_once(
    redis: Redis, spool: Spool, by_spool: bool
) -> None:
    producer = make_producer(redis, spool)
    await send(producer, b"a\nb")
    older = await snapshot(redis)
    await send(producer, b"c\nd\ne")
    await restore(redis, older)
    assert await accepted(redis) == 2
    producer.publish = Lossy(producer.publish, 3 if by_spool else 0, executed=False)
    for line in (b"f", b"g"):
        await send(producer, line)
    await drained(producer)
    assert await accepted(redis) == 7


async def test_a_successor_counts_what_redis_forgot_of_a_dead_worker(
    redis: Redis, tmp_path: Path
) -> None:
    first = open_spool(tmp_path, MAX_BYTES, new_producer)
    dead = make_producer(redis, first)
    older = await snapshot_after(redis, dead, b"a")
    await send(dead, b"b\nc")
    dead.publish = Lossy(dead.publish, 1_000_000, executed=False)
    await send(dead, b"d")
    assert dead.drain_task is not None
    dead.drain_task.cancel()
    await first.close()
    await restore(redis, older)
    [left] = open_abandoned_spools(tmp_path, MAX_BYTES, new_producer)
    await drained(make_producer(redis, left))
    assert await accepted(redis) == 4
    await left.close()


async def snapshot_after(redis: Redis, producer: StreamProducer, line: bytes) -> dict[bytes, bytes]:
    await send(producer, line)
    return await snapshot(redis)


async def test_a_worker_that_was_idle_for_a_day_takes_a_new_producer(
    redis: Redis, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    producer = make_producer(redis, spool)
    await send(producer, b"a")
    # An expired record looks like a lost one, but no event was forgotten.
    await forget(redis)
    later = time.monotonic() + 90_000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await send(producer, b"b")
    assert await accepted(redis) == 2
