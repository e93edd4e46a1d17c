"""Group commit: one frame under way, what comes meanwhile is the next, and it is bounded."""

import asyncio

import pytest

from ingest.publishing.group_commit import Lane
from linkjolt.reasons import Rejected


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
    answers += [lane.add(1, number) for number in (2, 3, 4, 5)]
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
    (first, _), (second, _) = lane.add(1, 1), lane.add(1, 2)
    with pytest.raises(ZeroDivisionError):
        await first
    assert await second == 7


async def test_what_waits_is_bounded() -> None:
    async def send(events: list[bytes]) -> None:
        await asyncio.Event().wait()

    lane = Lane(send, frame_events_max=10, waiting_max_bytes=100)
    lane.add(60, b"")
    with pytest.raises(Rejected):
        lane.add(60, b"")
