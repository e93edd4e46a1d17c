"""Runs `linkjolt up` as users do, as a child driven over HTTP; imports nothing of LinkJolt."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

# Everything is sent as one client by one key.
UNLIMITED = {
    "LINKJOLT_RATE_KEY_PER_MINUTE": "0",
    "LINKJOLT_RATE_ACCOUNT_PER_MINUTE": "0",
    "LINKJOLT_RATE_FAILURES_PER_MINUTE": "0",
}
START_SECONDS = 30
COMMAND = (sys.executable, "-m", "linkjolt")


def wait_for(description: str, condition: Callable[[], bool], seconds: float = 15) -> None:
    """Returns once `condition()` holds; fails with the description if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:g} s: {description}")
        time.sleep(0.02)


@dataclass
class Instance:
    """One `linkjolt up` under `data`, with its output in files beside it."""

    data: Path
    process: subprocess.Popen[bytes]

    @property
    def run(self) -> dict[str, Any]:
        return json.loads((self.data / "run.json").read_text())

    @property
    def printed(self) -> str:
        return self.data.with_suffix(".out").read_text()

    @property
    def log(self) -> str:
        return self.data.with_suffix(".err").read_text()

    def demo(self, what: str) -> str:
        """Returns the demo's `link` as it is printed, or its `key` as its file has it."""
        if what == "key":
            return json.loads((self.data / "demo.json").read_text())["key"]
        lines = [line for line in self.printed.splitlines() if line.startswith(f"Demo {what}:")]
        return lines[0].split()[-1]

    def curl(self, what: str) -> str:
        """Returns the command printed under `A click:`, `A conversion:` or `A report:`."""
        lines = self.printed.splitlines()
        return next(lines[i + 1] for i, line in enumerate(lines) if line.startswith(what))

    def api(self, url: str, **parameters: Any) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self.demo('key')}"}
        return httpx2.get(self.run[url] + parameters.pop("path"), headers=headers, **parameters)

    def report(self, **parameters: str) -> dict[str, Any]:
        answer = self.api("reports_url", path="/v1/reports", params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def linkjolt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Runs another command on the same data directory."""
        return subprocess.run(
            [*COMMAND, *words, "--data", str(self.data)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def stop(self) -> int:
        """Sends SIGTERM and returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)


def start(data: Path, *words: str, launcher: Sequence[str] = (), **variables: str) -> Instance:
    """Starts `linkjolt up --demo` on free ports, with no other LINKJOLT_ variables than these.

    All tests send as one client by one key, so that there are no rate limits but for theirs.

    `launcher` are words before the command, of a program that becomes it.
    """
    command = [*launcher, *COMMAND, "up", "--demo", "--data", str(data)]
    ports = ["--edge-port", "0", "--reports-port", "0"]
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")}
    environment = inherited | UNLIMITED | variables
    with open(data.with_suffix(".out"), "wb") as out, open(data.with_suffix(".err"), "ab") as err:
        process = subprocess.Popen(
            [*command, *ports, *words], stdout=out, stderr=err, env=environment
        )
    instance = Instance(data, process)

    def ready() -> bool:
        if process.poll() is not None:
            pytest.fail(f"linkjolt up ended with {process.returncode}: {instance.log[-2000:]}")
        return "A report" in instance.printed

    try:
        wait_for("the banner is printed", ready, START_SECONDS)
    except BaseException:
        instance.stop()
        raise
    return instance


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    running = start(tmp_path_factory.mktemp("up") / "data")
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def own_instance(tmp_path: Path) -> Iterator[Instance]:
    """Starts an instance for one test, which may damage it."""
    running = start(tmp_path / "data")
    yield running
    if running.process.poll() is None:
        running.stop()


@pytest.fixture
def limited_instance(tmp_path: Path) -> Iterator[Instance]:
    """Starts an instance for one test, with the rate limits that it has by default."""
    limits = {
        "LINKJOLT_RATE_KEY_PER_MINUTE": "6000",
        "LINKJOLT_RATE_ACCOUNT_PER_MINUTE": "12000",
        "LINKJOLT_RATE_FAILURES_PER_MINUTE": "20",
    }
    running = start(tmp_path / "data", **limits)
    yield running
    running.stop()
