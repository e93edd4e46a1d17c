"""Declares the settings of a run of the benches, and the error of a bench that cannot continue."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from loadtests.bench.rows import BenchRow


class BenchFailed(Exception):
    """The bench cannot continue; the message gives the reason in one line."""


class Cores(msgspec.Struct, frozen=True):
    """The cores of the measured worker, of the load, and of the Redis-protocol server."""

    worker: int
    load: int
    redis: int


class BenchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of a run; `folder` is an empty folder on a real disk.

    `seconds` is the length of one measurement, `pairs` the measurements per side. Reports are
    timed over `clicks` in `days`, in the folder `warehouse`, which outlives the run.
    """

    folder: Path
    cores: Cores
    seconds: int = 4
    pairs: int = 5
    clicks: int = 100_000_000
    days: int = 400
    warehouse: Path = Path("/var/tmp/linkjolt-bench-reports")


class Bench(NamedTuple):
    """One bench; `needs` names tools of `loadtests.bench.debian`.

    A bench `on_request` runs only if it is named.
    """

    name: str
    title: str
    needs: frozenset[str]
    measure: Callable[[BenchPlan], list[BenchRow]]
    on_request: bool = False


def select_benches(benches: Sequence[Bench], only: Sequence[str]) -> list[Bench]:
    """Selects the named benches; if none is named, all that are not on request."""
    return [bench for bench in benches if (bench.name in only if only else not bench.on_request)]


def pick_cores(allowed: set[int], redis: int | None = None) -> Cores:
    """Assigns the first core to the worker, the second to the rest; fails with only one."""
    if len(allowed) < 2:
        raise BenchFailed("the bench needs two cores: one for the worker, one for load and Redis")
    worker, load, *_ = sorted(allowed)
    if redis is not None and (redis == worker or redis not in allowed):
        raise BenchFailed(
            f"core {redis} is not free for Redis: choose another of {sorted(allowed)}"
        )
    return Cores(worker, load, load if redis is None else redis)


def allowed_cores() -> set[int]:
    """Returns the cores that this process may use; fails if the system cannot pin processes."""
    if sys.platform != "linux":
        raise BenchFailed("the bench pins processes to cores, which it can on Linux only")
    return os.sched_getaffinity(0)
