"""Benches the aggregator's rate on one core by `loadtests.catch_up` in a child process."""

import re
import subprocess
import sys

import msgspec

from linkjolt.runtime.bound_children import bound
from loadtests.bench import budgets
from loadtests.bench.plan import BenchFailed, BenchPlan
from loadtests.bench.programs import environ_with, on_cores
from loadtests.bench.rows import BenchRow, judge

EVENTS = 5_000_000
_LIMIT_SECONDS = 600
_STORED = re.compile(r"^stored +(\d+) events/s on one core, (\d+) MiB at most$", re.MULTILINE)
_CLEAN = re.compile(r"^audit +clean$", re.MULTILINE)


class CatchUpFigures(msgspec.Struct, frozen=True):
    """The figures that a run of `loadtests.catch_up` prints."""

    per_second: int
    memory_mib: int
    clean: bool


def parse_figures(text: str) -> CatchUpFigures:
    """Parses the output of a complete run; raises BenchFailed for any other."""
    found = _STORED.search(text)
    if not found:
        raise BenchFailed(f"catch_up printed no figure: {text.strip()[-500:]}")
    return CatchUpFigures(int(found[1]), int(found[2]), bool(_CLEAN.search(text)))


def measure_aggregator(plan: BenchPlan, events: int = EVENTS) -> list[BenchRow]:
    """Measures the aggregator, on one core, with its Redis-protocol server on another."""
    figures = parse_figures(_catch_up(plan, events))
    problems = [] if figures.clean else ["the audit afterwards is not clean"]
    row = BenchRow(
        name="aggregator, stream to raw and all rollups, on one core",
        target=str(budgets.EVENTS_STORED),
        figure=f"{figures.per_second:,}/s",
        verdict=judge(budgets.EVENTS_STORED.allows(figures.per_second), problems),
        detail=(f"{events:,} clicks, {figures.memory_mib:,} MiB at most", *problems),
    )
    return [row]


def _catch_up(plan: BenchPlan, events: int) -> str:
    arguments = ["-P", "-m", "loadtests.catch_up", "--events", str(events)]
    try:
        with on_cores(plan.cores):
            # Its status only says whether it was fast enough, which is judged here.
            ran = subprocess.run(
                bound([sys.executable, *arguments]),
                env=environ_with({"TMPDIR": str(plan.folder)}),
                capture_output=True,
                text=True,
                timeout=_LIMIT_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise BenchFailed(f"catch_up ran longer than {_LIMIT_SECONDS} s") from None
    return ran.stdout + ran.stderr
