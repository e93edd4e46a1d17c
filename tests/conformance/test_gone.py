"""Clicks survive visitors who leave or never read, and edges that stop, while Redis stalls."""

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from linkjolt.events import Click
from loadtests import edge_pair
from loadtests.edge_pair import ClickStreamReader, EdgePair, PairedEdge
from loadtests.wire import ParsedHeads, Wire, read_heads
from tests.conformance.both import STILL_OPEN
from tests.conformance.cases import CLICK, FIREFOX, request
from tests.conformance.test_posts import Stored, order, post
from tests.waiting import wait_until

CLOSED = request("/tc_OFF")
# Read until the connection ends.
_ALL = ParsedHeads((), "bad")


def click(name: str) -> bytes:
    return request(f"/tc_PLAIN?sub1={name}", FIREFOX)


@pytest.fixture(scope="module")
def stoppable_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgePair]:
    """Runs a pair whose Redis the tests may stop."""
    with edge_pair.running(tmp_path_factory.mktemp("gone"), redis_timeout_seconds=0.25) as pair:
        yield pair


@pytest.fixture(params=["ordinary", "fast"])
def edge(request: pytest.FixtureRequest, stoppable_pair: EdgePair) -> PairedEdge:
    return stoppable_pair.fast if request.param == "fast" else stoppable_pair.ordinary


@asynccontextmanager
async def stalled(edge: PairedEdge) -> AsyncGenerator[None]:
    """Stops Redis: clicks wait a quarter of a second, then go to the edge's disk."""
    os.kill(edge.redis_process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(edge.redis_process.pid, signal.SIGCONT)


async def was_read(edge: PairedEdge) -> None:
    """Waits until earlier data is read: an edge reads connections in the order of their data."""
    async with Wire.open(edge.port) as wire:
        assert (await wire.ask(STILL_OPEN)).statuses == (200,)


async def stored(clicks: ClickStreamReader, names: Sequence[str]) -> None:
    """Waits until exactly the clicks of these names are stored."""
    new_clicks: list[Click] = []

    def all_there() -> bool:
        new_clicks.extend(clicks.read_new())
        return len(new_clicks) >= len(names)

    await wait_until(all_there)
    assert sorted(click.sub1 for click in new_clicks) == sorted(names)


@pytest.fixture
def clicks(edge: PairedEdge) -> Iterator[ClickStreamReader]:
    reader = ClickStreamReader(edge)
    reader.read_new()
    yield reader
    reader.close()


async def test_a_click_whose_visitor_is_gone_is_stored(
    edge: PairedEdge, clicks: ClickStreamReader
) -> None:
    async with stalled(edge), Wire.open(edge.port) as left, Wire.open(edge.port) as stays:
        left.send(click("left"))
        stays.send(click("stays"))
        await was_read(edge)
        left.reset()
        assert (await stays.read(read_heads(CLICK))).statuses == (302,)
    await stored(clicks, ["left", "stays"])
    assert edge.errors() == []


async def test_a_visitor_gone_with_requests_in_line_harms_nobody(
    edge: PairedEdge, clicks: ClickStreamReader
) -> None:
    async with stalled(edge), Wire.open(edge.port) as left, Wire.open(edge.port) as stays:
        left.send(click("left"))
        await was_read(edge)
        left.send(click("in-line"))
        stays.send(click("stays"))
        await was_read(edge)
        left.reset()
        assert (await stays.read(read_heads(CLICK))).statuses == (302,)
        assert (await stays.ask(click("stays-too"))).statuses == (302,)
    await stored(clicks, ["left", "stays", "stays-too"])
    assert edge.errors() == []


async def test_a_connection_ended_for_a_bad_body_harms_nobody(
    edge: PairedEdge, clicks: ClickStreamReader
) -> None:
    bad = request("/v1/conversions", "Transfer-Encoding: chunked", method="POST") + b"zzz\r\n"
    async with AsyncExitStack() as stack:
        first, ended, stays = [
            await stack.enter_async_context(Wire.open(edge.port)) for _ in range(3)
        ]
        async with stalled(edge):
            # The first click is its own frame; those behind it wait for the next one.
            for wire, name in ((first, "first"), (ended, "ended"), (stays, "stays")):
                wire.send(click(name))
                await was_read(edge)
            ended.send(bad)
            assert (await ended.read(_ALL)).statuses == (302,)
            assert (await stays.read(read_heads(CLICK))).statuses == (302,)
    await stored(clicks, ["first", "ended", "stays"])
    assert edge.errors() == []


async def test_a_visitor_who_says_that_he_sends_no_more_is_let_go(edge: PairedEdge) -> None:
    async with Wire.open(edge.port) as wire:
        assert (await wire.ask(CLICK)).statuses == (302,)
        wire.writer.write_eof()
        assert await wire.reader.read() == b""


async def test_a_visitor_who_does_not_read_keeps_nobody_waiting(
    edge: PairedEdge, clicks: ClickStreamReader
) -> None:
    loop = asyncio.get_running_loop()
    sent = CLICK * 3_000
    with socket.socket() as visitor:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        visitor.setblocking(False)
        await loop.sock_connect(visitor, ("127.0.0.1", edge.port))
        sending = asyncio.create_task(loop.sock_sendall(visitor, sent))
        for _ in range(20):
            async with Wire.open(edge.port) as wire:
                assert (await wire.ask(CLICK + CLICK)).statuses == (302, 302)
        assert len(clicks.read_new()) < 3_000
        got = bytearray()
        while got.count(b"\r\n\r\n") < 3_000:
            got += await loop.sock_recv(visitor, 1 << 20)
        await sending
    assert got.count(b"HTTP/1.1 302 ") == 3_000
    assert edge.errors() == []


async def test_requests_in_line_behind_a_click_that_waits_are_answered_in_order(
    edge: PairedEdge, clicks: ClickStreamReader
) -> None:
    line = click("a") + CLOSED + click("b") + request("/tc_PLAIN?sub1=c", method="HEAD")
    async with stalled(edge), Wire.open(edge.port) as wire:
        wire.send(click("first"))
        await was_read(edge)
        wire.send(line)
        answers = await wire.read(read_heads(click("first") + line))
        assert answers.statuses == (302, 302, 410, 302, 302)
        assert re.findall(rb"sub1=(\w+)", answers.raw) == [b"first", b"a", b"b", b"c"]
    await stored(clicks, ["first", "a", "b", "c"])


async def test_posts_are_queued_while_redis_stalls_and_one_whose_shop_is_gone_is_kept(
    edge: PairedEdge,
) -> None:
    conversions = Stored(edge)
    # From the third time on an edge need not look a key up.
    first = [f"{edge.fast} {number}" for number in range(3)]
    async with Wire.open(edge.port) as left, Wire.open(edge.port) as stays:
        for name in first:
            assert (await stays.ask(post(order(name)))).statuses == (201,)
        async with stalled(edge):
            left.send(post(order("left")))
            stays.send(post(order("stays")))
            await was_read(edge)
            left.reset()
            answers = await stays.read(read_heads(post(order("stays"))))
            assert answers.statuses == (202,)
            assert b'"status":"queued"' in answers.raw
    order_ids: list[str] = []

    async def all_there() -> bool:
        order_ids.extend(conversion.order_id for conversion in await conversions.new())
        return len(order_ids) >= 5

    await wait_until(all_there)
    assert sorted(order_ids) == sorted([*first, "left", "stays"])
    assert edge.errors() == []


async def test_a_stopped_edge_answers_whole_requests_and_ends(
    edge: PairedEdge, clicks: ClickStreamReader
) -> None:
    sent = {
        "one": click("one"),
        "three": click("a") + click("b") + click("c"),
        "one and a part": click("whole") + CLICK[:30],
        "a part": CLICK[:30],
        "nothing": b"",
    }
    async with AsyncExitStack() as stack:
        wires = {name: await stack.enter_async_context(Wire.open(edge.port)) for name in sent}
        wires["rests"] = await stack.enter_async_context(Wire.open(edge.port))
        assert (await wires["rests"].ask(STILL_OPEN)).statuses == (200,)
        async with stalled(edge):
            for name, data in sent.items():
                wires[name].send(data)
            await was_read(edge)
            assert edge.process
            edge.process.terminate()
            answers = {name: await wire.read(_ALL) for name, wire in wires.items()}
    assert edge.process.wait(10) == 0
    assert {name: answer.statuses for name, answer in answers.items() if answer.statuses} == {
        "one": (302,),
        "three": (302, 302, 302),
        "one and a part": (302,),
    }
    assert all(answer.ended for answer in answers.values())
    edge.spawn()
    await edge.wait_ready()
    await stored(clicks, ["one", "a", "b", "c", "whole"])
    assert edge.errors() == []
