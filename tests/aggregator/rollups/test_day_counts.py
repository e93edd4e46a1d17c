"""Unique clicks of a day are counted when it has passed, and again after a late click."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from aggregator.rollups.day_counts import count_days, count_miscounted_cells
from aggregator.rollups.pull import catch_up
from aggregator.rollups.schedule import RollupPulls
from aggregator.rows.rows import ClickRow
from linkjolt import redis_keys
from linkjolt.storage.clickhouse import ClickHouse
from tests.aggregator.rollups.sample import ACCOUNT, insert_clicks, make_sample, pos_at

DAY = datetime(2026, 11, 30, tzinfo=UTC)
OVER = DAY + timedelta(days=1)
CLICKS = redis_keys.clicks(0)


class DayCount(msgspec.Struct, frozen=True):
    dimension: str
    value: str
    campaign: int
    affiliate: int
    link: int
    number: int


def second(instant: datetime) -> int:
    return int(instant.timestamp())


def click(
    at: datetime,
    stored: datetime,
    visitor: int,
    link: int = 1,
    *,
    country: str = "US",
    verdict: str = "human",
) -> ClickRow:
    return ClickRow(
        account=ACCOUNT,
        link=link,
        campaign=2,
        affiliate=3,
        time=at.timestamp(),
        click_id=f"{visitor}/{second(stored)}/{link}",
        visitor=visitor,
        pos=pos_at(second(stored) * 1000),
        country=country,
        verdict=verdict,
    )


async def numbers(clickhouse: ClickHouse, day: datetime = DAY) -> dict[tuple[str, str], int]:
    """Reads unique clicks by dimension and value, or a link's number."""
    sql = """SELECT dimension, value, campaign, affiliate, link, sum(unique_clicks) AS number
        FROM rollup_day WHERE basis = 3 AND time = toDateTime({day:UInt32}, 'UTC')
        GROUP BY dimension, value, campaign, affiliate, link HAVING number != 0"""
    rows = await clickhouse.read(sql, DayCount, {"day": second(day)})
    return {
        (row.dimension, row.value or str(row.link or row.affiliate or row.campaign)): row.number
        for row in rows
    }


async def store(clickhouse: ClickHouse, pulls: RollupPulls, now: datetime, *rows: ClickRow) -> None:
    await insert_clicks(clickhouse, rows)
    await pulls.pull(CLICKS, max(row.pos for row in rows), second(now) * 1000)


async def test_a_day_is_counted_ten_minutes_after_it_was_over(clickhouse: ClickHouse) -> None:
    pulls = RollupPulls(clickhouse, 200_000)
    noon = DAY + timedelta(hours=12)
    rows = [click(noon, noon, visitor, 1 + visitor % 2) for visitor in range(1, 6)]
    again = click(noon, noon, 5, 2, country="BR", verdict="duplicate")
    await store(clickhouse, pulls, noon, *rows, again, click(noon, noon, 9, verdict="bot"))
    end_position = max(row.pos for row in rows)
    await pulls.pull(CLICKS, end_position, second(OVER) * 1000 + 599_999)
    assert await numbers(clickhouse) == {}
    await pulls.pull(CLICKS, end_position, second(OVER) * 1000 + 630_000)
    counts = await numbers(clickhouse)
    assert counts[("total", "0")] == 5
    assert (counts[("link", "1")], counts[("link", "2")]) == (2, 3)
    assert (counts[("campaign", "2")], counts[("affiliate", "3")]) == (5, 5)
    assert (counts[("country", "US")], counts[("country", "BR")]) == (5, 1)


async def test_a_late_click_is_counted_with_the_step_that_pulls_it(clickhouse: ClickHouse) -> None:
    pulls = RollupPulls(clickhouse, 200_000)
    later = OVER + timedelta(hours=5)
    await store(clickhouse, pulls, DAY, click(DAY, DAY, 1), click(DAY, DAY, 2, 2))
    await pulls.pull(CLICKS, pos_at(second(OVER) * 1000), second(later) * 1000)
    # Of the next month's partition.
    late = [click(DAY, later, 2), click(DAY, later, 3), click(later, later, 4)]
    await store(clickhouse, pulls, later, *late)
    counts = await numbers(clickhouse)
    assert (counts["total", "0"], counts["link", "1"], counts["link", "2"]) == (3, 3, 1)
    assert await numbers(clickhouse, OVER) == {}
    assert (
        await count_miscounted_cells(clickhouse, 202611)
        == await count_miscounted_cells(clickhouse, 202612)
        == 0
    )


async def test_after_a_crash_between_pull_and_count_the_next_one_counts(
    clickhouse: ClickHouse,
) -> None:
    later = OVER + timedelta(hours=5)
    await store(
        clickhouse,
        RollupPulls(clickhouse, 200_000),
        later,
        click(DAY, DAY, 1),
        click(later, later, 2),
    )
    late = click(DAY, later + timedelta(seconds=1), 3)
    await insert_clicks(clickhouse, [late])
    await catch_up(clickhouse, "clicks", 0, late.pos)
    assert (await numbers(clickhouse))["total", "0"] == 1
    await RollupPulls(clickhouse, 200_000).pull(CLICKS, late.pos, second(later) * 1000 + 2_000)
    assert (await numbers(clickhouse))["total", "0"] == 2


async def test_a_day_whose_first_click_is_late_is_counted_with_it(clickhouse: ClickHouse) -> None:
    pulls = RollupPulls(clickhouse, 200_000)
    later = OVER + timedelta(hours=5)
    await store(clickhouse, pulls, later, click(later, later, 1))
    evening = later + timedelta(seconds=5)
    await store(clickhouse, pulls, evening, click(DAY, evening, 2))
    assert (await numbers(clickhouse))[("total", "0")] == 1


async def test_an_audit_finds_numbers_that_are_not_what_the_states_say(
    clickhouse: ClickHouse,
) -> None:
    sample = make_sample(3, DAY, OVER, clicks=200, conversions=0)
    await insert_clicks(clickhouse, sample.clicks)
    for s in (0, 2):
        await catch_up(clickhouse, "clicks", s, pos_at(1 << 42))
    await count_days(clickhouse, second(DAY))
    assert await numbers(clickhouse) == {}
    await count_days(clickhouse, second(OVER))
    before = await numbers(clickhouse)
    await count_days(clickhouse, second(OVER))
    assert await numbers(clickhouse) == before != {}
    assert await count_miscounted_cells(clickhouse, 202611) == 0
    await clickhouse.execute(
        "ALTER TABLE rollup_day DELETE WHERE basis = 3 AND dimension = 'country'"
        " SETTINGS mutations_sync = 2"
    )
    assert await count_miscounted_cells(clickhouse, 202611) >= 3


@pytest.mark.parametrize("visitors", [2_047, 2_049, 5_000])
async def test_a_number_is_the_estimate_of_all_visitors_of_the_day(
    clickhouse: ClickHouse, visitors: int
) -> None:
    noon = DAY + timedelta(hours=12)
    half = [click(noon, noon, visitor) for visitor in range(1, visitors // 2)]
    rest = [click(noon, OVER, visitor) for visitor in range(visitors // 2, visitors + 1)]
    for rows in (half, rest):
        await insert_clicks(clickhouse, rows)
        await catch_up(clickhouse, "clicks", 0, rows[0].pos)
        await count_days(clickhouse, second(OVER))
    [counted] = {number for key, number in (await numbers(clickhouse)).items() if key[0] == "total"}
    assert abs(counted / visitors - 1) <= (0.02 if visitors > 2_048 else 0)
    assert await count_miscounted_cells(clickhouse, 202611) == 0
