"""Repair of the day rollup: its unique clicks of days are counted where it is rebuilt."""

import msgspec
import pytest

from aggregator.maintenance.audit import find_differences
from aggregator.maintenance.repair import rebuild_range, repair
from aggregator.rollups.day_counts import count_days
from linkjolt.storage.clickhouse import ClickHouse
from tests.aggregator.maintenance.test_repair import END, EVEN, HOURS, START, store
from tests.aggregator.rollups.sample import make_sample


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
    # Of the first day another month's partition has some clicks, too.
    for lost, is_found in (("dimension = 'link'", True), ("time = '2026-11-01'", False)):
        sql = f"ALTER TABLE rollup_day DELETE WHERE basis = 3 AND {lost}"
        await clickhouse.execute(f"{sql} SETTINGS mutations_sync = 2")
        # A day without any numbers is not counted yet.
        assert bool(await find_differences(clickhouse)) is is_found
        await repair(clickhouse, EVEN, HOURS)
        assert await find_differences(clickhouse) == []
    await count_days(clickhouse, int(END.timestamp()))
    before = await day_counts(clickhouse)
    assert before.days > 2
    await rebuild_range(clickhouse, 202610, 202611, HOURS, ["rollup_day"])
    assert await day_counts(clickhouse) == before
    assert await find_differences(clickhouse) == []
