"""The idempotent producer on a real server, with replies lost between the two."""

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis

from ingest.lane import Lane
from ingest.producer import Producer
from linkjolt import names
from linkjolt.errors import Rejected
from linkjolt.redis_client import RedisConnectionError, StreamEntry, call, entries

STREAM = names.clicks(0)


def producer(redis: Redis, attempts: int = 4) -> Producer:
    return Producer(redis, STREAM, "publish_clicks.lua", attempts)


async def stream(redis: Redis) -> list[StreamEntry]:
    return await entries(redis, STREAM.key, "-")


async def accepted(redis: Redis) -> int:
    hours: dict[bytes, bytes] = await call(redis, "HGETALL", STREAM.ledger)
    return sum(int(count) for count in hours.values())


class Lossy:
    """Stands in front of a producer's script: executes it, then loses the first replies."""

    def __init__(self, script: Any, lost: int, *, executed: bool) -> None:
        self.script, self.lost, self.executed = script, lost, executed

    async def __call__(self, **words: Any) -> Any:
        if self.lost == 0:
            return await self.script(**words)
        self.lost -= 1
        if self.executed:
            await self.script(**words)
        raise RedisConnectionError("lost")


def losing(made: Producer, lost: int, *, executed: bool) -> Producer:
    made.script = Lossy(made.script, lost, executed=executed)
    return made


async def test_a_frame_is_appended_and_counted(redis: Redis) -> None:
    made = producer(redis)
    await made.send([], [2, b"a\nb"])
    await made.send([], [1, b"c"])
    assert [fields for _, fields in await stream(redis)] == [{b"f": b"a\nb"}, {b"f": b"c"}]
    assert await accepted(redis) == 3


@pytest.mark.parametrize("executed", [True, False])
async def test_a_lost_reply_appends_once(redis: Redis, executed: bool) -> None:
    made = losing(producer(redis), 2, executed=executed)
    await made.send([], [1, b"a"])
    [(_, fields)] = await stream(redis)
    # Only what a re-send appended carries the mark.
    assert fields == ({b"f": b"a"} if executed else {b"f": b"a", b"r": b"r"})
    assert await accepted(redis) == 1


async def test_a_delayed_original_after_its_resend_changes_nothing(redis: Redis) -> None:
    made = producer(redis)
    await made.send([], [1, b"a"])
    keys = [STREAM.key, STREAM.producer(made.id), STREAM.ledger]
    answer = await made.script(keys=keys, args=[1, "", 1, b"a"])
    assert answer == [b"there"]
    assert len(await stream(redis)) == 1


async def test_a_gap_is_refused_by_the_script(redis: Redis) -> None:
    made = producer(redis)
    keys = [STREAM.key, STREAM.producer("x"), STREAM.ledger]
    assert await made.script(keys=keys, args=[2, "", 1, b"a"]) == [b"gap"]
    assert await stream(redis) == []


async def test_a_server_that_forgot_the_producer_takes_the_frame_marked(redis: Redis) -> None:
    made = producer(redis)
    await made.send([], [1, b"a"])
    await call(redis, "DEL", STREAM.producer(made.id))
    await made.send([], [1, b"b"])
    assert [b"r" in fields for _, fields in await stream(redis)] == [False, True]


async def test_after_giving_up_later_frames_are_taken(redis: Redis) -> None:
    made = losing(producer(redis, attempts=2), 2, executed=True)
    with pytest.raises(Rejected):
        await made.send([], [1, b"a"])
    await made.send([], [1, b"b"])
    assert [fields[b"f"] for _, fields in await stream(redis)] == [b"a", b"b"]


async def test_ids_pass_to_the_next_millisecond_before_the_sequence_is_used_up(
    redis: Redis,
) -> None:
    ahead = 4_000_000_000_000
    await call(redis, "XADD", STREAM.key, f"{ahead}-999999", "f", b"a")
    made = producer(redis)
    await made.send([], [1, b"b"])
    await made.send([], [1, b"c"])
    ids = [entry_id for entry_id, _ in await stream(redis)]
    assert ids[-2:] == [b"%d-1000000" % ahead, b"%d-1" % (ahead + 1)]


async def test_one_frame_is_under_way_while_the_next_one_grows() -> None:
    frames: list[list[int]] = []
    release = asyncio.Event()

    async def send(events: list[int]) -> int:
        frames.append(events)
        await release.wait()
        return len(frames)

    lane = Lane(send, frame_events_max=3, waiting_max_bytes=100)
    answers = [lane.add(1, 1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answers += [lane.add(number, 1) for number in (2, 3, 4, 5)]
    release.set()
    assert [(await future, place) for future, place in answers] == [
        (1, 0),
        (2, 0),
        (2, 1),
        (2, 2),
        (3, 0),
    ]
    assert frames == [[1], [2, 3, 4], [5]]


async def test_a_failed_frame_is_told_and_the_next_one_goes() -> None:
    async def send(events: list[int]) -> int:
        if events == [1]:
            raise ZeroDivisionError
        return 7

    lane = Lane(send, frame_events_max=1, waiting_max_bytes=100)
    (first, _), (second, _) = lane.add(1, 1), lane.add(2, 1)
    with pytest.raises(ZeroDivisionError):
        await first
    assert await second == 7


async def test_what_waits_is_bounded() -> None:
    async def send(events: list[bytes]) -> None:
        await asyncio.Event().wait()

    lane = Lane(send, frame_events_max=10, waiting_max_bytes=100)
    lane.add(b"", 60)
    with pytest.raises(Rejected):
        lane.add(b"", 60)
