"""A fast edge answers clicks itself, and leaves other requests to the application."""

import asyncio

from loadtests.edge_pair import ClickStreamReader, EdgePair
from loadtests.wire import Wire
from tests.conformance.cases import CLICK, CLICK_PATH, request
from tests.conformance.clocked import Clocked, Running

UNKNOWN_PATH = "/nothing-here"
UNKNOWN = request(UNKNOWN_PATH)


def test_only_a_fast_edge_answers_a_click_before_the_application(run: Running) -> None:
    async def scenario(edge: Clocked) -> None:
        async with Wire.open(edge.port) as wire:
            clicks, others = edge.reached(CLICK_PATH), edge.reached(UNKNOWN_PATH)
            assert (await wire.ask(CLICK)).statuses == (302,)
            assert edge.reached(CLICK_PATH) - clicks == (0 if edge.fast else 1)
            assert (await wire.ask(UNKNOWN)).statuses == (404,)
            assert edge.reached(UNKNOWN_PATH) - others == 1

    run(scenario)


def test_a_visitor_who_does_not_read_gets_only_so_many_answers(
    run: Running, pair: EdgePair
) -> None:
    large = request("/tc_PLAIN?" + "&".join(f"x{number}={'v' * 500}" for number in range(15)))
    clicks = ClickStreamReader(pair.ordinary)
    clicks.read_new()

    async def scenario(edge: Clocked) -> None:
        # Two bytes are as much as it takes unread.
        _, visitor = await asyncio.open_unix_connection(edge.socket, limit=1)
        async with Wire.open(edge.port) as other:
            for _ in range(100):
                visitor.write(large)
                # Stored after the one before it, which is answered by then.
                assert (await other.ask(CLICK)).statuses == (302,)
        visitor.transport.abort()

    run(scenario)
    assert 0 < len([click for click in clicks.read_new() if click.params]) < 100
    clicks.close()
