"""How fast the aggregator stores what waits, on one core: `loadtests.catch_up` in a process."""

import re
import subprocess
import sys

import msgspec

from linkjolt.runtime.bound_children import bound
from loadtests.bench.plan import Failed, Plan
from loadtests.bench.programs import environ_with, on_cores
from loadtests.bench.rows import Row, judged

EVENTS = 5_000_000
_PER_SECOND_MIN = 100_000
_LIMIT_SECONDS = 600
_STORED = re.compile(r"^stored +(\d+) events/s on one core, (\d+) MiB at most$", re.MULTILINE)
_CLEAN = re.compile(r"^audit +clean$", re.MULTILINE)


class Stored(msgspec.Struct, frozen=True):
    """What a run of `loadtests.catch_up` printed."""

    per_second: int
    memory_mib: int
    clean: bool


def parse(text: str) -> Stored:
    """Failed where it is not what a whole run prints."""
    found = _STORED.search(text)
    if not found:
        raise Failed(f"catch_up printed no figure: {text.strip()[-500:]}")
    return Stored(int(found[1]), int(found[2]), bool(_CLEAN.search(text)))


def aggregator(plan: Plan, events: int = EVENTS) -> list[Row]:
    """It binds itself to one core, and its Redis-protocol server to another."""
    stored = parse(_catch_up(plan, events))
    problems = [] if stored.clean else ["the audit afterwards is not clean"]
    row = Row(
        name="aggregator, stream to raw and all rollups, on one core",
        target=f">= {_PER_SECOND_MIN:,}/s",
        figure=f"{stored.per_second:,}/s",
        verdict=judged(stored.per_second >= _PER_SECOND_MIN, problems),
        detail=(f"{events:,} clicks, {stored.memory_mib:,} MiB at most", *problems),
    )
    return [row]


def _catch_up(plan: Plan, events: int) -> str:
    words = ["-P", "-m", "loadtests.catch_up", "--events", str(events)]
    try:
        with on_cores(plan.cores):
            # Its status says only whether it was fast enough, which is judged here.
            ran = subprocess.run(
                bound([sys.executable, *words]),
                env=environ_with({"TMPDIR": str(plan.folder)}),
                capture_output=True,
                text=True,
                timeout=_LIMIT_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise Failed(f"catch_up ran longer than {_LIMIT_SECONDS} s") from None
    return ran.stdout + ran.stderr
