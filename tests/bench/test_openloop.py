"""The steady client sends every due click and charges a stall to the clicks it delays."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from loadtests.bench.openloop import (
    ClickLatencies,
    answer_bytes,
    click_steadily,
    due_seconds,
    percentile,
)
from loadtests.bench.ticks import ticking

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="its ticks are Linux's")
REDIRECT = b"HTTP/1.1 302 Found\r\nContent-Length: 5\r\nLocation: /\r\n\r\nmoved"
Answer = Callable[[int], Awaitable[bytes]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncGenerator[int]:
    """Serves `answer(number)` for each request, numbered from 0; yields the port."""
    count = 0
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        task = asyncio.current_task()
        assert task
        serving.add(task)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            number, count = count, count + 1
            writer.write(await answer(number))
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1]
        await asyncio.gather(*serving)


async def redirect(_: int) -> bytes:
    return REDIRECT


def test_clicks_are_due_at_the_begin_of_a_millisecond_and_evenly_over_a_second() -> None:
    due = [due_seconds(number, 2_500) for number in range(2_500)]
    assert due[:5] == [0, 0, 0, 0.001, 0.001]
    assert due == sorted(due)
    assert 0.998 < due[-1] < 1


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 201)]
    assert percentile(values, 0.5) == 100
    assert percentile(values, 0.99) == 198
    assert percentile(values, 1) == 200
    assert percentile([], 0.99) == 0


@pytest.mark.parametrize("received", [REDIRECT[:-1], REDIRECT[:20], b""])
def test_an_answer_in_pieces_is_not_one_yet(received: bytes) -> None:
    assert answer_bytes(received) is None


def test_an_answer_ends_with_its_body() -> None:
    assert answer_bytes(REDIRECT) == len(REDIRECT)
    assert answer_bytes(b"HTTP/1.1 302 Found\r\n\r\n") == 22


async def test_every_click_due_is_sent_and_answered() -> None:
    async with server(redirect) as port:
        timed = await click_steadily(port, 500, 0.1, 0.3, 8)
    assert (timed.due, timed.answered, timed.problems()) == (200, 200, [])
    assert 0 < timed.p50_ms <= timed.p99_ms <= timed.max_ms


async def test_a_stall_is_charged_to_the_clicks_that_could_not_be_sent_meanwhile() -> None:
    async def stalls_once(number: int) -> bytes:
        if number == 50:
            await asyncio.sleep(0.2)
        return REDIRECT

    async with server(stalls_once) as port:
        timed = await click_steadily(port, 500, 0, 0.6, 1)
    # A client that asks only after each answer would have one slow click of 300: p99 of about 1.
    assert timed.p99_ms > 100
    assert timed.max_ms >= 200


async def test_an_answer_that_is_no_redirect_is_a_problem() -> None:
    async def fails_once(number: int) -> bytes:
        return REDIRECT if number else b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"

    async with server(fails_once) as port:
        timed = await click_steadily(port, 500, 0, 0.1, 2)
    assert timed.problems() == ["1 answers that are no 302"]


async def test_ticks_come_until_they_are_left() -> None:
    enough, seen = asyncio.Event(), 0

    def tick() -> None:
        nonlocal seen
        seen += 1
        if seen == 5:
            enough.set()

    with ticking(0.001, tick):
        await asyncio.wait_for(enough.wait(), 5)
    left_at = seen
    await asyncio.sleep(0.01)
    assert seen == left_at


def test_clicks_without_an_answer_are_a_problem() -> None:
    times = {"p50_ms": 1.0, "p99_ms": 1.0, "max_ms": 1.0, "late_p99_ms": 0.0}
    timed = ClickLatencies(due=10, answered=7, not_redirects=0, lost_connections=3, **times)
    assert timed.problems() == ["3 connections lost", "3 clicks without an answer"]
