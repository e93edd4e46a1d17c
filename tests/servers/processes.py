"""Starts real processes: a ClickHouse server that can be killed, and LinkJolt's commands."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
import msgspec

from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.redis_server import free_port
from tests.waiting import wait_until

_ROOT = Path(__file__).parents[2]


def _environ() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}


def _spawn(arguments: Sequence[str], environ: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as errors:
        return subprocess.Popen(
            bound([sys.executable, "-m", *arguments]),
            cwd=_ROOT,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kills a process by SIGKILL and waits for its end."""
    process.kill()
    process.wait()


async def answers(url: str) -> bool:
    """Returns True if a GET is answered with 200."""
    try:
        async with httpx2.AsyncClient() as client:
            return (await client.get(url)).status_code == 200
    except httpx2.HTTPError:
        return False


class Engine:
    """One ClickHouse server on one directory, which keeps its data when killed."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        data, log = str(self._folder / "data"), self._folder / "server.log"
        arguments = ["tests.clickhouse_front", data, str(self.port)]
        self._process = _spawn(arguments, _environ(), log)

    def kill(self) -> None:
        if self._process:
            kill(self._process)
        self._process = None

    async def ready(self) -> None:
        """Starts the server unless it runs, and waits until it answers."""
        if self._process is None:
            self.start()
        await wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/ping"))


class LogLine(msgspec.Struct, frozen=True):
    level: str
    event: str


class Linkjolt:
    """The command line in the environment of one installation."""

    def __init__(self, folder: Path, **variables: str) -> None:
        self._folder = folder
        self._environ = _environ() | {"LINKJOLT_DATA": str(folder / "data")} | variables
        self._started: list[subprocess.Popen[bytes]] = []

    async def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end and returns its output."""
        return await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "linkjolt", *arguments],
            cwd=_ROOT,
            env=self._environ | variables,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self, command: str, **variables: str) -> subprocess.Popen[bytes]:
        log = self._folder / f"{command}.log"
        process = _spawn(["linkjolt", command], self._environ | variables, log)
        self._started.append(process)
        return process

    def log(self, command: str) -> list[LogLine]:
        """Reads the log of a command's processes; any other line on stderr is an error."""
        text = (self._folder / f"{command}.log").read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        return [msgspec.json.decode(line, type=LogLine) for line in whole.splitlines()]

    def says(self, command: str, event: str) -> bool:
        return any(line.event == event for line in self.log(command))

    def levels(self, command: str) -> set[str]:
        return {line.level for line in self.log(command)}

    def end(self) -> None:
        """Kills every process that was started here."""
        for process in self._started:
            kill(process)
