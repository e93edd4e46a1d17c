"""Group commit sends one frame at a time, and bounds the events that wait."""

import asyncio

import pytest

from ingest.publishing.group_commit import GroupCommit
from linkjolt.reasons import Rejected


async def test_one_frame_is_under_way_while_the_next_one_grows() -> None:
    frames: list[list[int]] = []
    release = asyncio.Event()

    async def send(events: list[int]) -> int:
        frames.append(events)
        await release.wait()
        return len(frames)

    group_commit = GroupCommit(send, frame_events_max=3, waiting_max_bytes=100)
    answers = [group_commit.add(1, 1)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    answers += [group_commit.add(1, number) for number in (2, 3, 4, 5)]
    release.set()
    assert [(await future, index) for future, index in answers] == [
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

    group_commit = GroupCommit(send, frame_events_max=1, waiting_max_bytes=100)
    (first, _), (second, _) = group_commit.add(1, 1), group_commit.add(1, 2)
    with pytest.raises(ZeroDivisionError):
        await first
    assert await second == 7


async def test_what_waits_is_bounded() -> None:
    async def send(events: list[bytes]) -> None:
        await asyncio.Event().wait()

    group_commit = GroupCommit(send, frame_events_max=10, waiting_max_bytes=100)
    group_commit.add(60, b"")
    with pytest.raises(Rejected):
        group_commit.add(60, b"")
