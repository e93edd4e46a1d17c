"""The idempotent outlet on a real server, with replies lost between the two, and its spool."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.publishing.publishers import ClickPublisher
from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import take_left, take_one
from ingest.publishing.stream_producer import Answer, Call, new_producer
from linkjolt.reasons import Rejected
from linkjolt.settings import Edge
from linkjolt.storage.redis import RedisConnectionError, call
from tests.ingest.producers import (
    MAX_BYTES,
    STREAM,
    Lossy,
    accepted,
    drained,
    forget,
    lines,
    outlet,
    send,
    stream,
)


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


async def test_clicks_that_a_fault_of_ours_lost_are_counted_as_shed(
    redis: Redis, spool: Spool
) -> None:
    made = outlet(redis, spool)

    async def fail(calls: Sequence[Call], /) -> list[Answer]:
        raise KeyError("a fault of ours")

    made.publish = fail
    clicks = ClickPublisher(made, Edge())
    await clicks.publish("a")
    assert clicks.shed == 1


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
    await forget(redis)
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
    await forget(redis)
    await drained(made)
    assert await lines(redis) == [b"a", b"b", b"c", b"d"]
    assert [b"r" in fields for _, fields in await stream(redis)] == [False, True, True, True]


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
