"""The locustfile's open loop does not wait for answers, and acknowledgements are recorded."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadtests.chaos_check import read_answers
from loadtests.load import LoadOptions, locust_command
from loadtests.mix import Scenario
from tests.chaos.environment import ROOT, plain_environ
from tests.load.scripted_server import ScriptedServer
from tests.load.test_mix import CLICK_ID, CODES

RATE, SECONDS, STALL_SECONDS = 100.0, 2.0, 1.0
OPTIONS = LoadOptions(loops=(), rate=RATE, users=2, seconds=SECONDS, links=1, edges=1, seed=1)


class LocustRun(msgspec.Struct, frozen=True):
    """Locust's exit status, and its counts of requests by milliseconds."""

    status: int
    times: dict[float, int]
    failed: int

    @property
    def requests(self) -> int:
        return sum(self.times.values())

    def slower_than(self, milliseconds: float) -> int:
        return sum(count for time, count in self.times.items() if time > milliseconds)


def finish(words: list[str]) -> subprocess.CompletedProcess[str]:
    environ = plain_environ() | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        words, env=environ, stderr=subprocess.PIPE, text=True, timeout=150, check=False
    )


async def run(loop: str, shop: ScriptedServer, folder: Path) -> LocustRun:
    async with shop.running():
        scenario = Scenario(
            edge_url=shop.url,
            reports_url=shop.url,
            key="key",
            codes=CODES,
            per_second=RATE,
            seconds=SECONDS,
            seed=1,
            folder=str(folder),
        )
        path = folder / "scenario.json"
        path.write_bytes(msgspec.json.encode(scenario))
        words = [*locust_command(path, loop, OPTIONS), "--json-file", str(folder / "seen")]
        done = await asyncio.to_thread(finish, words)
    assert "Traceback" not in done.stderr
    entries: list[dict[str, Any]] = json.loads((folder / "seen.json").read_text())
    times: dict[float, int] = {}
    for entry in entries:
        for time, count in entry["response_times"].items():
            times[float(time)] = times.get(float(time), 0) + count
    return LocustRun(done.returncode, times, sum(entry["num_failures"] for entry in entries))


@pytest.mark.long
async def test_the_open_loop_goes_on_asking_while_nothing_is_answered(tmp_path: Path) -> None:
    shop = ScriptedServer(stall_at=50, stall_seconds=STALL_SECONDS)
    ran = await run("open", shop, tmp_path)
    assert (ran.status, ran.failed) == (0, 0)
    assert ran.requests == shop.asked == RATE * SECONDS
    # Half of a second's requests were due more than half of the stall before its end.
    assert ran.slower_than(STALL_SECONDS * 500) >= RATE * STALL_SECONDS * 0.4


@pytest.mark.long
async def test_the_closed_loop_waits_for_its_answers(tmp_path: Path) -> None:
    ran = await run("closed", ScriptedServer(stall_at=50, stall_seconds=STALL_SECONDS), tmp_path)
    assert (ran.status, ran.failed) == (0, 0)
    assert ran.requests > 50
    assert ran.slower_than(STALL_SECONDS * 500) <= OPTIONS.users


@pytest.mark.long
async def test_acknowledged_is_written_down_and_a_failure_is_not(tmp_path: Path) -> None:
    shop = ScriptedServer(fail_at=1)
    ran = await run("open", shop, tmp_path)
    assert (ran.status, ran.failed) == (1, 1)
    clicks = [line.split() for line in (tmp_path / "clicks.txt").read_text().splitlines()]
    assert {click_id for _, click_id in clicks} == {CLICK_ID}
    numbers = {int(number) for number, _ in clicks}
    assert len(numbers) == len(clicks)
    posted = read_answers(tmp_path)
    assert {(answer.status, answer.conversion_id) for answer in posted} == {(201, "conv_1")}
    # The first request is a click, and the one that failed.
    assert 1 not in numbers
    assert 0.9 * RATE * SECONDS < len(clicks) + len(posted) < RATE * SECONDS


@pytest.mark.parametrize(("loop", "user"), [("open", "Open"), ("closed", "Closed")])
def test_each_loop_is_a_user_of_the_locustfile(loop: str, user: str) -> None:
    words = locust_command(Path("scenario.json"), loop, OPTIONS)
    assert words[-1] == user
    assert ("--users" in words) == (loop == "closed")
