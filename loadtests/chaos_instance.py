"""Starts, inspects and stops one `linkjolt up`, by process id alone."""

import asyncio
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx2
import msgspec

from linkjolt.balance.balance import Balance
from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.demo_file import read_demo
from linkjolt.runtime.instance import Pids, Run, read_run

# Everything is sent as one client by one key.
UNLIMITED = {
    "LINKJOLT_RATE_KEY_PER_MINUTE": "0",
    "LINKJOLT_RATE_ACCOUNT_PER_MINUTE": "0",
    "LINKJOLT_RATE_FAILURES_PER_MINUTE": "0",
}
_START_SECONDS = 60
_LOOK_SECONDS = 0.05
_SHED = re.compile(r"^linkjolt_clicks_shed_total ([0-9.e+]+)$", re.MULTILINE)
_LINKS_AT_ONCE = 20


class RunFailed(Exception):
    """The run cannot continue; the message gives the reason."""


class RollupDifference(msgspec.Struct, frozen=True):
    rollup: str
    month: int
    unequal: int


class RepeatedIds(msgspec.Struct, frozen=True):
    table: str
    ids: int


class AuditOutput(msgspec.Struct, frozen=True):
    """The fields of `linkjolt audit --json` that load runs read."""

    clean: bool
    balance: Balance
    rollups: tuple[RollupDifference, ...]
    repeated: tuple[RepeatedIds, ...]

    @property
    def waiting(self) -> int:
        return sum(stream.waiting for stream in self.balance.streams)


async def wait_for(
    description: str, condition: Callable[[], Awaitable[bool] | bool], seconds: float
) -> None:
    """Returns once `condition()` holds; raises RunFailed if it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if holds if isinstance(holds, bool) else await holds:
            return
        if time.monotonic() > deadline:
            raise RunFailed(f"not within {seconds:g} s: {description}")
        await asyncio.sleep(_LOOK_SECONDS)


class Instance:
    """A `linkjolt up` on one data directory; `variables` are LINKJOLT_* settings."""

    def __init__(self, data: Path, edges: int, variables: Mapping[str, str]) -> None:
        self.data = data
        self._edges = edges
        outer = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
        outer |= UNLIMITED
        self._environ = {**outer, **variables}
        self.process: subprocess.Popen[bytes] | None = None
        self.edge_url = ""
        self.reports_url = ""
        self.key = ""

    async def start(self) -> None:
        """Starts `linkjolt up --demo` on free ports and waits until it serves."""
        self.data.mkdir(parents=True, exist_ok=True)
        out = self.data.with_suffix(".out")
        process = self.process = self._spawn(out)

        def serves() -> bool:
            if process.poll() is not None:
                raise RunFailed(f"linkjolt up ended with {process.returncode}: see {self.log}")
            return "A report" in out.read_text()

        await wait_for("linkjolt up serves", serves, _START_SECONDS)
        run = self._run()
        self.edge_url, self.reports_url = run.edge_url, run.reports_url
        demo = read_demo(str(self.data))
        assert demo
        self.key = demo.key

    @property
    def log(self) -> Path:
        return self.data.with_suffix(".log")

    def _spawn(self, out: Path) -> subprocess.Popen[bytes]:
        arguments = ["up", "--demo", "--data", str(self.data), "--edges", str(self._edges)]
        ports = ["--edge-port", "0", "--reports-port", "0"]
        with open(out, "wb") as stdout, open(self.log, "ab") as stderr:
            return subprocess.Popen(
                bound([sys.executable, "-P", "-m", "linkjolt", *arguments, *ports]),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env=self._environ,
                # Ctrl-C reaches the chaos run only, which stops this process after its faults.
                start_new_session=True,
            )

    def _run(self) -> Run:
        run = read_run(str(self.data))
        if run is None:
            raise RunFailed(f"nothing runs under {self.data}")
        return run

    @property
    def redis_url(self) -> str:
        return self._run().redis_url

    def pids(self) -> Pids:
        return self._run().pids

    async def make_links(self, count: int) -> list[str]:
        """Creates links in one new campaign and returns their tracking codes."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx2.AsyncClient(base_url=self.edge_url, headers=headers) as client:

            async def create(kind: str, **body: Any) -> dict[str, str]:
                answer = await client.post(f"/v1/{kind}", json=body)
                answer.raise_for_status()
                return answer.json()

            commission = {"kind": "percentage", "rate": "30"}
            campaign = await create("campaigns", name="C", currency="USD", commission=commission)
            affiliate = await create("affiliates", name="A")
            body = {"campaign_id": campaign["id"], "affiliate_id": affiliate["id"]}
            codes: list[str] = []
            while len(codes) < count:
                few = range(min(_LINKS_AT_ONCE, count - len(codes)))
                asked = [create("links", destination="https://example.com/", **body) for _ in few]
                codes += [link["tracking_code"] for link in await asyncio.gather(*asked)]
        return codes

    async def shed(self) -> int:
        """Reads the clicks shed by all edges since the start, killed ones included."""
        async with httpx2.AsyncClient(timeout=20) as client:
            text = (await client.get(f"{self.edge_url}/metrics")).text
        found = _SHED.search(text)
        return int(float(found[1])) if found else 0

    def spooled(self) -> int:
        """Counts the events in the spool files of all edges, dead ones included."""
        return spooled_under(self.data)

    async def audit(self) -> AuditOutput | None:
        """Runs `linkjolt audit`; None if it printed no result."""
        arguments = ["-P", "-m", "linkjolt", "audit", "--json", "--data", str(self.data)]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=self._environ,
        )
        printed, _ = await process.communicate()
        try:
            return msgspec.json.decode(printed, type=AuditOutput)
        except msgspec.DecodeError:
            return None

    async def stop(self) -> int:
        """Sends SIGTERM to the supervisor and returns its exit status."""
        assert self.process
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, 30)

    def end(self) -> None:
        """Kills the supervisor if it still runs; its children end with it."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def spooled_under(data: Path) -> int:
    """Counts the events in all spool files of a data directory."""
    return sum(_count_spooled(path) for path in (data / "spool").glob("*.spool"))


def _count_spooled(path: Path) -> int:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
            return database.execute("SELECT coalesce(sum(events), 0) FROM frames").fetchone()[0]
    except sqlite3.Error:
        # The file is being created or was just closed: callers that wait read it again.
        return 1
