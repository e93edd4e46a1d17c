"""A large body, however hostile, holds the loop of an edge only for moments at a time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis
from starlette.types import ASGIApp

from linkjolt.logs import mask_text
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.store import Registry
from linkjolt.runtime.loop_slices import LoopSlices, in_slices
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.web.json_structure import NESTING_MAX, check_depth, check_structure
from loadtests.longest_turn import (
    create_links,
    get_list,
    hostile_lines,
    open_app,
    post,
    repeat,
    running_clock,
)

JSON, LINES = "application/json", "application/x-ndjson"
BULK, CONVERSIONS, ADJUSTMENTS = "/v1/links/bulk", "/v1/conversions", "/v1/adjustments"
# Turns are shorter by far on an idle machine, and were longer by far before work was divided.
TURN_MAX_SECONDS = 1.5
# Lines of nearly 64 KB, up to the bound of a body.
HOSTILE = b"\n".join((hostile_lines() * 20)[:165])


@pytest.fixture
async def app(redis: Redis, redis_server: RedisServer, tmp_path: Path) -> AsyncGenerator[ASGIApp]:
    del redis
    async with open_app(redis_server.url, tmp_path) as app:
        yield app


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        (BULK, b'{"links":[' + repeat(b"["), 400),
        (BULK, b'{"links":["' + b'",' + repeat(b"[{"), 400),
        (BULK, b'{"links":["' + repeat(b"[") + b'"]}', 200),
        (BULK, b'{"links":[' + repeat(b"[],") + b"0]}", 422),
        (BULK, b'{"links":[[' + repeat(b"[],") + b"0]]}", 200),
        (BULK, b'{"links":["' + repeat(b'\\"') + b'"]}', 200),
        (CONVERSIONS, repeat(b"["), 400),
        (CONVERSIONS, b"[" + repeat(b"[],") + b"0]", 422),
        (CONVERSIONS, b"[[" + repeat(b"[],") + b"0]]", 200),
        (ADJUSTMENTS, repeat(b"["), 400),
        (ADJUSTMENTS, b"[" + repeat(b"{},") + b"0]", 422),
        (ADJUSTMENTS, b"[[" + repeat(b"[],") + b"0]]", 200),
    ],
    ids=lambda value: value[:24].decode() if isinstance(value, bytes) else str(value),
)
async def test_ten_megabytes_of_json_leave_the_loop_to_others(
    app: ASGIApp, path: str, body: bytes, status: int
) -> None:
    async with running_clock() as clock:
        assert await post(app, path, JSON, body) == status
    assert clock.longest_seconds < TURN_MAX_SECONDS


@pytest.mark.parametrize("path", [CONVERSIONS, ADJUSTMENTS])
@pytest.mark.parametrize(
    ("media_type", "body"),
    [(LINES, HOSTILE), (JSON, b"[%b]" % HOSTILE.replace(b"}\n{", b"},{"))],
    ids=["lines", "array"],
)
async def test_entries_of_a_batch_are_judged_in_many_turns(
    app: ASGIApp, path: str, media_type: str, body: bytes
) -> None:
    async with running_clock() as clock:
        before = 0

        def note_turns() -> None:
            nonlocal before
            before = clock.turns

        assert await post(app, path, media_type, body, note_turns) == 200
    if media_type == JSON:
        # Some 180: for the slices of the array's structure, and for each entry or a few.
        assert clock.turns - before > 50
    assert clock.longest_seconds < TURN_MAX_SECONDS


async def test_empty_lines_of_adjustments_take_no_longer_than_they_arrive(app: ASGIApp) -> None:
    async with running_clock() as clock:
        assert await post(app, ADJUSTMENTS, LINES, repeat(b"\n")) == 200
    assert clock.longest_seconds < TURN_MAX_SECONDS


async def test_a_link_of_many_is_bounded_like_a_single_one(app: ASGIApp) -> None:
    link = b'{"campaign_id":"cmp_1","affiliate_id":"aff_1","destination":"https://a.example/"%b}'
    body = b'{"links":[' + link % b"" + b"," + link % (b" " * 70_000) + b"]}"
    assert await post(app, BULK, JSON, body) == 200


async def test_links_given_twice_are_refused(app: ASGIApp) -> None:
    link = b'{"campaign_id":"cmp_1","affiliate_id":"aff_1","destination":"https://a.example/"}'
    assert await post(app, BULK, JSON, b'{"links":[%b],"links":[]}' % link) == 422
    assert await post(app, BULK, JSON, b'{"links":[],"l\\u0069nks":[%b]}' % link) == 422


def _spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


async def test_one_slice_of_all_long_work_runs_in_a_turn() -> None:
    slices_since_turn, most = 0, 0

    async def work() -> None:
        nonlocal slices_since_turn, most
        slices = LoopSlices()
        for _ in range(10):
            await slices.next()
            slices_since_turn += 1
            most = max(most, slices_since_turn)

    async def others() -> None:
        nonlocal slices_since_turn
        while True:
            slices_since_turn = 0
            await asyncio.sleep(0)

    other = asyncio.ensure_future(others())
    await asyncio.gather(*(work() for _ in range(20)))
    other.cancel()
    assert most == 1


async def test_long_work_is_divided_by_its_time() -> None:
    async with running_clock() as clock:
        taken = [number async for number in _spinning(range(20))]
    assert taken == list(range(20))
    # Each item takes as long as a slice.
    assert clock.turns >= 20


async def _spinning(items: range) -> AsyncGenerator[int]:
    async for item in in_slices(items):
        _spin(0.006)
        yield item


async def test_work_that_is_cancelled_leaves_its_turn_to_the_next() -> None:
    first, second = (asyncio.ensure_future(LoopSlices().next()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait_for(second, 5)
    await asyncio.wait_for(LoopSlices().next(), 5)


_BORDER = 32 << 10


@pytest.mark.parametrize("before", range(_BORDER - 12, _BORDER + 2))
@pytest.mark.parametrize(
    ("text", "is_open"),
    [
        (rb'"\\"', False),
        (rb'"\\\"[', True),
        (rb'"\"', True),
        (rb'"\\\\\\"', False),
        (rb'"\u005c"', False),
        (b'"\\"\\"[[[",', False),
    ],
)
def test_texts_and_escapes_are_read_alike_on_both_sides_of_a_slice(
    before: int, text: bytes, is_open: bool
) -> None:
    body = b"[" + b" " * before + text + b"[" * NESTING_MAX
    check = _raises_too_deep(lambda: check_depth(body))
    assert check is not is_open


def _raises_too_deep(check: Callable[[], None]) -> bool:
    try:
        check()
    except Rejected as refused:
        return refused.reason is Reason.too_deep
    return False


@pytest.mark.parametrize(
    ("body", "level", "is_within"),
    [
        (b"[1,2,3]", 1, True),
        (b"[1,2,3,4]", 1, False),
        (b'["a,b,c,d",[1,2,3,4],{"a":1,"b":2,"c":3,"d":4}]', 1, True),
        (b'{"links":[1,2,3]}', 2, True),
        (b'{"links":[1,2,3,4]}', 2, False),
        (b'{"links":[[1,2,3,4,5]]}', 2, True),
        (b"[" + b"[0]," * 40 + b"0]", 2, True),
        (b"[1" + b" " * _BORDER + b",2" + b" " * _BORDER + b",3,4]", 1, False),
    ],
)
async def test_entries_are_counted_at_one_level(body: bytes, level: int, is_within: bool) -> None:
    assert await check_structure(body, level, 3) is is_within


def test_a_long_word_in_a_log_line_is_read_once() -> None:
    began = time.perf_counter()
    assert mask_text("a" * 30_000) == "a" * 30_000
    # From each of its characters on it took 3 s.
    assert time.perf_counter() - began < TURN_MAX_SECONDS
    assert mask_text("to a.b+c%40x@shop.example, %40y.z") == "to ***@***, %40y.z"


@pytest.mark.parametrize("query", ["q=nothing", "sort=-tracking_code&limit=1000", "limit=1000"])
async def test_a_list_of_many_links_is_searched_in_many_turns(
    app: ASGIApp, redis: Redis, query: str
) -> None:
    await create_links(Registry(redis), 10_000)
    for _ in range(2):
        async with running_clock() as clock:
            assert b'"total":' in await get_list(app, query)
        assert clock.turns > 5
        assert clock.longest_seconds < TURN_MAX_SECONDS
