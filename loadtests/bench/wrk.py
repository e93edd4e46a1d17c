"""Calls wrk, the load generator, and parses its output."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.bench.plan import BenchFailed
from loadtests.bench.programs import run_command
from loadtests.bench.traffic import CONNECTIONS, HEADERS

# On a busy machine it once took more than 30 s beyond its time.
_GRACE_SECONDS = 120
_REQUESTS = re.compile(r"^\s*(\d+) requests in ", re.MULTILINE)
_RATE = re.compile(r"^Requests/sec:\s+([\d.]+)", re.MULTILINE)
_SOCKETS = re.compile(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")
_REFUSED = re.compile(r"Non-2xx or 3xx responses: (\d+)")


class WrkSummary(msgspec.Struct, frozen=True):
    """The summary of a run: `answered` are answers below status 400, `refused` the others."""

    answered: int
    per_second: float
    socket_errors: int
    refused: int

    def problems(self) -> list[str]:
        found = {"answers of status 400 or more": self.refused, "socket errors": self.socket_errors}
        return [f"{count:,} {what}" for what, count in found.items() if count]


def parse_summary(text: str) -> WrkSummary:
    """Parses wrk's output; fails if it contains no summary."""
    requests, rate = _REQUESTS.search(text), _RATE.search(text)
    if not requests or not rate:
        raise BenchFailed(f"wrk printed no summary: {text.strip()[-300:]}")
    sockets, refused = _SOCKETS.search(text), _REFUSED.search(text)
    errors = int(refused[1]) if refused else 0
    return WrkSummary(
        answered=int(requests[1]) - errors,
        per_second=float(rate[1]),
        socket_errors=sum(int(count) for count in sockets.groups()) if sockets else 0,
        refused=errors,
    )


def command(
    port: int,
    seconds: int,
    script: Path,
    arguments: Sequence[str],
    connections: int = CONNECTIONS,
) -> list[str]:
    """Builds the command; wrk accepts whole seconds only."""
    headers = [word for item in HEADERS.items() for word in ("-H", ": ".join(item))]
    size = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    where = ["-s", str(script), f"http://127.0.0.1:{port}/", "--", *arguments]
    return [shutil.which("wrk") or "wrk", *size, *headers, *where]


def run(
    port: int,
    seconds: int,
    core: int,
    script: Path,
    arguments: Sequence[str],
    connections: int = CONNECTIONS,
) -> WrkSummary:
    """Loads a port from one thread on a core and returns wrk's summary."""
    arguments = command(port, seconds, script, arguments, connections)
    return parse_summary(run_command(arguments, core, seconds + _GRACE_SECONDS))
