"""Any bytes get the same answers from an edge with fast clicks as from one without.

`python -m loadtests.fuzz [--requests 100000] [--seed N]` sends well-formed requests, damaged ones
and noise to both, on fresh and on used connections, compares answers, closings and stored clicks,
and exits with 1 where they differ.
"""

import asyncio
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
import msgspec
import uvloop

from loadtests import edge_pair
from loadtests.edge_pair import Clicks, Edge, Pair
from loadtests.fuzz_requests import Requests, Sent
from loadtests.wire import Answers, Heads, Wire, normalised, read_heads

_CONNECTIONS = 32
_DIFFERENCES_MAX = 5
_SHOW_EVERY = 10_000
# An edge holds some 80 MB when it starts.
_RESIDENT_MAX_BYTES = 250 << 20
_TRIES = 5
_LAST = b"GET /tc_PLAIN HTTP/1.1\r\nHost: edge\r\n\r\n"
_STILL_OPEN = b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n"


class Difference(msgspec.Struct, frozen=True):
    """What was sent on one connection, and what each edge said to the last of it."""

    sent: Sequence[Sent]
    ordinary: Answers
    fast: Answers

    def __str__(self) -> str:
        sent = "\n".join(f"  sent {segment!r}" for one in self.sent for segment in one.segments)
        return f"{sent}\n  ordinary {_said(self.ordinary)}\n  fast     {_said(self.fast)}"


def _said(answers: Answers) -> str:
    end = "silence" if answers.silent else "end" if answers.ended else "open"
    return f"{normalised(answers.raw)!r}, {end}"


def alike(one: Answers, other: Answers) -> bool:
    """True where nobody could tell the answers apart."""
    ends = one.ended == other.ended and one.silent == other.silent
    return ends and normalised(one.raw) == normalised(other.raw)


@dataclass
class Fuzz:
    """A run against a pair, of a few more requests than `wanted`.

    `answers` counts statuses, and `none` where nothing was answered.
    """

    pair: Pair
    requests: Requests
    wanted: int
    sent: int = 0
    silent: int = 0
    clicks: int = 0
    answers: Counter[str] = field(default_factory=Counter[str])
    differences: list[Difference] = field(default_factory=list[Difference])

    async def run(self) -> None:
        """Sends as many as are wanted, or enough differences were found."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONNECTIONS):
                tasks.create_task(self._converse())

    async def _converse(self) -> None:
        while self.sent < self.wanted and len(self.differences) < _DIFFERENCES_MAX:
            await self._hold(self.requests.conversation())

    async def _hold(self, conversation: Sequence[Sent]) -> None:
        found: Difference | None = None
        for _ in range(_TRIES):
            found = await self._hold_once(conversation)
            # Whoever writes to a server that has answered and ended is reset, now and then before
            # he has read the answer. Such a difference is one only if it is there each time.
            if found is None or not (found.ordinary.cut or found.fast.cut):
                break
        if found:
            self.differences.append(found)

    async def _hold_once(self, conversation: Sequence[Sent]) -> Difference | None:
        ordinary, fast = self.pair.edges
        async with Wire.open(ordinary.port) as one, Wire.open(fast.port) as other:
            for number, sent in enumerate([*conversation, Sent((_STILL_OPEN,))]):
                said = await _ask((one, other), sent)
                self._count(said[0])
                if not alike(*said):
                    return Difference(conversation[: number + 1], *said)
                if any(answers.ended or answers.silent for answers in said):
                    break
        return None

    def _count(self, said: Answers) -> None:
        self.sent += 1
        self.silent += said.silent
        self.answers.update(map(str, said.statuses) if said.statuses else ["none"])
        if self.sent % _SHOW_EVERY == 0:
            print(f"{self.sent:,} sent, {len(self.differences)} differences", flush=True)


async def _ask(wires: tuple[Wire, Wire], sent: Sent) -> tuple[Answers, Answers]:
    due: Heads = read_heads(sent.whole)
    # With an upgrade uvicorn throws away what came with it, which between segments chance decides.
    segments = (sent.whole,) if b"upgrade" in sent.whole.lower() else sent.segments
    for segment in segments:
        for wire in wires:
            wire.send(segment)
        if len(segments) > 1:
            # Lets the edges read it by itself, mostly.
            await asyncio.sleep(0)
    one, other = wires
    return await one.read(due), await other.read(due)


def _counted(clicks: Clicks) -> Counter[bytes]:
    """How often each click was stored since the last look, by all but its id."""
    counts = Counter(map(msgspec.json.encode, clicks.new()))
    clicks.close()
    return counts


async def _healthy(edge: Edge) -> bool:
    if edge.process is None or edge.process.poll() is not None:
        return False
    async with Wire.open(edge.port) as wire:
        return (await wire.ask(_STILL_OPEN)).statuses == (200,)


def _lost(ordinary: Counter[bytes], fast: Counter[bytes]) -> list[str]:
    """What only one of them stored, a text each."""
    return [
        f"stored only {how} fast clicks: {count} times {line!r}"
        for how, more in (("without", ordinary - fast), ("with", fast - ordinary))
        for line, count in more.most_common(_DIFFERENCES_MAX)
    ]


async def _ailments(edge: Edge) -> list[str]:
    """Errors in its log, too much memory, no life."""
    name = edge.log.parent.name
    found = [f"an error in the {name} edge's log: {line}" for line in edge.errors()[:3]]
    if edge.resident_bytes() > _RESIDENT_MAX_BYTES:
        found.append(f"the {name} edge holds {edge.resident_bytes():,} bytes")
    if not await _healthy(edge):
        found.append(f"the {name} edge is not well")
    return found


async def fuzz_pair(pair: Pair, requests: int, seed: int) -> tuple[Fuzz, list[str]]:
    """A whole run, and what is wrong after it: differences, losses, errors, a swollen edge."""
    clicks = [Clicks(edge) for edge in pair.edges]
    for before in clicks:
        before.new()
    fuzz = Fuzz(pair, Requests(seed), requests)
    await fuzz.run()
    for edge in pair.edges:
        # It is stored behind all that was not answered.
        async with Wire.open(edge.port) as wire:
            await wire.ask(_LAST)
    ordinary, fast = map(_counted, clicks)
    fuzz.clicks = fast.total()
    found = [f"differs:\n{difference}" for difference in fuzz.differences]
    found += _lost(ordinary, fast)
    for edge in pair.edges:
        found += await _ailments(edge)
    return fuzz, found


@click.command()
@click.option("--requests", default=100_000, show_default=True, help="How many to send to each.")
@click.option("--seed", type=int, help="What decides which they are; by chance where missing.")
def main(requests: int, seed: int | None) -> None:
    """Sends any bytes to both edges and compares what they answer and store."""
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder, edge_pair.running(Path(folder)) as pair:
        before = [edge.resident_bytes() for edge in pair.edges]
        began = time.monotonic()
        fuzz, found = uvloop.run(fuzz_pair(pair, requests, seed))
        seconds = time.monotonic() - began
        print(f"{fuzz.sent:,} sent in {seconds:.0f} s, {fuzz.silent} without the answers due")
        print(
            "answers: " + ", ".join(f"{n:,} {status}" for status, n in fuzz.answers.most_common())
        )
        print(f"clicks stored: {fuzz.clicks:,}")
        for edge, held in zip(pair.edges, before, strict=True):
            now = edge.resident_bytes()
            print(f"{edge.log.parent.name} edge: {held >> 20} MB before, {now >> 20} MB after")
    for problem in found:
        print(problem)
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
