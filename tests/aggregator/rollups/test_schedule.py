"""Days are pulled a little later than the other rollups, but before a report reads them."""

from datetime import UTC, datetime, timedelta

import pytest

from aggregator.rollups.pull import find_differing_months, read_watermark
from aggregator.rollups.schedule import DayLag, RollupPulls, next_pull_rows
from aggregator.rollups.statements import DAY_ROLLUPS, FRESH_ROLLUPS
from linkjolt import redis_keys
from linkjolt.storage.clickhouse import ClickHouse
from tests.aggregator.rollups.sample import insert_clicks, make_sample, pos_at

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)
CLICKS, CONVERSIONS = redis_keys.clicks(0), redis_keys.conversions(0)


def ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


async def holds(clickhouse: ClickHouse) -> tuple[set[int], set[int]]:
    """Returns the watermarks of the fresh rollups and of the day rollup."""
    fresh, days = [
        {await read_watermark(clickhouse, rollup.table, CLICKS.number) for rollup in some}
        for some in (FRESH_ROLLUPS, DAY_ROLLUPS)
    ]
    return fresh, days


async def store(clickhouse: ClickHouse, start: datetime, seed: int) -> int:
    """Stores a minute's clicks of stream 0; returns a position past them."""
    sample = make_sample(seed, start, start + timedelta(minutes=1), clicks=20, conversions=0)
    clicks = [click for click in sample.clicks if click.s == CLICKS.number]
    await insert_clicks(clickhouse, clicks)
    return pos_at(ms(start + timedelta(minutes=2)))


@pytest.mark.parametrize(
    ("pulled", "seconds", "rows"),
    [
        (400_000, 1.5, 800_000),
        (400_000, 6.0, 200_000),
        (400_000, 0.1, 1_600_000),
        (300_000, 60.0, 200_000),
        (20, 60.0, 400_000),
    ],
)
def test_a_pull_that_took_long_is_followed_by_smaller_ones(
    pulled: int, seconds: float, rows: int
) -> None:
    assert next_pull_rows(400_000, pulled, seconds, batch_rows=200_000) == rows


async def test_days_follow_after_half_a_minute(clickhouse: ClickHouse) -> None:
    pulls = RollupPulls(clickhouse, 200_000)
    first = await store(clickhouse, NOON, 1)
    await pulls.pull(CLICKS, first, ms(NOON) + 120_000)
    assert await holds(clickhouse) == ({first}, {first})
    second = await store(clickhouse, NOON + timedelta(minutes=2), 2)
    await pulls.pull(CLICKS, second, ms(NOON) + 149_999)
    assert await holds(clickhouse) == ({second}, {first})
    await pulls.pull(CLICKS, second, ms(NOON) + 150_000)
    assert await holds(clickhouse) == ({second}, {second})
    assert await find_differing_months(clickhouse, "clicks", "rollup_day") == []


async def test_days_that_are_over_follow_at_once(clickhouse: ClickHouse) -> None:
    pulls = RollupPulls(clickhouse, 200_000)
    midnight = NOON + timedelta(hours=12)
    first = await store(clickhouse, midnight - timedelta(minutes=4), 1)
    await pulls.pull(CLICKS, first, ms(midnight) - 10_000)
    second = await store(clickhouse, midnight - timedelta(minutes=2), 2)
    await pulls.pull(CLICKS, second, ms(midnight) - 1)
    assert await holds(clickhouse) == ({second}, {first})
    await pulls.pull(CLICKS, second, ms(midnight))
    assert await holds(clickhouse) == ({second}, {second})
    late = await store(clickhouse, midnight - timedelta(minutes=1), 3)
    await pulls.pull(CLICKS, late + 5, ms(midnight) + 1)
    assert await holds(clickhouse) == ({late + 5}, {late + 5})


async def test_one_who_remembers_nothing_pulls_everything(clickhouse: ClickHouse) -> None:
    now = ms(NOON) + 120_000
    first = await store(clickhouse, NOON, 1)
    await RollupPulls(clickhouse, 200_000).pull(CLICKS, first, now)
    second = await store(clickhouse, NOON + timedelta(minutes=2), 2)
    pulls = RollupPulls(clickhouse, 200_000)
    await pulls.pull(CLICKS, second, now + 1)
    assert await holds(clickhouse) == ({second}, {second})
    third = await store(clickhouse, NOON + timedelta(minutes=4), 3)
    pulls.forget(CLICKS)
    await pulls.pull(CLICKS, third, now + 2)
    assert await holds(clickhouse) == ({third}, {third})


async def test_conversions_are_pulled_into_days_at_once(clickhouse: ClickHouse) -> None:
    pulls = RollupPulls(clickhouse, 200_000)
    for end_position in (pos_at(ms(NOON)), pos_at(ms(NOON) + 1)):
        await pulls.pull(CONVERSIONS, end_position, ms(NOON))
        for rollup in (*FRESH_ROLLUPS, *DAY_ROLLUPS):
            assert (
                await read_watermark(clickhouse, rollup.table, CONVERSIONS.number) == end_position
            )


@pytest.mark.parametrize(
    ("pulled_ago_ms", "earliest_ago_seconds", "over"),
    [
        (29_999, 0, False),
        (30_000, 0, True),
        (0, 12 * 3_600, False),
        (0, 12 * 3_600 + 1, True),
    ],
)
def test_days_are_due_by_time_or_by_an_event_of_a_day_that_is_over(
    pulled_ago_ms: int, earliest_ago_seconds: int, over: bool
) -> None:
    now_ms = ms(NOON)
    lag = DayLag(now_ms - pulled_ago_ms, now_ms // 1000 - earliest_ago_seconds)
    assert lag.is_due(now_ms) is over
