"""Runs child processes of a bench on a core, ends them by process id, and reads CPU times."""

import os
import socket
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from linkjolt.runtime.bound_children import bound
from loadtests.bench.plan import BenchFailed, Cores

ROOT = Path(__file__).parents[2]
_START_SECONDS = 30
_END_SECONDS = 10


def environ_with(variables: Mapping[str, str]) -> dict[str, str]:
    """Returns this process's environment without LINKJOLT_ variables, plus those given."""
    outer = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
    return {**outer, "PYTHONPATH": str(ROOT), **variables}


def pin(pid: int, core: int) -> None:
    """Binds every thread of a process to a core; those it starts later inherit it."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        # A thread may have ended meanwhile.
        with suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), {core})


@contextmanager
def on_cores(cores: Cores) -> Generator[None]:
    """Lets processes started in the block use all cores of the bench, which is bound to one."""
    bench_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cores.worker, cores.load, cores.redis})
    try:
        yield
    finally:
        os.sched_setaffinity(0, bench_cores)


@contextmanager
def running_program(
    command: Sequence[str], core: int, log: Path, variables: Mapping[str, str]
) -> Generator[subprocess.Popen[bytes]]:
    """Runs a process on one core for the duration of the block, its output in `log`."""
    with open(log, "wb") as output:
        child = subprocess.Popen(
            bound(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ_with(variables),
            start_new_session=True,
        )
    try:
        pin(child.pid, core)
        yield child
    finally:
        terminate(child)


def terminate(child: subprocess.Popen[bytes]) -> None:
    """Ends a process by SIGTERM, a bounded wait, and SIGKILL, if it still runs."""
    child.terminate()
    try:
        child.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def run_command(
    command: Sequence[str],
    core: int,
    timeout_seconds: float,
    variables: Mapping[str, str] | None = None,
) -> str:
    """Runs a command on a core and returns its output; fails on a bad status or the timeout."""
    with subprocess.Popen(
        bound(command),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ_with(variables or {}),
        start_new_session=True,
    ) as child:
        try:
            pin(child.pid, core)
            printed, errors = child.communicate(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise BenchFailed(f"{command[0]} ran longer than {timeout_seconds:g} s") from None
        finally:
            terminate(child)
    if child.returncode != 0:
        why = errors.decode(errors="replace").strip()[-500:]
        raise BenchFailed(f"{command[0]} ended with {child.returncode}: {why}")
    return printed.decode(errors="replace")


def wait_listening(port: int, child: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the child accepts connections; fails with the end of its log otherwise."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    output_end = log.read_text(errors="replace").strip()[-500:]
    raise BenchFailed(f"nothing listens on port {port}: {output_end}")


def cpu_seconds(pid: int, *, main_thread: bool = False) -> float:
    """Reads the CPU seconds of a process and its threads, or of its main thread alone."""
    of = f"{pid}/task/{pid}" if main_thread else f"{pid}"
    fields = Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def core_seconds(core: int) -> tuple[float, float]:
    """Reads the seconds that a core was busy, and idle while a process waited for the disk.

    Busy includes the time that a hypervisor took from it.
    """
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _, disk, *rest = (int(word) for word in line.split()[1:9])
            ticks = os.sysconf("SC_CLK_TCK")
            return (user + nice + system + sum(rest)) / ticks, disk / ticks
    raise BenchFailed(f"/proc/stat does not name core {core}")
