"""What one run of the benches is given, and how a bench that cannot go on says so."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtests.bench.rows import BenchRow


class BenchFailed(Exception):
    """The bench cannot go on; the message says why in one line."""


class Cores(msgspec.Struct, frozen=True):
    """Where what is measured runs, and where the load and the Redis-protocol server do."""

    worker: int
    load: int
    redis: int


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds of one measurement, measurements a side, and an empty folder on a real disk.

    Reports are asked of so many clicks over so many days, in a folder that outlives the run.
    """

    folder: Path
    cores: Cores
    seconds: int = 4
    pairs: int = 5
    clicks: int = 100_000_000
    days: int = 400
    warehouse: Path = Path("/var/tmp/linkjolt-bench-reports")


class Bench(NamedTuple):
    """One bench: `needs` names tools of `loadtests.bench.debian`.

    One that is `on_request` is left out unless it is named.
    """

    name: str
    title: str
    needs: frozenset[str]
    measure: Callable[[BenchPlan], list[BenchRow]]
    on_request: bool = False


def select_benches(benches: Sequence[Bench], only: Sequence[str]) -> list[Bench]:
    """Those that are named; where none is, all that need no request."""
    return [bench for bench in benches if (bench.name in only if only else not bench.on_request)]


def pick_cores(allowed: set[int], redis: int | None = None) -> Cores:
    """The first core for the worker alone, the second for the rest; Failed when there is one."""
    if len(allowed) < 2:
        raise BenchFailed("the bench needs two cores: one for the worker, one for load and Redis")
    worker, load, *_ = sorted(allowed)
    if redis is not None and (redis == worker or redis not in allowed):
        raise BenchFailed(
            f"core {redis} is not free for Redis: choose another of {sorted(allowed)}"
        )
    return Cores(worker, load, load if redis is None else redis)


def allowed_cores() -> set[int]:
    """The cores that this process may use; Failed where the system cannot pin processes."""
    if sys.platform != "linux":
        raise BenchFailed("the bench pins processes to cores, which it can on Linux only")
    return os.sched_getaffinity(0)
