"""Both edges asked the same, byte for byte, and their answers and clicks compared."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from linkjolt.events import Click
from loadtests.edge_pair import Clicks, Pair
from loadtests.wire import Answers, Heads, Wire, normalised, read_heads

STILL_OPEN = b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n"
_LATER = b"GET /tc_PLAIN?sub1=later HTTP/1.1\r\nHost: edge\r\n\r\n"


@dataclass
class Said:
    """What both edges answered and stored alike."""

    statuses: tuple[int, ...]
    ended: bool
    text: str
    clicks: list[Click]


class Both:
    """Asks both edges the same; AssertionError where they differ."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self._clicks = [Clicks(edge) for edge in pair.edges]

    def new_clicks(self) -> tuple[list[Click], list[Click]]:
        """What each has stored since the last look."""
        ordinary, fast = [clicks.new() for clicks in self._clicks]
        return ordinary, fast

    def close(self) -> None:
        for clicks in self._clicks:
            clicks.close()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[tuple[Wire, Wire]]:
        """A fresh connection to each."""
        first, second = self.pair.edges
        async with Wire.open(first.port) as ordinary, Wire.open(second.port) as fast:
            yield ordinary, fast

    async def ask(self, *segments: bytes) -> Said:
        """Sends the segments on fresh connections; what is still open then goes on in step."""
        async with self.open() as wires:
            said = await self.ask_on(wires, *segments)
            if not said.ended:
                assert (await self.ask_on(wires, STILL_OPEN)).statuses == (200,)
            return said

    async def ask_on(self, wires: tuple[Wire, Wire], *segments: bytes) -> Said:
        """As `ask`, on connections that are open; waits between the segments for their answers."""
        for segment in segments[:-1]:
            for wire in wires:
                wire.send(segment)
            await asyncio.gather(*(self._was_read(edge.port) for edge in self.pair.edges))
        for wire in wires:
            wire.send(segments[-1])
        return await self.compare(wires, read_heads(b"".join(segments)))

    async def _was_read(self, port: int) -> None:
        # An edge reads its connections in the order in which they have something to read.
        async with Wire.open(port) as wire:
            assert (await wire.ask(STILL_OPEN)).statuses == (200,)

    async def compare(self, wires: tuple[Wire, Wire], due: Heads) -> Said:
        """What both answer to requests that were sent, and have stored since the last look."""
        ordinary, fast = [await wire.read(due) for wire in wires]
        assert normalised(fast.raw) == normalised(ordinary.raw)
        assert fast.ended == ordinary.ended
        assert not fast.silent
        assert not ordinary.silent
        if len(fast.statuses) < len(due.methods):
            await self._store()
        expected, clicks = self.new_clicks()
        assert clicks == expected
        return _said(fast, clicks)

    async def _store(self) -> None:
        """Returns when clicks that were not answered are stored: later ones are stored later."""
        for edge in self.pair.edges:
            async with Wire.open(edge.port) as wire:
                assert (await wire.ask(_LATER)).statuses == (302,)


def _said(answers: Answers, clicks: list[Click]) -> Said:
    text = normalised(answers.raw).decode("latin-1")
    own = [click for click in clicks if click.sub1 != "later"]
    return Said(answers.statuses, answers.ended, text, own)
