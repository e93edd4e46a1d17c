"""From a start to the first redirect: of what is installed, and of a fresh clone by `make run`."""

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
from loadtests.bench import traffic
from loadtests.bench.linkjolt_peer import ask
from loadtests.bench.plan import Failed, Plan
from loadtests.bench.programs import ROOT, end, environ_with, finish, on_cores
from loadtests.bench.rows import Row, judged, middle, spread

_INSTALLED_MAX_SECONDS = 5.0
_FRESH_MAX_SECONDS = 90.0
_GIVE_UP_SECONDS = 60.0
_GIVE_UP_INSTALLING_SECONDS = 600.0
_LOOK_SECONDS = 0.01
_END_SECONDS = 20
_UP = [sys.executable, "-P", "-m", "linkjolt", "up", "--demo"]


def installed(plan: Plan) -> list[Row]:
    """A folder without data each time."""
    seconds: list[float] = []
    for _ in range(plan.pairs):
        with tempfile.TemporaryDirectory(dir=plan.folder) as name, on_cores(plan.cores):
            seconds.append(
                seconds_until_redirect(_UP, Path(name), Path(name, "data"), _GIVE_UP_SECONDS)
            )
    return [_row("from `linkjolt up --demo`", seconds, _INSTALLED_MAX_SECONDS, ())]


def fresh_clone(plan: Plan) -> list[Row]:
    """One clone of what is committed, with a virtual environment that is made anew."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as name, on_cores(plan.cores):
        clone = Path(name, "clone")
        words = [program_path("git"), "clone", "-q", str(ROOT), str(clone)]
        finish(words, plan.cores.load, _GIVE_UP_SECONDS)
        run = [program_path("make"), "run"]
        took = seconds_until_redirect(run, clone, clone / "data", _GIVE_UP_INSTALLING_SECONDS)
    note = ("pip's cache as it was; where it was cold the network's time is in the figure",)
    return [_row("from `make run` in a fresh clone", [took], _FRESH_MAX_SECONDS, note)]


def program_path(name: str) -> str:
    """Where a program is; Failed where it is not installed."""
    found = shutil.which(name)
    if not found:
        raise Failed(f"{name} is not installed")
    return found


def _row(how: str, seconds: Sequence[float], at_most: float, notes: Sequence[str]) -> Row:
    figure = middle(seconds)
    return Row(
        name=f"first redirect, {how}",
        target=f"<= {at_most:g} s",
        figure=f"{figure:.2f} s",
        verdict=judged(figure <= at_most, []),
        detail=(f"{len(seconds)} starts, {spread(seconds, ' s', 2)}", *notes),
    )


def seconds_until_redirect(command: Sequence[str], folder: Path, data: Path, limit: float) -> float:
    """From the start of a command, in a folder, to its demo link's first 302; it is ended then."""
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
                said = (folder / "start.log").read_text(errors="replace").strip()[-500:]
                raise Failed(f"no redirect from {' '.join(command)}: {said}")
            time.sleep(_LOOK_SECONDS)
        return time.perf_counter() - began


def _redirects(data: Path, port: int) -> bool:
    with suppress(OSError, msgspec.DecodeError, Failed):
        demo = msgspec.json.decode((data / "demo.json").read_bytes(), type=Demo)
        return ask(port, f"/{demo.tracking_code}", headers=traffic.HEADERS)[0] == 302
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
        # `make` does not pass a signal on: what it runs is told, and then it ends, too.
        if run := read_run(str(data)):
            os.kill(run.pids.supervisor, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                child.wait(_END_SECONDS)
        end(child)
