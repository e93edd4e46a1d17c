"""The bench of reports, over few clicks, has a row per report, and rollups agree with raw."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.rollups.pull import Source, find_differing_months
from linkjolt.position import time_ms
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_of
from loadtests.bench.plan import BenchFailed
from loadtests.bench.reports_bench.measure import (
    BUDGET_CLICKS,
    Timing,
    percentile,
    rows_of_all,
    time_question,
    timing_row,
)
from loadtests.bench.reports_bench.questions import QUESTIONS
from loadtests.bench.reports_bench.warehouse import (
    BuiltWarehouse,
    EventSpan,
    WarehouseSize,
    chunks,
    digest_sources,
    fill,
    find_existing,
    open_warehouse,
)

SIZE = WarehouseSize(clicks=50_000, days=60)
END = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
TIMING = Timing(question="days", shape="quarter", runs_ms=(4.0,), cpu_ms=3.0, raw_ms=400, same=True)


class Number(msgspec.Struct, frozen=True):
    number: int


@pytest.mark.long
async def test_every_question_has_a_row_and_the_same_answer_from_rollup_and_raw(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    await fill(clickhouse, SIZE, END)
    sources: tuple[Source, ...] = ("clicks", "conversions")
    for source in sources:
        assert await find_differing_months(clickhouse, source, "rollup_dimension") == []
        sql = f"SELECT toUInt64(count()) AS number FROM {source} WHERE account != 0"
        assert await clickhouse.read(sql, Number) == [Number(getattr(SIZE, source))]
    built = BuiltWarehouse(SIZE, digest_sources(), END, 1, 1)
    timings = [await time_question(clickhouse, redis, one, built, 0) for one in QUESTIONS]
    assert [timing.question for timing in timings if not timing.same] == []
    assert "raw" not in {timing.shape for timing in timings}
    rows = [timing_row(timing, SIZE.clicks) for timing in timings]
    assert len({row.name for row in rows}) == len(QUESTIONS) >= 20
    assert {row.verdict for row in rows} == {"shown"}


@pytest.mark.parametrize(
    ("clicks", "changes", "verdict"),
    [
        (BUDGET_CLICKS, {}, "pass"),
        (BUDGET_CLICKS, {"runs_ms": (4.0, 100.0)}, "pass"),
        (BUDGET_CLICKS, {"runs_ms": (4.0, 100.1)}, "fail"),
        (BUDGET_CLICKS, {"same": False}, "fail"),
        (BUDGET_CLICKS - 1, {"runs_ms": (4.0, 100.1)}, "shown"),
        (BUDGET_CLICKS - 1, {"same": False}, "fail"),
    ],
)
def test_the_budget_is_one_of_so_many_clicks_and_another_answer_fails_whatever_its_speed(
    clicks: int, changes: dict[str, object], verdict: str
) -> None:
    assert timing_row(msgspec.structs.replace(TIMING, **changes), clicks).verdict == verdict


def test_the_reports_together_keep_a_first_time_and_enough_short_ones() -> None:
    fast, slow = (4.0, 50.0), (51.0, 51.0)
    median_fast = (*[50.0] * 9, 51.0)

    def verdicts(first_ms: float, *runs_ms: tuple[float, ...]) -> list[str]:
        timings = [msgspec.structs.replace(TIMING, runs_ms=runs) for runs in runs_ms]
        return [row.verdict for row in rows_of_all(timings, first_ms, BUDGET_CLICKS)]

    assert verdicts(1_000, *[fast] * 12, *[median_fast] * 8, *[slow] * 4) == ["pass"] * 3
    assert verdicts(1_001, *[fast] * 11, *[median_fast] * 8, *[slow] * 5) == ["fail"] * 3
    timings = [msgspec.structs.replace(TIMING, runs_ms=slow)]
    rows = rows_of_all(timings, 2_000, BUDGET_CLICKS - 1)
    assert {row.verdict for row in rows} == {"shown"}


def test_a_share_of_the_runs_is_one_of_them() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile(range(1, 201), 0.99) == 198


def test_events_are_cut_at_ingest_months_and_after_so_many_and_none_is_left_out() -> None:
    events = EventSpan.of(WarehouseSize(clicks=100_000), "clicks", END)
    cut = list(chunks(events, events_max=4_000))
    assert [chunk.first for chunk in cut[1:]] == [chunk.end for chunk in cut[:-1]]
    assert (cut[0].first, cut[-1].end) == (0, 100_000)
    assert max(chunk.end - chunk.first for chunk in cut) == 4_000
    for chunk in cut:
        assert month_of(events.pos(chunk.first)) == month_of(chunk.pos)
        assert time_ms(chunk.pos) < time_ms(events.pos(chunk.end))


def test_a_warehouse_is_used_again_only_where_size_and_sql_are_the_same(tmp_path: Path) -> None:
    assert find_existing(tmp_path, SIZE) is None
    built = BuiltWarehouse(SIZE, digest_sources(), END, 1, 1)
    (tmp_path / "built.json").write_bytes(msgspec.json.encode(built))
    assert find_existing(tmp_path, SIZE) == built
    assert find_existing(tmp_path, msgspec.structs.replace(SIZE, links=3)) is None
    other = msgspec.structs.replace(built, made_by="other tables")
    (tmp_path / "built.json").write_bytes(msgspec.json.encode(other))
    assert find_existing(tmp_path, SIZE) is None


async def test_a_folder_of_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")
    with pytest.raises(BenchFailed, match="other files"):
        async with open_warehouse(tmp_path, SIZE):
            pass
    assert (tmp_path / "letters").read_text() == "dear"
