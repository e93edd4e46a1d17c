"""A repair makes a rollup equal to raw, at once or not at all, and pulls continue from it."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.app import AggregatorLoop
from aggregator.maintenance import repair as repair_module
from aggregator.maintenance.audit import find_differences
from aggregator.maintenance.operations import TABLES
from aggregator.maintenance.repair import RebuiltPartition, incomplete_months, rebuild_range, repair
from aggregator.rollups import pull as pulling
from aggregator.rollups.day_counts import count_days
from aggregator.rollups.pull import read_watermark
from aggregator.rollups.statements import FRESH_ROLLUPS
from aggregator.rows.rows import click_marker, conversion_marker
from linkjolt.balance.balance import Balance, HourBalance, StreamBalance
from linkjolt.reasons import Rejected
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.months import month_of
from tests.aggregator.conftest import Line
from tests.aggregator.rollups.sample import Sample, make_sample
from tests.aggregator.rollups.sample import store as store_sample
from tests.aggregator.rollups.test_catch_up import Count, cells, inserts
from tests.waiting import wait_until

START = datetime(2026, 10, 30, 21, 7, tzinfo=UTC)
END = datetime(2026, 11, 2, 5, 0, tzinfo=UTC)
HOURS = 50
EVEN = Balance((), END)
DAMAGES = {
    "lost cells": "ALTER TABLE {0} DELETE WHERE month = {1} AND account != 0"
    " AND cityHash64(time) % 3 = 0 SETTINGS mutations_sync = 2",
    "lost markers too": "ALTER TABLE {0} DELETE WHERE month = {1} AND cityHash64(time) % 2 = 0"
    " SETTINGS mutations_sync = 2",
    "doubled cells": "INSERT INTO {0} SELECT * FROM {0} WHERE month = {1} AND account != 0",
    "no partition": "ALTER TABLE {0} DROP PARTITION {1}",
}


def hour(month: int, difference: int) -> HourBalance:
    at = datetime(month // 100, month % 100, 1, tzinfo=UTC)
    return HourBalance(at, max(difference, 0), 0, 0, 0, difference)


def balance_of(*hours: HourBalance) -> Balance:
    difference = sum(hour.difference for hour in hours)
    stream = StreamBalance("clicks/0", difference, 0, 0, 0, difference, False, None, hours)
    return Balance((stream,), END)


async def store(clickhouse: ClickHouse, sample: Sample) -> None:
    """Stores a sample with markers in raw at the ends of its rollups."""
    await store_sample(clickhouse, sample)
    ends = {
        "clicks": [click_marker(s, max(row.pos for row in sample.clicks)) for s in (0, 2)],
        "conversions": [
            conversion_marker(s, max(row.pos for row in sample.conversions)) for s in (1, 3)
        ],
    }
    for table, markers in ends.items():
        lines = msgspec.json.Encoder().encode_lines(markers)
        await clickhouse.insert(table, ("time", "s", "pos"), lines)


async def staging_tables(clickhouse: ClickHouse) -> int:
    sql = "SELECT count() AS number FROM system.tables WHERE database = currentDatabase()"
    named = f"{sql} AND name LIKE 'staging%'"
    return (await clickhouse.read(named, Count))[0].number


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(11, START, END, clicks=300, conversions=60)


@pytest.mark.parametrize(
    ("table", "damage"),
    [
        *(pytest.param("rollup_quarter", name, marks=pytest.mark.long) for name in DAMAGES),
        ("rollup_day", "lost cells"),
        pytest.param("rollup_dimension", "lost cells", marks=pytest.mark.long),
    ],
)
async def test_a_damaged_month_is_repaired_to_the_cell(
    clickhouse: ClickHouse, sample: Sample, table: str, damage: str
) -> None:
    await store(clickhouse, sample)
    before = await cells(clickhouse, table)
    marks = [await read_watermark(clickhouse, table, s) for s in range(4)]
    await clickhouse.execute(DAMAGES[damage].format(table, 202611))
    assert await cells(clickhouse, table) != before
    await repair(clickhouse, EVEN, HOURS)
    assert await cells(clickhouse, table) == before
    assert [await read_watermark(clickhouse, table, s) for s in range(4)] == marks
    assert await find_differences(clickhouse) == []
    assert await staging_tables(clickhouse) == 0


@pytest.mark.long
async def test_the_minute_rollup_is_repaired_within_its_time(clickhouse: ClickHouse) -> None:
    now = datetime.now(UTC)
    recent = make_sample(12, now - timedelta(hours=5), now, clicks=300, conversions=40)
    await store(clickhouse, recent)
    doubled = "INSERT INTO rollup_minute SELECT * FROM rollup_minute WHERE account != 0"
    await clickhouse.execute(doubled)
    months = {row.month for row in await find_differences(clickhouse)}
    done = await repair(clickhouse, EVEN, HOURS)
    assert {(row.rollup, row.month) for row in done} == {("rollup_minute", m) for m in months}
    assert await find_differences(clickhouse) == []
    sql = "SELECT toInt64(sum(clicks)) AS number FROM rollup_minute WHERE account != 0"
    assert (await clickhouse.read(sql, Count))[0].number == 300


async def test_what_is_right_is_not_rebuilt(clickhouse: ClickHouse, sample: Sample) -> None:
    await store(clickhouse, sample)
    before = [await inserts(clickhouse, table) for table in TABLES]
    assert await repair(clickhouse, EVEN, HOURS) == []
    assert [await inserts(clickhouse, table) for table in TABLES] == before


@pytest.mark.long
@pytest.mark.parametrize("step", ["before the swap", "after the swap"])
async def test_a_crash_leaves_the_old_or_the_new_month_and_the_next_repair_ends_it(
    clickhouse: ClickHouse, sample: Sample, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    swap = repair_module._swap  # pyright: ignore[reportPrivateUsage]

    async def crash(clickhouse: ClickHouse, rollup: str, month: int) -> None:
        if step == "after the swap":
            await swap(clickhouse, rollup, month)
            await clickhouse.execute(f"CREATE TABLE staging_{rollup} AS {rollup}")
        raise ClickHouseFailed("the process died here")

    await store(clickhouse, sample)
    right = await cells(clickhouse, "rollup_quarter")
    await clickhouse.execute(DAMAGES["doubled cells"].format("rollup_quarter", 202610))
    damaged = await cells(clickhouse, "rollup_quarter")
    with monkeypatch.context() as patch:
        patch.setattr(repair_module, "_swap", crash)
        with pytest.raises(ClickHouseFailed):
            await repair(clickhouse, EVEN, HOURS)
    left = damaged if step == "before the swap" else right
    assert await cells(clickhouse, "rollup_quarter") == left
    assert await staging_tables(clickhouse) == 1
    await repair(clickhouse, EVEN, HOURS)
    assert await cells(clickhouse, "rollup_quarter") == right
    assert await staging_tables(clickhouse) == 0


@pytest.mark.long
async def test_a_range_is_rebuilt_different_or_not_and_nothing_beside_it(
    clickhouse: ClickHouse, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulling, "CHUNK_ROWS", 100)
    await store(clickhouse, sample)
    before = await cells(clickhouse, "rollup_quarter")
    for month in (202610, 202611):
        await clickhouse.execute(DAMAGES["doubled cells"].format("rollup_quarter", month))
    done = await rebuild_range(clickhouse, 202611, 202612, HOURS, ["rollup_quarter"])
    assert done == [RebuiltPartition("rollup_quarter", 202611, "rebuilt from raw")]
    differences = await find_differences(clickhouse)
    assert {(row.rollup, row.month) for row in differences} == {("rollup_quarter", 202610)}
    await rebuild_range(clickhouse, 202610, 202610, HOURS, ["rollup_quarter"])
    assert await cells(clickhouse, "rollup_quarter") == before


async def test_minutes_long_forgotten_are_left_alone(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    last_year = START - timedelta(days=345)
    await store(clickhouse, make_sample(13, last_year, last_year + timedelta(days=2), 50, 5))
    [done] = await rebuild_range(clickhouse, 202511, 202511, HOURS, ["rollup_minute"])
    assert done.outcome.startswith("left alone")


@pytest.mark.long
async def test_a_rollup_is_not_made_equal_to_raw_that_lost_events(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    before = await cells(clickhouse, "rollup_quarter")
    lost = "ALTER TABLE clicks DELETE WHERE account != 0 AND cityHash64(click_id) % 5 = 0"
    await clickhouse.execute(f"{lost} SETTINGS mutations_sync = 2")
    balance = balance_of(hour(202610, 4), hour(202611, 6))
    done = await repair(clickhouse, balance, HOURS)
    assert all(row.outcome.startswith("left alone") for row in done)
    assert await cells(clickhouse, "rollup_quarter") == before


@pytest.mark.long
async def test_nothing_is_rebuilt_while_raw_ends_before_its_rollups(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    before = await cells(clickhouse, "rollup_quarter")
    await clickhouse.execute("TRUNCATE TABLE clicks")
    with pytest.raises(Rejected, match="the raw events of clicks/0 end before"):
        await repair(clickhouse, EVEN, HOURS)
    assert await cells(clickhouse, "rollup_quarter") == before


def test_a_month_is_incomplete_where_an_hour_lacks_events_though_another_has_too_many() -> None:
    assert incomplete_months(balance_of(hour(202610, 3), hour(202611, -3))) == {202610}
    assert incomplete_months(balance_of(hour(202610, 0))) == set()


@pytest.mark.long
async def test_an_aggregator_at_work_goes_on_after_a_repair(
    line: Line, redis: Redis, clickhouse: ClickHouse
) -> None:
    """A repair raises the watermarks that it remembers: days are pulled half a minute later."""
    loop = AggregatorLoop(redis, clickhouse, Settings(shards=1, slice_ms=50))
    stop = asyncio.Event()
    running = asyncio.create_task(loop.run(stop))
    await line.click(20)
    by_quarter = "sum(clicks)) AS n FROM rollup_quarter WHERE account != 0"
    by_day = "sum(clicks)) AS n FROM rollup_day WHERE account != 0 AND dimension = 'total'"

    async def stored(count: int) -> None:
        async def is_stored() -> bool:
            return await line.count(by_quarter) == count

        await wait_until(is_stored)

    await stored(20)
    await line.click(7)
    await stored(27)
    assert await line.count(by_day) < 27
    month = month_of(await line.count("max(pos)) AS n FROM clicks"))
    async with loop.paused():
        for table in TABLES:
            await clickhouse.execute(DAMAGES["doubled cells"].format(table, month))
        audit = await line.audit()
        assert not audit.clean
        repaired = await repair(clickhouse, audit.balance, HOURS)
        assert {row.rollup for row in repaired} >= {rollup.table for rollup in FRESH_ROLLUPS}
        assert (await line.audit()).clean
        assert await line.count(by_day) == 27
    await line.click(5)
    await stored(32)
    stop.set()
    await running
    line.restart()
    await line.step_until_idle()
    assert (await line.audit()).clean
    assert await line.count(by_day) == 32


class DayCounts(msgspec.Struct, frozen=True):
    days: int
    clicks: int
    unique_clicks: int


async def day_counts(clickhouse: ClickHouse) -> DayCounts:
    sql = """SELECT uniqExact(time) AS days, sum(clicks) AS clicks,
        sum(unique_clicks) AS unique_clicks FROM rollup_day WHERE basis = 3"""
    return (await clickhouse.read(sql, DayCounts))[0]


@pytest.mark.long
async def test_a_rebuilt_month_has_its_days_counted_before_it_takes_its_place(
    clickhouse: ClickHouse,
) -> None:
    await store(clickhouse, make_sample(11, START, END, clicks=300, conversions=60))
    # Another month's partition has some clicks of the first day, too.
    for lost, is_found in (("dimension = 'link'", True), ("time = '2026-11-01'", False)):
        sql = f"ALTER TABLE rollup_day DELETE WHERE basis = 3 AND {lost}"
        await clickhouse.execute(f"{sql} SETTINGS mutations_sync = 2")
        # A day without any counts is simply uncounted.
        assert bool(await find_differences(clickhouse)) is is_found
        await repair(clickhouse, EVEN, HOURS)
        assert await find_differences(clickhouse) == []
    await count_days(clickhouse, int(END.timestamp()))
    before = await day_counts(clickhouse)
    assert before.days > 2
    await rebuild_range(clickhouse, 202610, 202611, HOURS, ["rollup_day"])
    assert await day_counts(clickhouse) == before
    assert await find_differences(clickhouse) == []
