"""Child processes of a bench: pinned to a core, ended by process id, their CPU time read."""

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
    """This process's variables without any LINKJOLT_ one, and those given."""
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
    """What is started inside may use all cores of the bench, which itself is bound to one."""
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
    """A running process on one core, its output in `log`; ended on leaving."""
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
    """SIGTERM, a bounded wait, SIGKILL; nothing where it has ended."""
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
    """Runs a command on a core to its end; what it printed. Failed for a bad status or too long."""
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
    """Returns when the child takes connections; Failed, with its last words, when it does not."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and child.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    output_end = log.read_text(errors="replace").strip()[-500:]
    raise BenchFailed(f"nothing listens on port {port}: {output_end}")


def cpu_seconds(pid: int, *, main_thread: bool = False) -> float:
    """CPU time of a process and its threads so far, or of its main thread alone."""
    of = f"{pid}/task/{pid}" if main_thread else f"{pid}"
    fields = Path(f"/proc/{of}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def core_seconds(core: int) -> tuple[float, float]:
    """Time that a core was busy so far, what the host took from it included; and that it idled
    while a process waited for the disk."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _, disk, *rest = (int(word) for word in line.split()[1:9])
            ticks = os.sysconf("SC_CLK_TCK")
            return (user + nice + system + sum(rest)) / ticks, disk / ticks
    raise BenchFailed(f"/proc/stat does not name core {core}")
