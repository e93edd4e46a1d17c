"""Formats the results as a page: machine, method, table, and the figures of every turn."""

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path

import msgspec

from loadtests.bench.machine import Machine
from loadtests.bench.plan import Cores
from loadtests.bench.rows import BenchRow, table

_METHOD = """\
Every turn starts a fresh Redis-protocol server and one peer: a single process, alone on core \
{worker}. The load generator runs on core {load}, the Redis-protocol server on core {redis}. \
{shared} Peers take turns (ABAB); a ratio is the median of the pairs' ratios.

After each turn the events in the stream are counted: fewer than wrk got answers, or more than it \
sent requests, disqualifies. wrk counts statuses of 400 and above; a 302 is checked before, and \
in every answer of the steady load. The shares in brackets are CPU use as shares of a core during \
the turn: a worker well below 100 % waited for the other core or for the disk. A load near 100 % \
means that wrk could not send more, so that the peer's figure is a lower bound. Disk is the time \
that a core only waited for it. DISTURBED marks turns in which other programs of the machine took \
more than a fifth of a core.

Latencies are those of a steady load that does not wait for answers: a click counts from when it \
was due, and clicks due within a millisecond are due at its start.

Rows that name no peer and no load, such as memory and starts, describe the run in their details.

Reports are computed in this process, one by one, warm, each as by `GET /v1/reports`; the engine \
may use the cores of worker, load and Redis. The ratio is that of one run of rows and totals from \
raw events to the median report from rollups.
"""
_SHARED_CORE = """\
They share that core, so that a peer which costs Redis more per click also leaves less to wrk, as \
it would to any other program beside Redis."""
_OWN_CORES = "Each has its core to itself."


class ResultsPage(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a page; `redis` are the server's settings, the same for all peers."""

    day: date
    command: str
    cores: Cores
    machine: Machine
    redis: Mapping[str, str]
    rows: Sequence[BenchRow]


def markdown(page: ResultsPage) -> str:
    """Formats the page as Markdown."""
    about = [f"- {name}: {value}" for name, value in page.machine.lines]
    settings = ", ".join(f"{name} {value or '(none)'}" for name, value in page.redis.items())
    parts = [
        f"# Bench, {page.day.isoformat()}",
        f"`{page.command}`",
        "\n".join([*about, f"- its settings (appendfsync by row): {settings}"]),
        describe_method(page.cores),
        table(page.rows),
        *(_section(row) for row in page.rows if row.detail),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def describe_method(cores: Cores) -> str:
    """Describes how the figures were measured, and how to read them."""
    shared = _SHARED_CORE if cores.load == cores.redis else _OWN_CORES
    return _METHOD.format(worker=cores.worker, load=cores.load, redis=cores.redis, shared=shared)


def _section(row: BenchRow) -> str:
    return "\n".join([f"## {row.name}", "", *(f"- {line}" for line in row.detail)])


def write(page: ResultsPage, folder: Path) -> Path:
    """Writes `bench-<date>.md` and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench-{page.day.isoformat()}.md"
    path.write_text(markdown(page))
    return path
