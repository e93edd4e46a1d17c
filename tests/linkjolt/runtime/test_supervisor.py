"""A supervisor restarts children that die and stops them stage by stage."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from linkjolt.runtime.back_off import BackOff
from linkjolt.runtime.supervisor import Child, Stage, Supervisor, describe_status, reset_if_settled
from tests.waiting import wait_until

# Announces that it is ready, and on SIGTERM writes its name to the file that all share.
_ORDERLY = """
import os, signal, sys, time
name, log, fd, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
def end(*_):
    time.sleep(seconds)
    with open(log, "a") as file:
        file.write(name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
os.write(fd, b"ready")
while True:
    signal.pause()
"""
_DEAF = """
import os, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.write(int(sys.argv[1]), b"ready")
while True:
    signal.pause()
"""


def python_child(name: str, code: str, arguments: Callable[[int], list[str]]) -> Child:
    def spawn(fd: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code, *arguments(fd)], pass_fds=[fd])

    return Child(name, spawn)


def orderly(name: str, log: Path, seconds: float = 0) -> Child:
    return python_child(name, _ORDERLY, lambda fd: [name, str(log), str(fd), str(seconds)])


@asynccontextmanager
async def running(
    stages: list[Stage], changed: Callable[[], None] = lambda: None
) -> AsyncGenerator[Supervisor]:
    """Starts the children of the stages under a supervisor and watches them in the block."""
    supervisor = Supervisor(stages, changed)
    children = [child for stage in stages for child in stage.children]
    supervisor.start(children)
    stop = asyncio.Event()
    watching = asyncio.create_task(supervisor.watch(stop))
    await wait_until(lambda: all(child.announced for child in children))
    yield supervisor
    stop.set()
    await watching
    await supervisor.stop()


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_restarts_wait_longer_and_longer_up_to_five_seconds() -> None:
    restarts, delays = BackOff(0.1, 5), list[float]()
    for _ in range(8):
        reset_if_settled(restarts, lived_seconds=1)
        delays.append(next(restarts))
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


def test_a_child_that_lived_for_half_a_minute_is_started_again_soon() -> None:
    restarts = BackOff(0.1, 5)
    assert sum(next(restarts) for _ in range(7)) > 5
    reset_if_settled(restarts, lived_seconds=29.9)
    assert next(restarts) == 5.0
    reset_if_settled(restarts, lived_seconds=30)
    assert next(restarts) == 0.1


@pytest.mark.parametrize(
    ("status", "text"), [(0, "exit 0"), (3, "exit 3"), (-9, "signal SIGKILL"), (-99, "signal 99")]
)
def test_a_status_is_described_in_words(status: int, text: str) -> None:
    assert describe_status(status) == text


async def test_a_child_that_dies_is_started_again_and_its_new_id_is_announced(
    tmp_path: Path,
) -> None:
    child = orderly("one", tmp_path / "log")
    announced: list[int | None] = []
    async with running([Stage([child], 5)], lambda: announced.append(child.pid)):
        first = child.pid
        assert first
        os.kill(first, signal.SIGKILL)
        await wait_until(lambda: child.pid not in (None, first) and child.announced)
        assert announced == [first, None, child.pid]


async def test_a_stage_is_stopped_when_the_one_before_has_ended(tmp_path: Path) -> None:
    log = tmp_path / "log"
    slow = [orderly("edge", log, seconds=0.3), orderly("edge", log)]
    stages = [
        Stage(slow, 5),
        Stage([orderly("warehouse", log)], 6),
        Stage([orderly("redis", log)], 7),
    ]
    async with running(stages):
        pass
    assert log.read_text().split() == ["edge", "edge", "warehouse", "redis"]


async def test_a_child_that_ignores_the_stop_is_killed_in_its_time() -> None:
    child = python_child("deaf", _DEAF, lambda fd: [str(fd)])
    async with running([Stage([child], 0.3)]):
        pid, begun_at = child.pid, time.monotonic()
    assert pid
    assert 0.3 <= time.monotonic() - begun_at < 3
    assert not alive(pid)


async def test_a_child_that_waits_for_its_restart_is_not_started_by_the_stop(
    tmp_path: Path,
) -> None:
    child = orderly("one", tmp_path / "log")
    supervisor = Supervisor([Stage([child], 5)], lambda: None)
    supervisor.start([child])
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)

    def dead() -> bool:
        supervisor.poll()
        return child.pid is None

    await wait_until(dead)
    await supervisor.stop()
    assert not child.poll(time.monotonic() + 60)
    assert child.pid is None
