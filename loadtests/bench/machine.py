"""Describes the machine of a run: CPU, disk, versions."""

import os
import platform
import re
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import msgspec

from linkjolt.runtime.redis_server import find_binary
from loadtests.bench.peers.nginx import find_nginx

_PACKAGES = ("uvicorn", "starlette", "redis", "hiredis", "uvloop", "httptools", "msgspec")
_SYNCS = 200
_BLOCK = bytes(4096)


class Machine(msgspec.Struct, frozen=True):
    """Names and values that describe a machine; `sync_ms` is a durable write of 4 KB."""

    lines: tuple[tuple[str, str], ...]
    sync_ms: float = 0.0


def read_machine(folder: Path) -> Machine:
    """Reads the machine's description; takes a second to time the disk under `folder`."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    sync_ms = _measure_sync_ms(folder)
    lines = [
        ("CPU", f"{_cpu_model()}, {os.cpu_count()} cores"),
        ("kernel", platform.release()),
        ("disk", f"{_file_system(folder)}, fsync of 4 KB {sync_ms:.2f} ms (median)"),
        ("load before the run", load),
        ("Python", f"{platform.python_version()}, {_python_kind()}"),
        ("nginx", _first_line([find_nginx() or "nginx", "-v"])),
        ("lua-nginx-module", _package("libnginx-mod-http-lua")),
        ("wrk", _first_line(["wrk", "-v"])),
        ("Redis-protocol server", _first_line([find_binary(), "--version"])),
        ("Python packages", ", ".join(f"{name} {version(name)}" for name in _PACKAGES)),
    ]
    return Machine(tuple(lines), sync_ms)


def _python_kind() -> str:
    # Not every build of Python is profile-guided, which is worth a fifth of its speed.
    return "the system's own build" if sys.base_prefix == "/usr" else "not the system's build"


def _cpu_model() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else platform.machine()


def _file_system(folder: Path) -> str:
    """Finds the type of the folder's file system, such as `ext4`."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    path = str(folder.resolve())
    holding = [(at, kind) for at, kind in mounts if Path(path).is_relative_to(at)]
    return max(holding, key=lambda mount: len(mount[0]))[1]


def _measure_sync_ms(folder: Path) -> float:
    """Measures the milliseconds of a durable write: on a RAM disk durability is free."""
    times: list[float] = []
    with open(folder / "sync", "wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(_BLOCK)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def _first_line(command: list[str]) -> str:
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except FileNotFoundError:
        return "not installed"
    return (ran.stdout or ran.stderr).strip().partition("\n")[0].removeprefix("nginx version: ")


def _package(name: str) -> str:
    shown = _first_line(["dpkg-query", "-W", "-f", "${Version}", name])
    return shown if shown and "no packages found" not in shown else "not installed"
