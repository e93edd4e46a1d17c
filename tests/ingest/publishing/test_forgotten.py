"""A server whose file lost its tail: what it had acknowledged is counted all the same."""

import time
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import take_left, take_one
from ingest.publishing.stream_producer import Outlet, new_producer
from linkjolt.storage.redis import call
from tests.ingest.producers import (
    MAX_BYTES,
    STREAM,
    Lossy,
    accepted,
    drained,
    forget,
    outlet,
    send,
)


async def snapshot(redis: Redis) -> dict[bytes, bytes]:
    """The producers' records and the ledger, as a server's file would hold them."""
    producers: list[bytes] = await call(redis, "KEYS", "lj:{0}:producer:*")
    return {key: await call(redis, "DUMP", key) for key in [*producers, STREAM.ledger.encode()]}


async def restore(redis: Redis, older: dict[bytes, bytes]) -> None:
    """Puts producers and ledger back to what they were."""
    await forget(redis)
    for key, value in older.items():
        await call(redis, "RESTORE", key, 0, value, "REPLACE")


@pytest.mark.parametrize("by_spool", [False, True])
async def test_what_redis_forgot_of_its_acknowledged_events_goes_back_to_the_ledger_once(
    redis: Redis, spool: Spool, by_spool: bool
) -> None:
    made = outlet(redis, spool)
    await send(made, b"a\nb")
    older = await snapshot(redis)
    await send(made, b"c\nd\ne")
    await restore(redis, older)
    assert await accepted(redis) == 2
    made.publish = Lossy(made.publish, 3 if by_spool else 0, executed=False)
    for line in (b"f", b"g"):
        await send(made, line)
    await drained(made)
    assert await accepted(redis) == 7


async def test_a_successor_counts_what_redis_forgot_of_a_dead_worker(
    redis: Redis, tmp_path: Path
) -> None:
    first = take_one(tmp_path, MAX_BYTES, new_producer)
    dead = outlet(redis, first)
    older = await snapshot_after(redis, dead, b"a")
    await send(dead, b"b\nc")
    dead.publish = Lossy(dead.publish, 1_000_000, executed=False)
    await send(dead, b"d")
    assert dead.draining is not None
    dead.draining.cancel()
    await first.close()
    await restore(redis, older)
    [left] = take_left(tmp_path, MAX_BYTES, new_producer)
    await drained(outlet(redis, left))
    assert await accepted(redis) == 4
    await left.close()


async def snapshot_after(redis: Redis, made: Outlet, line: bytes) -> dict[bytes, bytes]:
    await send(made, line)
    return await snapshot(redis)


async def test_a_worker_that_was_idle_for_a_day_takes_a_new_producer(
    redis: Redis, spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = outlet(redis, spool)
    await send(made, b"a")
    # A record that expired looks like one that was lost: nothing may be taken for forgotten.
    await forget(redis)
    later = time.monotonic() + 90_000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await send(made, b"b")
    assert await accepted(redis) == 2
