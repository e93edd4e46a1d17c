"""Checks that an edge with fast clicks answers any bytes as an edge without them does.

`python -m loadtests.fuzz [--requests 100000] [--seed N]` sends well-formed requests, damaged ones
and noise to both, on fresh and on used connections. It compares answers, closings and stored
clicks, and exits with 1 if they differ.
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
from loadtests.edge_pair import ClickStreamReader, EdgePair, PairedEdge
from loadtests.fuzz_requests import RequestGenerator, SentSegments
from loadtests.wire import Answers, ParsedHeads, Wire, normalised, read_heads

_CONNECTIONS = 32
_DIFFERENCES_MAX = 5
_SHOW_EVERY = 10_000
# An edge holds some 80 MB when it starts.
_RESIDENT_MAX_BYTES = 250 << 20
_TRIES = 5
_LAST = b"GET /tc_PLAIN HTTP/1.1\r\nHost: edge\r\n\r\n"
_STILL_OPEN = b"GET /healthz HTTP/1.1\r\nHost: edge\r\n\r\n"


class Difference(msgspec.Struct, frozen=True):
    """The segments sent on one connection, and each edge's answers to the last of them."""

    sent: Sequence[SentSegments]
    ordinary: Answers
    fast: Answers

    def __str__(self) -> str:
        sent = "\n".join(f"  sent {segment!r}" for one in self.sent for segment in one.segments)
        return f"{sent}\n  ordinary {_describe(self.ordinary)}\n  fast     {_describe(self.fast)}"


def _describe(answers: Answers) -> str:
    end = "silence" if answers.silent else "end" if answers.ended else "open"
    return f"{normalised(answers.raw)!r}, {end}"


def alike(left: Answers, right: Answers) -> bool:
    """True if a client could not tell the answers apart."""
    ends = left.ended == right.ended and left.silent == right.silent
    return ends and normalised(left.raw) == normalised(right.raw)


@dataclass
class FuzzRun:
    """A run against a pair; it sends `requests_total` requests and a few more.

    `answers` counts statuses, with `none` for requests without an answer.
    """

    pair: EdgePair
    requests: RequestGenerator
    requests_total: int
    sent_total: int = 0
    silent_total: int = 0
    clicks_total: int = 0
    answers: Counter[str] = field(default_factory=Counter[str])
    differences: list[Difference] = field(default_factory=list[Difference])

    async def run(self) -> None:
        """Sends until `requests_total` is reached or enough differences were found."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_CONNECTIONS):
                tasks.create_task(self._run_conversations())

    async def _run_conversations(self) -> None:
        while self.sent_total < self.requests_total and len(self.differences) < _DIFFERENCES_MAX:
            await self._compare_conversation(self.requests.conversation())

    async def _compare_conversation(self, conversation: Sequence[SentSegments]) -> None:
        difference: Difference | None = None
        for _ in range(_TRIES):
            difference = await self._send_conversation(conversation)
            # A client that writes to a server which has answered and closed is reset, sometimes
            # before it has read the answer. Such a difference counts only if every try shows it.
            if difference is None or not (
                difference.ordinary.was_reset or difference.fast.was_reset
            ):
                break
        if difference:
            self.differences.append(difference)

    async def _send_conversation(self, conversation: Sequence[SentSegments]) -> Difference | None:
        ordinary, fast = self.pair.edges
        async with Wire.open(ordinary.port) as one, Wire.open(fast.port) as other:
            for number, sent in enumerate([*conversation, SentSegments((_STILL_OPEN,))]):
                answers = await _ask((one, other), sent)
                self._count(answers[0])
                if not alike(*answers):
                    return Difference(conversation[: number + 1], *answers)
                if any(answers.ended or answers.silent for answers in answers):
                    break
        return None

    def _count(self, answers: Answers) -> None:
        self.sent_total += 1
        self.silent_total += answers.silent
        self.answers.update(map(str, answers.statuses) if answers.statuses else ["none"])
        if self.sent_total % _SHOW_EVERY == 0:
            print(f"{self.sent_total:,} sent, {len(self.differences)} differences", flush=True)


async def _ask(wires: tuple[Wire, Wire], sent: SentSegments) -> tuple[Answers, Answers]:
    due: ParsedHeads = read_heads(sent.content)
    for segment in sent.segments:
        for wire in wires:
            wire.send(segment)
        if len(sent.segments) > 1:
            # Gives the edges the chance to read this segment on its own.
            await asyncio.sleep(0)
    one, other = wires
    return await one.read(due), await other.read(due)


def _count_new(clicks: ClickStreamReader) -> Counter[bytes]:
    """Counts the clicks stored since the last reading, by all fields but the id."""
    counts = Counter(map(msgspec.json.encode, clicks.read_new()))
    clicks.close()
    return counts


async def _is_healthy(edge: PairedEdge) -> bool:
    if edge.process is None or edge.process.poll() is not None:
        return False
    async with Wire.open(edge.port) as wire:
        return (await wire.ask(_STILL_OPEN)).statuses == (200,)


def _describe_unmatched(ordinary: Counter[bytes], fast: Counter[bytes]) -> list[str]:
    """Describes the clicks that only one edge stored."""
    return [
        f"stored only {setting} fast clicks: {count} times {line!r}"
        for setting, surplus in (("without", ordinary - fast), ("with", fast - ordinary))
        for line, count in surplus.most_common(_DIFFERENCES_MAX)
    ]


async def _edge_problems(edge: PairedEdge) -> list[str]:
    """Lists errors in the edge's log, excessive memory, and a failing health check."""
    name = edge.log.parent.name
    problems = [f"an error in the {name} edge's log: {line}" for line in edge.errors()[:3]]
    if edge.resident_bytes() > _RESIDENT_MAX_BYTES:
        problems.append(f"the {name} edge holds {edge.resident_bytes():,} bytes")
    if not await _is_healthy(edge):
        problems.append(f"the {name} edge is not well")
    return problems


async def fuzz_pair(pair: EdgePair, requests: int, seed: int) -> tuple[FuzzRun, list[str]]:
    """Runs the fuzzing and lists the problems: differences, losses, errors, excessive memory."""
    readers = [ClickStreamReader(edge) for edge in pair.edges]
    for reader in readers:
        reader.read_new()
    fuzz = FuzzRun(pair, RequestGenerator(seed), requests)
    await fuzz.run()
    for edge in pair.edges:
        # This click is stored after every request that was not answered.
        async with Wire.open(edge.port) as wire:
            await wire.ask(_LAST)
    ordinary, fast = map(_count_new, readers)
    fuzz.clicks_total = fast.total()
    problems = [f"differs:\n{difference}" for difference in fuzz.differences]
    problems += _describe_unmatched(ordinary, fast)
    for edge in pair.edges:
        problems += await _edge_problems(edge)
    return fuzz, problems


@click.command()
@click.option("--requests", default=100_000, show_default=True, help="How many to send to each.")
@click.option("--seed", type=int, help="Seed of the requests; random unless given.")
def main(requests: int, seed: int | None) -> None:
    """Sends arbitrary bytes to both edges and compares their answers and stored clicks."""
    seed = random.randrange(1 << 32) if seed is None else seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder, edge_pair.running(Path(folder)) as pair:
        before = [edge.resident_bytes() for edge in pair.edges]
        began = time.monotonic()
        fuzz, problems = uvloop.run(fuzz_pair(pair, requests, seed))
        seconds = time.monotonic() - began
        print(f"{fuzz.sent_total:,} sent in {seconds:.0f} s, {fuzz.silent_total} not answered")
        print(
            "answers: " + ", ".join(f"{n:,} {status}" for status, n in fuzz.answers.most_common())
        )
        print(f"clicks stored: {fuzz.clicks_total:,}")
        for edge, before_bytes in zip(pair.edges, before, strict=True):
            now = edge.resident_bytes()
            print(
                f"{edge.log.parent.name} edge: {before_bytes >> 20} MB before, {now >> 20} MB after"
            )
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
