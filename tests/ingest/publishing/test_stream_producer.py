"""Publishing is exactly once when replies are lost, with the spool and without."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from ingest.publishing.frames import Frame, FrameStatus, Payload
from ingest.publishing.publishers import ClickPublisher
from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import open_abandoned_spools, open_spool
from ingest.publishing.stream_producer import PublishReply, ScriptCall, new_producer
from linkjolt.reasons import Rejected
from linkjolt.settings import EdgeSettings
from linkjolt.storage.redis import RedisConnectionError, call
from tests.ingest.producers import (
    MAX_BYTES,
    STREAM,
    Lossy,
    accepted,
    drained,
    forget,
    lines,
    make_producer,
    send,
    stream,
)


async def test_a_frame_is_appended_and_counted(redis: Redis, spool: Spool) -> None:
    producer = make_producer(redis, spool)
    assert await send(producer, b"a\nb") == []
    await send(producer, b"c")
    assert [fields for _, fields in await stream(redis)] == [{b"f": b"a\nb"}, {b"f": b"c"}]
    assert await accepted(redis) == 3


@pytest.mark.parametrize("executed", [True, False])
async def test_a_frame_whose_reply_is_lost_is_spooled_and_appended_once(
    redis: Redis, spool: Spool, executed: bool
) -> None:
    producer = make_producer(redis, spool)
    producer.publish = Lossy(producer.publish, 3, executed=executed)
    assert await send(producer, b"a") is None
    await drained(producer)
    [(_, fields)] = await stream(redis)
    # Only a frame appended by a re-send carries the mark.
    assert fields == ({b"f": b"a"} if executed else {b"f": b"a", b"r": b"r"})
    assert await accepted(redis) == 1


async def test_frames_behind_a_spooled_one_keep_their_order(redis: Redis, spool: Spool) -> None:
    producer = make_producer(redis, spool)
    producer.publish = Lossy(producer.publish, 4, executed=False)
    sent = [str(number).encode() for number in range(50)]
    for line in sent:
        await send(producer, line)
    await drained(producer)
    assert await lines(redis) == sent
    assert await send(producer, b"straight") == []
    assert await accepted(redis) == 51


async def test_clicks_that_a_fault_of_ours_lost_are_counted_as_shed(
    redis: Redis, spool: Spool
) -> None:
    producer = make_producer(redis, spool)

    async def fail(calls: Sequence[ScriptCall], /) -> list[PublishReply]:
        raise KeyError("a fault of ours")

    producer.publish = fail
    clicks = ClickPublisher(producer, EdgeSettings())
    await clicks.publish("a")
    assert clicks.unreported_shed == 1


async def test_a_delayed_original_after_its_resend_changes_nothing(
    redis: Redis, spool: Spool
) -> None:
    producer = make_producer(redis, spool)
    publish = producer.publish
    delayed: list[Sequence[ScriptCall]] = []

    async def delay_the_first(calls: Sequence[ScriptCall], /) -> list[PublishReply]:
        if not delayed:
            delayed.append(calls)
            raise RedisConnectionError("delayed")
        return await publish(calls)

    producer.publish = delay_the_first
    await send(producer, b"a")
    await drained(producer)
    assert [reply.status for reply in await publish(delayed[0])] == [FrameStatus.duplicate]
    assert await lines(redis) == [b"a"]


async def test_a_gap_is_refused_by_the_script(redis: Redis, spool: Spool) -> None:
    producer = make_producer(redis, spool)
    keys = [STREAM.key, STREAM.producer_key("x"), STREAM.ledger_key]
    for number in (2, 1):
        # A producer's numbering ends with its first gap, also for delayed frames.
        [reply] = await producer.publish([ScriptCall(keys, [number, 0, "", 1, b"a"])])
        assert reply.status is FrameStatus.gap
    assert await stream(redis) == []


async def test_a_server_that_forgot_the_producer_takes_the_frame_marked(
    redis: Redis, spool: Spool
) -> None:
    producer = make_producer(redis, spool)
    await send(producer, b"a")
    await forget(redis)
    await send(producer, b"b")
    assert [b"r" in fields for _, fields in await stream(redis)] == [False, True]


async def test_spooled_frames_are_renumbered_and_marked_where_redis_forgot(
    redis: Redis, spool: Spool
) -> None:
    producer = make_producer(redis, spool)
    await send(producer, b"a")
    producer.publish = Lossy(producer.publish, 4, executed=False)
    for line in (b"b", b"c", b"d"):
        await send(producer, line)
    await forget(redis)
    await drained(producer)
    assert await lines(redis) == [b"a", b"b", b"c", b"d"]
    assert [b"r" in fields for _, fields in await stream(redis)] == [False, True, True, True]


async def test_what_a_dead_worker_spooled_is_drained_by_its_successor(
    redis: Redis, tmp_path: Path
) -> None:
    first = open_spool(tmp_path, MAX_BYTES, new_producer)
    dead = make_producer(redis, first)
    dead.publish = Lossy(dead.publish, 1_000_000, executed=False)
    for line in (b"a", b"b"):
        await send(dead, line)
    assert list(open_abandoned_spools(tmp_path, MAX_BYTES, new_producer)) == []
    assert dead.drain_task is not None
    dead.drain_task.cancel()
    await first.close()
    [left] = open_abandoned_spools(tmp_path, MAX_BYTES, new_producer)
    successor = make_producer(redis, left)
    await drained(successor)
    assert await lines(redis) == [b"a", b"b"]
    # The dead worker may have sent the first one, so that it carries the mark.
    assert [b"r" in fields for _, fields in await stream(redis)] == [True, False]
    assert await send(successor, b"c") == []
    await left.close()


async def test_clicks_that_an_older_version_spooled_are_appended_and_counted(
    redis: Redis, spool: Spool
) -> None:
    # Its payload began with the number of events.
    await spool.add(Frame(STREAM.number, 2, Payload([], [b"2", b"a\nb"])))
    await drained(make_producer(redis, spool))
    assert await lines(redis) == [b"a", b"b"]
    assert await accepted(redis) == 2


async def test_a_broken_spool_file_is_set_aside(tmp_path: Path) -> None:
    broken = tmp_path / "old.spool"
    broken.write_bytes(b"this is no database, but long enough to be read as one" * 100)
    opened = open_spool(tmp_path, MAX_BYTES, new_producer)
    assert (tmp_path / "old.spool.bad").exists()
    assert opened.total_events == 0
    await opened.close()


async def test_a_full_spool_refuses_and_goes_on_when_it_is_drained(
    redis: Redis, tmp_path: Path
) -> None:
    small = open_spool(tmp_path, 1, new_producer)
    producer = make_producer(redis, small)
    lossy = Lossy(producer.publish, 1_000_000, executed=False)
    producer.publish = lossy
    taken = 0
    with pytest.raises(Rejected):
        while taken < 10_000:
            await send(producer, b"x" * 1_000)
            taken += 1
    assert taken > 10
    lossy.lost = 0
    await drained(producer)
    await send(producer, b"last")
    assert len(await lines(redis)) == taken + 1
    await small.close()


async def test_ids_pass_to_the_next_millisecond_before_the_sequence_is_used_up(
    redis: Redis, spool: Spool
) -> None:
    ahead = 4_000_000_000_000
    await call(redis, "XADD", STREAM.key, f"{ahead}-999999", "f", b"a")
    producer = make_producer(redis, spool)
    await send(producer, b"b")
    await send(producer, b"c")
    ids = [entry_id for entry_id, _ in await stream(redis)]
    assert ids[-2:] == [b"%d-1000000" % ahead, b"%d-1" % (ahead + 1)]
