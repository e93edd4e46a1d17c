"""Ratios are medians of pairs, a problem fails a row, and the page shows every row."""

from datetime import date
from pathlib import Path

import pytest

from loadtests.bench.machine import Machine
from loadtests.bench.plan import Cores
from loadtests.bench.results import ResultsPage, describe_method, markdown, write
from loadtests.bench.rows import BenchRow, FigurePair, describe_spread, judge, median_ratio, table

ROW = BenchRow(name="clicks", target=">= 2x", figure="2.10x", verdict="pass", detail=("a line",))


def test_a_ratio_is_the_median_of_the_pairs_ratios_not_the_ratio_of_medians() -> None:
    pairs = [FigurePair(100, 50), FigurePair(10, 10), FigurePair(90, 30)]
    assert median_ratio(pairs) == 2.0


def test_a_peer_that_did_nothing_gives_no_ratio() -> None:
    assert FigurePair(100, 0).ratio == 0.0


def test_a_spread_names_median_least_and_most() -> None:
    assert describe_spread([5601.4, 6020, 5812], "/s") == "median 5,812/s (5,601 to 6,020)"
    assert describe_spread([1.5, 1.25], " ms", 2) == "median 1.38 ms (1.25 to 1.50)"


def test_a_problem_fails_a_row_that_met_its_target() -> None:
    assert judge(True, []) == "pass"
    assert judge(False, []) == "fail"
    assert judge(True, ["3 socket errors"]) == "fail"


def test_the_table_is_aligned() -> None:
    lines = table([ROW, BenchRow(name="p99", target="<= 5 ms", figure="7 ms", verdict="fail")])
    assert lines.splitlines() == [
        "| what   | target  | figure | verdict |",
        "|--------|---------|--------|---------|",
        "| clicks | >= 2x   | 2.10x  | PASS    |",
        "| p99    | <= 5 ms | 7 ms   | FAIL    |",
    ]


def page(cores: Cores) -> ResultsPage:
    return ResultsPage(
        day=date(2027, 1, 31),
        command="python -m loadtests.bench",
        cores=cores,
        machine=Machine((("CPU", "a fast one"),)),
        redis={"appendonly": "yes", "save": ""},
        rows=[ROW],
    )


def test_the_page_shows_command_machine_settings_rows_and_their_details(tmp_path: Path) -> None:
    path = write(page(Cores(0, 1, 1)), tmp_path / "results")
    text = path.read_text()
    assert path.name == "bench-2027-01-31.md"
    assert text == markdown(page(Cores(0, 1, 1)))
    for part in (
        "`python -m loadtests.bench`",
        "- CPU: a fast one",
        "appendonly yes, save (none)",
        table([ROW]),
        "## clicks\n\n- a line\n",
    ):
        assert part in text


@pytest.mark.parametrize(("redis", "shared"), [(1, True), (2, False)])
def test_the_page_says_whether_wrk_and_redis_share_a_core(redis: int, shared: bool) -> None:
    assert ("They share that core" in describe_method(Cores(0, 1, redis))) is shared
