"""Estimates of unique clicks are right on average, also where the engine's are not."""

import msgspec
import pytest

from linkjolt.clicks.unique_visitors import correct_estimate, correct_estimate_sql
from linkjolt.storage.clickhouse import ClickHouse

TRIALS = 60


class Estimate(msgspec.Struct, frozen=True):
    estimate: int


class Told(msgspec.Struct, frozen=True):
    told: int
    estimate: int


async def estimates(clickhouse: ClickHouse, visitors: int) -> list[int]:
    """Reads the engine's estimates for this many visitors, other ones each time."""
    sql = f"""SELECT uniqCombined64(16)(cityHash64(number, 5)) AS estimate
        FROM numbers({visitors * TRIALS}) GROUP BY intDiv(number, {visitors})"""
    return [row.estimate for row in await clickhouse.read(sql, Estimate)]


@pytest.mark.parametrize("visitors", [120_000, 159_900, 166_000, 182_000, 208_000, 350_000])
async def test_the_mean_of_many_estimates_is_right(clickhouse: ClickHouse, visitors: int) -> None:
    found = [correct_estimate(estimate) for estimate in await estimates(clickhouse, visitors)]
    mean = sum(found) / len(found)
    # Five standard errors of the mean.
    assert abs(mean / visitors - 1) < 0.0025
    assert max(abs(one / visitors - 1) for one in found) < 0.02


def test_more_visitors_are_never_told_as_fewer_but_where_counting_changes() -> None:
    told = [correct_estimate(estimate) for estimate in range(163_841, 330_000)]
    assert told == sorted(told)
    assert [correct_estimate(n) for n in (0, 2_048, 163_840, 320_000, 10**9)] == [
        0,
        2_048,
        163_840,
        320_000,
        10**9,
    ]


async def test_the_engine_takes_off_the_same_bias(clickhouse: ClickHouse) -> None:
    sql = f"""SELECT toUInt64(number * 997) AS told, {correct_estimate_sql("told")} AS estimate
        FROM numbers(400)"""
    rows = await clickhouse.read(sql, Told)
    assert all(abs(row.estimate - correct_estimate(row.told)) <= 1 for row in rows)
    assert any(row.estimate < row.told for row in rows)
