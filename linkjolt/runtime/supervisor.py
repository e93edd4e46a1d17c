"""Keeps child processes running: restarts the dead ones, with back-off, and stops all in order."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import msgspec
import structlog

from linkjolt.runtime.back_off import BackOff

_TICK_SECONDS = 0.05
_DELAY_FIRST_SECONDS = 0.1
_DELAY_MAX_SECONDS = 5.0
_SETTLED_SECONDS = 30.0

_log = structlog.get_logger()


def reset_if_settled(restarts: BackOff, lived_seconds: float) -> None:
    """Begins the delays of restarts anew for a child that lived for half a minute."""
    if lived_seconds >= _SETTLED_SECONDS:
        restarts.reset()


def describe_status(status: int) -> str:
    """`exit 1` or `signal SIGKILL`, for a return code of `subprocess`."""
    if status >= 0:
        return f"exit {status}"
    try:
        return f"signal {signal.Signals(-status).name}"
    except ValueError:
        return f"signal {-status}"


class Child:
    """A named child process; `spawn` gets a descriptor by which the child announces itself."""

    def __init__(self, name: str, spawn: Callable[[int], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self._spawn = spawn
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._restarts = BackOff(_DELAY_FIRST_SECONDS, _DELAY_MAX_SECONDS)
        self._due_at: float | None = None
        self._ready_fd: int | None = None
        self.announced = False

    @property
    def pid(self) -> int | None:
        """Process id; None while it is not running."""
        return self._process.pid if self._process else None

    def start(self, now: float) -> None:
        """Starts the process; OSError when the machine cannot."""
        self._due_at = None
        self._started_at = now
        self.announced = False
        self._close_pipe()
        self._ready_fd, theirs = os.pipe()
        os.set_blocking(self._ready_fd, False)
        try:
            self._process = self._spawn(theirs)
        finally:
            os.close(theirs)
        _log.info("child started", child=self.name, child_pid=self.pid)

    def poll(self, now: float) -> bool:
        """Notices a death and restarts when it is time; True when the process id changed."""
        self._listen()
        status = self._process.poll() if self._process else None
        if status is not None:
            self._on_exit(describe_status(status), now)
            return True
        if self._due_at is None or now < self._due_at:
            return False
        try:
            self.start(now)
        except OSError as error:
            self._on_exit(str(error), now)
            return False
        return True

    def _on_exit(self, status: str, now: float) -> None:
        reset_if_settled(self._restarts, now - self._started_at)
        delay_seconds = next(self._restarts)
        self._due_at = now + delay_seconds
        _log.warning(
            "child died",
            child=self.name,
            child_pid=self.pid,
            status=status,
            restart_in_seconds=delay_seconds,
        )
        self._process = None

    def _listen(self) -> None:
        if self._ready_fd is None:
            return
        with suppress(BlockingIOError):
            self.announced = os.read(self._ready_fd, 1) != b""
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._ready_fd is not None:
            os.close(self._ready_fd)
        self._ready_fd = None

    def terminate(self) -> None:
        """Asks the process to end; it is not restarted."""
        self._due_at = None
        self._close_pipe()
        if self._process:
            self._process.terminate()

    def ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def kill(self) -> None:
        """Kills the process and waits for its end."""
        if self._process:
            self._process.kill()
            self._process.wait()


class Stage(msgspec.Struct, frozen=True):
    """Children that are stopped together; those still running at `killed_after_seconds` are killed.

    The seconds count from the beginning of the whole stop: a stage leaves the time that it did
    not need to the next.
    """

    children: Sequence[Child]
    killed_after_seconds: float


class Supervisor:
    """Starts and stops all children, in the order of stages; calls `changed` on new process ids."""

    def __init__(self, stages: Iterable[Stage], changed: Callable[[], None]) -> None:
        self._stages = list(stages)
        self._changed = changed

    def start(self, children: Iterable[Child]) -> None:
        for child in children:
            child.start(time.monotonic())
        self._changed()

    def poll(self) -> None:
        """Polls every child once."""
        now = time.monotonic()
        changed = [child.poll(now) for stage in self._stages for child in stage.children]
        if any(changed):
            self._changed()

    async def watch(self, stop: asyncio.Event) -> None:
        """Restarts what dies; returns soon after `stop` is set, while all children run."""
        while not stop.is_set():
            self.poll()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _TICK_SECONDS)

    async def stop(self) -> None:
        """Stops stage by stage: SIGTERM, a bounded wait, SIGKILL for what is left."""
        begun_at = time.monotonic()
        for stage in self._stages:
            for child in stage.children:
                child.terminate()
            await _ended(stage.children, begun_at + stage.killed_after_seconds)
            for child in stage.children:
                if not child.ended():
                    _log.warning("child killed, it did not end", child=child.name)
                    child.kill()


async def _ended(children: Sequence[Child], until: float) -> None:
    while time.monotonic() < until:
        if all(child.ended() for child in children):
            return
        await asyncio.sleep(_TICK_SECONDS / 5)
