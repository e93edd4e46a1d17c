"""The idempotent outlet on a real server, with replies lost between the two, and its spool."""

import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.outlet import Answer, Call, Outlet, Publish, new_producer
from ingest.spool import Payload, Spool
from ingest.spool_files import take_left, take_one
from linkjolt import names
from linkjolt.errors import Rejected
from linkjolt.redis_client import RedisConnectionError, StreamEntry, call, entries
from tests.waiting import wait_until

STREAM = names.clicks(0)
MAX_BYTES = 1 << 22


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncGenerator[Spool]:
    opened = take_one(tmp_path, MAX_BYTES, new_producer)
    yield opened
    await opened.close()


def outlet(redis: Redis, spool: Spool) -> Outlet:
    return Outlet(redis, STREAM, spool, 1_000_000)


async def send(made: Outlet, line: bytes) -> list[bytes] | None:
    payload = Payload([], [b"%d" % (line.count(b"\n") + 1), line])
    return await made.send(payload, payload, line.count(b"\n") + 1)


async def drained(made: Outlet) -> None:
    await wait_until(lambda: made.waiting == 0)


async def stream(redis: Redis) -> list[StreamEntry]:
    return await entries(redis, STREAM.key, "-")


async def lines(redis: Redis) -> list[bytes]:
    return [line for _, fields in await stream(redis) for line in fields[b"f"].split(b"\n")]


async def accepted(redis: Redis) -> int:
    hours: dict[bytes, bytes] = await call(redis, "HGETALL", STREAM.ledger)
    return sum(int(count) for count in hours.values())


class Lossy:
    """Stands in front of a publishing script: loses the first replies, executed or not."""

    def __init__(self, publish: Publish, lost: int, *, executed: bool) -> None:
        self.publish, self.lost, self.executed = publish, lost, executed

    async def __call__(self, calls: Sequence[Call], /) -> list[Answer]:
        if self.lost == 0:
            return await self.publish(calls)
        self.lost -= 1
        if self.executed:
            await self.publish(calls)
        raise RedisConnectionError("lost")


async def test_a_frame_is_appended_and_counted(redis: Redis, spool: Spool) -> None:
    made = outlet(redis, spool)
    assert await send(made, b"a\nb") == []
    await send(made, b"c")
    assert [fields for _, fields in await stream(redis)] == [{b"f": b"a\nb"}, {b"f": b"c"}]
    assert await accepted(redis) == 3


@pytest.mark.parametrize("executed", [True, False])
async def test_a_frame_whose_reply_is_lost_is_spooled_and_appended_once(
    redis: Redis, spool: Spool, executed: bool
) -> None:
    made = outlet(redis, spool)
    made.publish = Lossy(made.publish, 3, executed=executed)
    assert await send(made, b"a") is None
    await drained(made)
    [(_, fields)] = await stream(redis)
    # Only what a re-send appended carries the mark.
    assert fields == ({b"f": b"a"} if executed else {b"f": b"a", b"r": b"r"})
    assert await accepted(redis) == 1


async def test_frames_behind_a_spooled_one_keep_their_order(redis: Redis, spool: Spool) -> None:
    made = outlet(redis, spool)
    made.publish = Lossy(made.publish, 4, executed=False)
    sent = [str(number).encode() for number in range(50)]
    for line in sent:
        await send(made, line)
    await drained(made)
    assert await lines(redis) == sent
    assert await send(made, b"straight") == []
    assert await accepted(redis) == 51


async def test_a_delayed_original_after_its_resend_changes_nothing(
    redis: Redis, spool: Spool
) -> None:
    made = outlet(redis, spool)
    publish = made.publish
    delayed: list[Sequence[Call]] = []

    async def delay_the_first(calls: Sequence[Call], /) -> list[Answer]:
        if not delayed:
            delayed.append(calls)
            raise RedisConnectionError("delayed")
        return await publish(calls)

    made.publish = delay_the_first
    await send(made, b"a")
    await drained(made)
    assert [answer.stand for answer in await publish(delayed[0])] == ["there"]
    assert await lines(redis) == [b"a"]


async def test_a_gap_is_refused_by_the_script(redis: Redis, spool: Spool) -> None:
    made = outlet(redis, spool)
    keys = [STREAM.key, STREAM.producer("x"), STREAM.ledger]
    for number in (2, 1):
        # The numbers of a producer end with its first gap: what is delayed comes too late.
        [answer] = await made.publish([Call(keys, [number, 0, "", 1, b"a"])])
        assert answer.stand == "gap"
    assert await stream(redis) == []


async def test_a_server_that_forgot_the_producer_takes_the_frame_marked(
    redis: Redis, spool: Spool
) -> None:
    made = outlet(redis, spool)
    await send(made, b"a")
    await forget(redis, {})
    await send(made, b"b")
    assert [b"r" in fields for _, fields in await stream(redis)] == [False, True]


async def test_spooled_frames_are_renumbered_and_marked_where_redis_forgot(
    redis: Redis, spool: Spool
) -> None:
    made = outlet(redis, spool)
    await send(made, b"a")
    made.publish = Lossy(made.publish, 4, executed=False)
    for line in (b"b", b"c", b"d"):
        await send(made, line)
    await forget(redis, {})
    await drained(made)
    assert await lines(redis) == [b"a", b"b", b"c", b"d"]
    assert [b"r" in fields for _, fields in await stream(redis)] == [False, True, True, True]


async def snapshot(redis: Redis) -> dict[bytes, bytes]:
    """The producers' records and the ledger, as a server's file would hold them."""
    producers: list[bytes] = await call(redis, "KEYS", "lj:{0}:producer:*")
    return {key: await call(redis, "DUMP", key) for key in [*producers, STREAM.ledger.encode()]}


async def forget(redis: Redis, older: dict[bytes, bytes]) -> None:
    """Puts producers' records back to what they were; the ledger too, where it was there."""
    for key in await call(redis, "KEYS", "lj:{0}:producer:*"):
        await call(redis, "DEL", key)
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
    await forget(redis, older)
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
    await forget(redis, older)
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
    await forget(redis, {})
    later = time.monotonic() + 90_000
    monkeypatch.setattr(time, "monotonic", lambda: later)
    await send(made, b"b")
    assert await accepted(redis) == 2


async def test_what_a_dead_worker_spooled_is_drained_by_its_successor(
    redis: Redis, tmp_path: Path
) -> None:
    first = take_one(tmp_path, MAX_BYTES, new_producer)
    dead = outlet(redis, first)
    dead.publish = Lossy(dead.publish, 1_000_000, executed=False)
    for line in (b"a", b"b"):
        await send(dead, line)
    assert list(take_left(tmp_path, MAX_BYTES, new_producer)) == []
    assert dead.draining is not None
    dead.draining.cancel()
    await first.close()
    [left] = take_left(tmp_path, MAX_BYTES, new_producer)
    successor = outlet(redis, left)
    await drained(successor)
    assert await lines(redis) == [b"a", b"b"]
    # The dead worker may have sent the first one: whoever forgot it can look.
    assert [b"r" in fields for _, fields in await stream(redis)] == [True, False]
    assert await send(successor, b"c") == []
    await left.close()


async def test_a_broken_spool_file_is_set_aside(tmp_path: Path) -> None:
    broken = tmp_path / "old.spool"
    broken.write_bytes(b"this is no database, but long enough to be read as one" * 100)
    opened = take_one(tmp_path, MAX_BYTES, new_producer)
    assert (tmp_path / "old.spool.bad").exists()
    assert opened.total == 0
    await opened.close()


async def test_a_full_spool_refuses_and_goes_on_when_it_is_drained(
    redis: Redis, tmp_path: Path
) -> None:
    small = take_one(tmp_path, 1, new_producer)
    made = outlet(redis, small)
    lossy = Lossy(made.publish, 1_000_000, executed=False)
    made.publish = lossy
    taken = 0
    with pytest.raises(Rejected):
        while taken < 10_000:
            await send(made, b"x" * 1_000)
            taken += 1
    assert taken > 10
    lossy.lost = 0
    await drained(made)
    await send(made, b"last")
    assert len(await lines(redis)) == taken + 1
    await small.close()


async def test_ids_pass_to_the_next_millisecond_before_the_sequence_is_used_up(
    redis: Redis, spool: Spool
) -> None:
    ahead = 4_000_000_000_000
    await call(redis, "XADD", STREAM.key, f"{ahead}-999999", "f", b"a")
    made = outlet(redis, spool)
    await send(made, b"b")
    await send(made, b"c")
    ids = [entry_id for entry_id, _ in await stream(redis)]
    assert ids[-2:] == [b"%d-1000000" % ahead, b"%d-1" % (ahead + 1)]
