"""Each bench of the whole pipeline runs for real, in small, and computes its figures rightly."""

import os
import sys
from functools import partial
from pathlib import Path

import pytest

from loadtests.bench.aggregator import CatchUpFigures, measure_aggregator, parse_figures
from loadtests.bench.loads import steady_clicks
from loadtests.bench.memory import RedisMemory, measure_waiting, memory_row
from loadtests.bench.plan import Bench, BenchFailed, BenchPlan, pick_cores, select_benches
from loadtests.bench.startup import measure_installed, program_path, seconds_until_redirect
from loadtests.bench.visible import measure_visible
from loadtests.bench.webhooks import measure_webhooks

CAUGHT_UP = """\
waiting      1000000 clicks, 391 bytes each in Redis
stored       123456 events/s on one core, 512 MiB at most
audit        clean
PASS
"""
EMPTY = RedisMemory(used_bytes=1_000_000, stream_bytes=0, entries=0, events=0)


@pytest.fixture
def plan(tmp_path: Path) -> BenchPlan:
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
    if len(allowed) < 2:
        pytest.skip("pinning to two cores needs Linux and two cores")
    return BenchPlan(folder=tmp_path, cores=pick_cores(allowed), seconds=1, pairs=1)


def test_a_bench_on_request_is_left_out_unless_it_is_named() -> None:
    always = Bench("always", "", frozenset(), measure_installed)
    asked = Bench("asked", "", frozenset(), measure_installed, on_request=True)
    assert select_benches([always, asked], ()) == [always]
    assert select_benches([always, asked], ("asked",)) == [asked]


@pytest.mark.long
def test_probes_of_an_instance_give_two_rows_in_seconds(plan: BenchPlan) -> None:
    own = os.sched_getaffinity(0)
    rows = measure_visible(plan, probes=3)
    assert [row.name.rpartition(" ")[2] for row in rows] == ["p50", "p99"]
    assert all(0 < float(row.figure.removesuffix(" s")) < 10 for row in rows)
    assert rows[0].detail[0].startswith("3 probes, ")
    assert os.sched_getaffinity(0) == own


def test_memory_is_what_came_between_two_looks_by_the_clicks_that_came() -> None:
    before = RedisMemory(used_bytes=1_000_000, stream_bytes=1_000, entries=10, events=50)
    after = RedisMemory(used_bytes=1_030_000, stream_bytes=27_000, entries=20, events=150)
    row = memory_row("at 1/s", before, after, [])
    assert (row.figure, row.verdict) == ("300 bytes", "pass")
    assert row.detail == (
        "100 clicks in 10 entries of the stream, 10.0 each",
        "of the 300 bytes of used_memory 260 are the stream's own",
    )
    dear = memory_row(
        "at 1/s",
        EMPTY,
        RedisMemory(used_bytes=1_040_100, stream_bytes=0, entries=1, events=100),
        [],
    )
    assert (dear.figure, dear.verdict) == ("401 bytes", "fail")
    assert memory_row("at 1/s", before, after, ["lost"]).verdict == "fail"


def test_memory_without_a_click_is_no_figure() -> None:
    with pytest.raises(BenchFailed, match="no click"):
        memory_row("at 1/s", EMPTY, EMPTY, [])


@pytest.mark.long
def test_a_waiting_click_takes_some_hundred_bytes_of_redis(plan: BenchPlan) -> None:
    row = measure_waiting(plan, "at 400/s", partial(steady_clicks, per_second=400))
    # A second of warm-up and one of measurement.
    assert row.detail[0].startswith("801 clicks in ")
    # Its user agent, referrer and click id alone are 130.
    assert 130 < float(row.figure.removesuffix(" bytes")) < 1_000


def test_what_catch_up_prints_is_read() -> None:
    assert parse_figures(CAUGHT_UP) == CatchUpFigures(123_456, 512, clean=True)
    assert not parse_figures(CAUGHT_UP.replace("clean", "NOT CLEAN")).clean
    with pytest.raises(BenchFailed, match="no Redis"):
        parse_figures("Error: no Redis-protocol server found")


@pytest.mark.long
def test_catch_up_prints_what_is_read(plan: BenchPlan) -> None:
    (row,) = measure_aggregator(plan, events=5_000)
    assert float(row.figure.removesuffix("/s").replace(",", "")) > 0
    assert row.detail[0].startswith("5,000 clicks, ")
    # The audit was clean.
    assert len(row.detail) == 1


@pytest.mark.long
def test_a_start_is_timed_to_its_first_redirect_and_leaves_nothing_running(plan: BenchPlan) -> None:
    (row,) = measure_installed(plan)
    assert 0 < float(row.figure.removesuffix(" s")) < 60
    assert row.detail[0].startswith("1 starts, ")
    assert list(plan.folder.iterdir()) == []


@pytest.mark.long
def test_what_make_runs_is_ended_though_make_passes_no_signal_on(tmp_path: Path) -> None:
    words = f"{sys.executable} -P -m linkjolt up --demo"
    (tmp_path / "Makefile").write_text(f"run:\n\t@{words}; echo ended with $$?\n")
    data = tmp_path / "data"
    # Under another make it would also print its folder.
    command = [program_path("make"), "--no-print-directory", "run"]
    assert 0 < seconds_until_redirect(command, tmp_path, data, 60) < 60
    assert (tmp_path / "start.log").read_text().endswith("ended with 0\n")


def test_a_command_that_ends_without_a_redirect_says_why(tmp_path: Path) -> None:
    words = ["/bin/sh", "-c", "echo no room on the disk; exit 1"]
    with pytest.raises(BenchFailed, match="no room on the disk"):
        seconds_until_redirect(words, tmp_path, tmp_path / "data", 60)


@pytest.mark.long
def test_every_webhook_of_a_bench_arrives_once(plan: BenchPlan) -> None:
    [row] = measure_webhooks(plan, deliveries=50)
    assert row.detail == ("50 conversions, each told of once to one endpoint",)
    assert float(row.figure.removesuffix("/s").replace(",", "")) > 0
