"""Benches the seconds until the first redirect: installed, and from a fresh clone by `make run`."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.instance import read_run
from linkjolt.runtime.redis_server import free_port
from linkjolt.up.demo import Demo
from loadtests.bench import budgets, traffic
from loadtests.bench.budgets import Budget
from loadtests.bench.peers.linkjolt_peer import send_request
from loadtests.bench.plan import BenchFailed, BenchPlan
from loadtests.bench.programs import ROOT, environ_with, on_cores, run_command, terminate
from loadtests.bench.rows import BenchRow, describe_spread, judge, median

_GIVE_UP_SECONDS = 60.0
_GIVE_UP_INSTALLING_SECONDS = 600.0
_LOOK_SECONDS = 0.01
_END_SECONDS = 20
_UP = [sys.executable, "-P", "-m", "linkjolt", "up", "--demo"]


def measure_installed(plan: BenchPlan) -> list[BenchRow]:
    """Measures starts of the installed command, each in a folder without data."""
    seconds: list[float] = []
    for _ in range(plan.pairs):
        with tempfile.TemporaryDirectory(dir=plan.folder) as name, on_cores(plan.cores):
            seconds.append(
                seconds_until_redirect(_UP, Path(name), Path(name, "data"), _GIVE_UP_SECONDS)
            )
    return [_row("from `linkjolt up --demo`", seconds, budgets.INSTALLED_START, ())]


def measure_fresh_clone(plan: BenchPlan) -> list[BenchRow]:
    """Measures one start from a clone of the commit, with a new virtual environment."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as name, on_cores(plan.cores):
        clone = Path(name, "clone")
        arguments = [program_path("git"), "clone", "-q", str(ROOT), str(clone)]
        run_command(arguments, plan.cores.load, _GIVE_UP_SECONDS)
        run = [program_path("make"), "run"]
        took = seconds_until_redirect(run, clone, clone / "data", _GIVE_UP_INSTALLING_SECONDS)
    note = ("pip's cache was left as it was; with a cold cache the figure includes the network",)
    return [_row("from `make run` in a fresh clone", [took], budgets.FRESH_START, note)]


def program_path(name: str) -> str:
    """Finds a program's path; fails if it is not installed."""
    found = shutil.which(name)
    if not found:
        raise BenchFailed(f"{name} is not installed")
    return found


def _row(how: str, seconds: Sequence[float], budget: Budget, notes: Sequence[str]) -> BenchRow:
    figure = median(seconds)
    return BenchRow(
        name=f"first redirect, {how}",
        target=str(budget),
        figure=f"{figure:.2f} s",
        verdict=judge(budget.allows(figure), []),
        detail=(f"{len(seconds)} starts, {describe_spread(seconds, ' s', 2)}", *notes),
    )


def seconds_until_redirect(command: Sequence[str], folder: Path, data: Path, limit: float) -> float:
    """Measures from a command's start to its demo link's first 302, then ends the command."""
    port = free_port()
    variables = {
        "LINKJOLT_DATA": str(data),
        "LINKJOLT_EDGE_PORT": str(port),
        "LINKJOLT_REPORTS_PORT": "0",
    }
    began = time.perf_counter()
    with _started(command, folder, data, variables) as child:
        while not _redirects(data, port):
            if child.poll() is not None or time.perf_counter() - began > limit:
                output_end = (folder / "start.log").read_text(errors="replace").strip()[-500:]
                raise BenchFailed(f"no redirect from {' '.join(command)}: {output_end}")
            time.sleep(_LOOK_SECONDS)
        return time.perf_counter() - began


def _redirects(data: Path, port: int) -> bool:
    with suppress(OSError, msgspec.DecodeError, BenchFailed):
        demo = msgspec.json.decode((data / "demo.json").read_bytes(), type=Demo)
        return send_request(port, f"/{demo.tracking_code}", headers=traffic.HEADERS)[0] == 302
    return False


@contextmanager
def _started(
    command: Sequence[str], folder: Path, data: Path, variables: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    with open(folder / "start.log", "wb") as log:
        child = subprocess.Popen(
            bound(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environ_with(variables),
            start_new_session=True,
        )
    try:
        yield child
    finally:
        # `make` does not forward signals: the process it runs is stopped, and make follows.
        if run := read_run(str(data)):
            os.kill(run.pids.supervisor, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_END_SECONDS)
        terminate(child)
