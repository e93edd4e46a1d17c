"""Sends both edges the same bytes, and compares their answers and clicks."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from linkjolt.events import Click
from loadtests.edge_pair import ClickStreamReader, EdgePair
from loadtests.wire import Answers, ParsedHeads, Wire, normalised, read_heads

STILL_OPEN = b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n"
_LATER = b"GET /tc_PLAIN?sub1=later HTTP/1.1\r\nHost: edge\r\n\r\n"


@dataclass
class CommonAnswer:
    """The answer of both edges, and the clicks that both stored."""

    statuses: tuple[int, ...]
    ended: bool
    text: str
    clicks: list[Click]


class Both:
    """Asks both edges the same; AssertionError where they differ."""

    def __init__(self, pair: EdgePair) -> None:
        self.pair = pair
        self._clicks = [ClickStreamReader(edge) for edge in pair.edges]

    def new_clicks(self) -> tuple[list[Click], list[Click]]:
        """Returns the clicks that each edge has stored since the last call."""
        ordinary, fast = [clicks.read_new() for clicks in self._clicks]
        return ordinary, fast

    def close(self) -> None:
        for clicks in self._clicks:
            clicks.close()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[Wire, Wire]]:
        """Opens a new connection to each edge."""
        first, second = self.pair.edges
        async with Wire.open(first.port) as ordinary, Wire.open(second.port) as fast:
            yield ordinary, fast

    async def ask(self, *segments: bytes) -> CommonAnswer:
        """Sends the segments on new connections; those still open must answer in step."""
        async with self.open() as wires:
            answer = await self.ask_on(wires, *segments)
            if not answer.ended:
                assert (await self.ask_on(wires, STILL_OPEN)).statuses == (200,)
            return answer

    async def ask_on(self, wires: tuple[Wire, Wire], *segments: bytes) -> CommonAnswer:
        """As `ask`, on open connections; waits between segments until they are read."""
        for segment in segments[:-1]:
            for wire in wires:
                wire.send(segment)
            await asyncio.gather(*(self._was_read(edge.port) for edge in self.pair.edges))
        for wire in wires:
            wire.send(segments[-1])
        return await self.compare(wires, read_heads(b"".join(segments)))

    async def _was_read(self, port: int) -> None:
        # An edge reads its connections in the order in which their data arrives.
        async with Wire.open(port) as wire:
            assert (await wire.ask(STILL_OPEN)).statuses == (200,)

    async def compare(self, wires: tuple[Wire, Wire], due: ParsedHeads) -> CommonAnswer:
        """Compares the answers to requests already sent, and the clicks stored since."""
        ordinary, fast = [await wire.read(due) for wire in wires]
        assert normalised(fast.raw) == normalised(ordinary.raw)
        assert fast.ended == ordinary.ended
        assert not fast.silent
        assert not ordinary.silent
        if len(fast.statuses) < len(due.methods):
            await self._store()
        expected, clicks = self.new_clicks()
        assert clicks == expected
        return _common_answer(fast, clicks)

    async def _store(self) -> None:
        """Waits until unanswered clicks are stored: a later click is stored after them."""
        for edge in self.pair.edges:
            async with Wire.open(edge.port) as wire:
                assert (await wire.ask(_LATER)).statuses == (302,)


def _common_answer(answers: Answers, clicks: list[Click]) -> CommonAnswer:
    text = normalised(answers.raw).decode("latin-1")
    asked_for = [click for click in clicks if click.sub1 != "later"]
    return CommonAnswer(answers.statuses, answers.ended, text, asked_for)
