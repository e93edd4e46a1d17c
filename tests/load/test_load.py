"""`make load` stores what it acknowledges, and fails on a loss, a double or a bad audit."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from linkjolt.balance.balance import Balance
from loadtests.chaos_check import ClickCounts, ConversionCounts, PhaseResult
from loadtests.chaos_instance import AuditOutput
from loadtests.load import find_problems
from tests.chaos.environment import ROOT, plain_environ

EVEN = AuditOutput(
    clean=True, balance=Balance(streams=(), as_of=datetime.now(UTC)), rollups=(), repeated=()
)
CLICKS = ClickCounts(acknowledged=10, stored=10, missing=0, doubled=0)
CONVERSIONS = ConversionCounts(
    answers={201: 2},
    acknowledged=2,
    stored=2,
    rejected=0,
    missing=0,
    doubled=0,
    orders_doubled=0,
)
FOUND = PhaseResult(CLICKS, CONVERSIONS, EVEN, shed=0, spooled=0)


@pytest.mark.long
def test_a_short_run_of_both_loops_stores_what_it_acknowledges(tmp_path: Path) -> None:
    sizes = ["--rate", "40", "--users", "2", "--seconds", "3", "--links", "10"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loadtests.load", "--data", str(tmp_path), *sizes],
        env=plain_environ() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Response time percentiles") == 2
    assert "locust itself was late by p99" in done.stdout
    assert done.stdout.endswith("every acknowledged event is stored once\n")
    # 40/s for 3 s in the open loop alone.
    assert len((tmp_path / "clicks.txt").read_text().splitlines()) > 100


def test_a_clean_count_and_a_content_locust_are_no_problem() -> None:
    assert find_problems([0, 0], FOUND) == []


def test_what_locust_calls_a_failure_fails_the_run() -> None:
    assert find_problems([0, 1], FOUND) == ["locust ended with 1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"clicks": msgspec.structs.replace(CLICKS, missing=1)},
        {"clicks": msgspec.structs.replace(CLICKS, doubled=1)},
        {"clicks": msgspec.structs.replace(CLICKS, stored=11)},
        {"clicks": msgspec.structs.replace(CLICKS, acknowledged=0, stored=0)},
        {"conversions": msgspec.structs.replace(CONVERSIONS, missing=1)},
        {"conversions": msgspec.structs.replace(CONVERSIONS, stored=1)},
        {"audit": None},
        {"audit": msgspec.structs.replace(EVEN, clean=False)},
        {"shed": 1},
    ],
    ids=[
        "missing",
        "doubled",
        "more",
        "none",
        "posts missing",
        "posts fewer",
        "no audit",
        "audit",
        "shed",
    ],
)
def test_what_is_lost_doubled_or_unaudited_fails_the_run(changed: dict[str, object]) -> None:
    assert len(find_problems([0, 0], msgspec.structs.replace(FOUND, **changed))) == 1
