"""Repair of the day rollup: its unique clicks of days are counted where it is rebuilt."""

from datetime import UTC, datetime

from aggregator.audit import find_differences
from aggregator.day_counts import count_days, uncounted
from aggregator.repair import rebuild_range, repair
from linkjolt.clickhouse import ClickHouse
from tests.maintenance.test_repair import END, EVEN, HOURS, START, store
from tests.rollups.sample import make_sample


async def test_a_rebuilt_month_has_its_days_counted_before_it_takes_its_place(
    clickhouse: ClickHouse,
) -> None:
    await store(clickhouse, make_sample(11, START, END, clicks=300, conversions=60))
    # Of the first day another month's partition has some clicks, too.
    lost = "basis = 3 AND (dimension = 'link' OR time = '2026-11-01')"
    sql = f"ALTER TABLE rollup_day DELETE WHERE {lost} SETTINGS mutations_sync = 2"
    await clickhouse.execute(sql)
    found = await find_differences(clickhouse)
    assert {(one.rollup, one.source) for one in found} == {("rollup_day", "clicks")}
    end = int(END.timestamp())
    assert [datetime.fromtimestamp(day, UTC).day for day in await uncounted(clickhouse, end)] == [1]
    await count_days(clickhouse, await uncounted(clickhouse, end))
    await repair(clickhouse, EVEN, HOURS)
    assert await find_differences(clickhouse) == []
    await rebuild_range(clickhouse, 202610, 202611, HOURS, ["rollup_day"])
    assert await uncounted(clickhouse, end) == []
    assert await find_differences(clickhouse) == []
