"""The results as a page: what was run where, the table, every turn's figure."""

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
asked for, disqualifies. wrk sees statuses of 400 and above; that an answer is a 302 is looked at \
before, and in every answer of the steady load. The shares in brackets say who used how much of a \
core during the turn: a worker well below 100 % was held up by the other core or by the disk, not \
by its own work. A load near 100 % means that wrk could not ask for more, so that the peer's \
figure is a lower bound. Disk is how long a core did nothing but wait for it. DISTURBED marks \
turns in which other programs of the machine took more than a fifth of a core.

Latencies are those of a steady load that does not wait for answers: a click counts from when it \
was due, and what is due within a millisecond is due at its begin.

Rows that name no peer and no load, such as memory and starts, tell in their details what was run.

Reports are made in this process, one after the other, warm, each as `GET /v1/reports` makes it; \
the engine may use the cores of worker, load and Redis. The ratio is that of one run of rows and \
totals from raw events to the median report from rollups.
"""
_SHARED_CORE = """\
They share that core, so that a peer which asks more of Redis for each click also leaves less to \
wrk, as it would to whatever else runs beside Redis."""
_OWN_CORES = "Each has its core to itself."


class ResultsPage(msgspec.Struct, frozen=True, kw_only=True):
    """All that a page tells; `redis` are the server's settings, the same for all peers."""

    day: date
    command: str
    cores: Cores
    machine: Machine
    redis: Mapping[str, str]
    rows: Sequence[BenchRow]


def markdown(page: ResultsPage) -> str:
    """The page, ready to be kept."""
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
    """How the figures came about, and what to think of when reading them."""
    shared = _SHARED_CORE if cores.load == cores.redis else _OWN_CORES
    return _METHOD.format(worker=cores.worker, load=cores.load, redis=cores.redis, shared=shared)


def _section(row: BenchRow) -> str:
    return "\n".join([f"## {row.name}", "", *(f"- {line}" for line in row.detail)])


def write(page: ResultsPage, folder: Path) -> Path:
    """Writes `bench-<date>.md`; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"bench-{page.day.isoformat()}.md"
    path.write_text(markdown(page))
    return path
