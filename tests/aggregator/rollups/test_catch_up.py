"""Catching up gives rollups the same cells, whatever was lost on the way."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from aggregator.rollups import pull as pulling
from aggregator.rollups.pull import (
    ROLLUPS,
    Source,
    Watermarks,
    catch_up,
    find_differing_months,
    pull,
    read_watermark,
)
from aggregator.rows.rows import ClickRow
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.months import month_end
from tests.aggregator.rollups.sample import (
    ACCOUNT,
    Sample,
    insert_clicks,
    insert_conversions,
    make_sample,
    pos_at,
    store,
)

START = datetime(2026, 10, 28, 21, 7, tzinfo=UTC)
END = datetime(2026, 11, 3, 5, 0, tzinfo=UTC)
TABLES = tuple(rollup.table for rollup in ROLLUPS)


class Cells(msgspec.Struct, frozen=True):
    cells: int
    digest: int


class Count(msgspec.Struct, frozen=True):
    number: int


async def cells(clickhouse: ClickHouse, table: str) -> Cells:
    """Returns the number and a digest of the merged cells, without markers and counts of days."""
    keys = "account, time, campaign, affiliate, link, verdict, currency, basis, month"
    keys += ", dimension, value" if table in ("rollup_day", "rollup_dimension") else ""
    sql = f"""SELECT count() AS cells, sum(cityHash64(*)) AS digest FROM (
        SELECT {keys}, sum(clicks), uniqCombined64Merge(16)(visitors), sum(conversions),
            sum(pending), sum(approved), sum(rejected), sum(revenue_minor), sum(commission_minor)
        FROM {table} WHERE account != 0 AND basis != 3 GROUP BY {keys})"""
    return (await clickhouse.read(sql, Cells))[0]


async def all_differences(clickhouse: ClickHouse) -> list[pulling.RollupDifference]:
    sources: tuple[Source, ...] = ("clicks", "conversions")
    by_rollup = [
        await find_differing_months(clickhouse, src, table) for src in sources for table in TABLES
    ]
    return [difference for differences in by_rollup for difference in differences]


async def inserts(clickhouse: ClickHouse, table: str) -> int:
    """Counts the parts that inserts have made: each takes a block number of its partition."""
    sql = f"""SELECT sum(blocks) AS number FROM (
        SELECT partition, max(max_block_number) AS blocks FROM system.parts
        WHERE database = currentDatabase() AND table = '{table}' GROUP BY partition)"""
    return (await clickhouse.read(sql, Count))[0].number


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(1, START, END, clicks=1500, conversions=200)


async def test_a_pulled_rollup_is_what_raw_makes_of_it(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    assert await all_differences(clickhouse) == []
    assert (await cells(clickhouse, "rollup_quarter")).cells > 1000


@pytest.mark.parametrize("chunk_rows", [pytest.param(3, marks=pytest.mark.long), 20])
async def test_the_size_of_the_steps_does_not_change_a_cell(
    clickhouse: ClickHouse, chunk_rows: int
) -> None:
    small = make_sample(2, START, END, clicks=60, conversions=12)
    await store(clickhouse, small)
    # The first merge drops minutes that are this old.
    tables = [table for table in TABLES if table != "rollup_minute"]
    whole = [await cells(clickhouse, table) for table in tables]
    for table in TABLES:
        await clickhouse.execute(f"TRUNCATE TABLE {table}")
    for s in (0, 2):
        await catch_up(clickhouse, "clicks", s, pos_at(1 << 42), chunk_rows=chunk_rows)
    for s in (1, 3):
        await catch_up(clickhouse, "conversions", s, pos_at(1 << 42), chunk_rows=chunk_rows)
    assert [await cells(clickhouse, table) for table in tables] == whole


@pytest.mark.parametrize(
    "done",
    [
        2,
        *(
            pytest.param(number, marks=pytest.mark.long)
            for number in range(len(TABLES))
            if number != 2
        ),
    ],
)
async def test_a_step_that_stopped_between_rollups_is_finished_by_the_next(
    clickhouse: ClickHouse, sample: Sample, done: int
) -> None:
    await insert_clicks(clickhouse, sample.clicks)
    october_end = month_end(202610)
    for table in TABLES[:done]:
        await pull(clickhouse, table, "clicks", 0, 0, october_end)
    await catch_up(clickhouse, "clicks", 0, pos_at(1 << 42))
    await catch_up(clickhouse, "clicks", 2, pos_at(1 << 42))
    assert await all_differences(clickhouse) == []


async def test_a_rollup_that_lost_a_month_with_its_markers_is_pulled_again_from_raw(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    before = await cells(clickhouse, "rollup_quarter")
    await clickhouse.execute("ALTER TABLE rollup_quarter DROP PARTITION 202611")
    assert await cells(clickhouse, "rollup_quarter") != before
    for s in (0, 2):
        await catch_up(clickhouse, "clicks", s, max(row.pos for row in sample.clicks))
    for s in (1, 3):
        await catch_up(clickhouse, "conversions", s, max(row.pos for row in sample.conversions))
    assert await cells(clickhouse, "rollup_quarter") == before


async def test_a_pull_is_one_part_with_its_marker(clickhouse: ClickHouse) -> None:
    wide = make_sample(3, START, START + timedelta(days=3), clicks=22_000, conversions=0)
    await insert_clicks(clickhouse, wide.clicks)
    end = max(row.pos for row in wide.clicks)
    for table in TABLES:
        await pull(clickhouse, table, "clicks", 0, 0, end)
        assert await inserts(clickhouse, table) == 1
        assert await read_watermark(clickhouse, table, 0) == end
    # More than the engine's usual block of 65,505 rows, at which an INSERT would be cut.
    sql = "SELECT count() AS number FROM rollup_dimension"
    assert (await clickhouse.read(sql, Count))[0].number > 65_505


async def test_catching_up_twice_adds_nothing(clickhouse: ClickHouse, sample: Sample) -> None:
    await store(clickhouse, sample)
    before = [await inserts(clickhouse, table) for table in TABLES]
    await catch_up(clickhouse, "clicks", 0, max(row.pos for row in sample.clicks))
    assert [await inserts(clickhouse, table) for table in TABLES] == before


async def test_a_stretch_without_rows_still_moves_the_watermark(clickhouse: ClickHouse) -> None:
    base = pos_at(int(END.timestamp() * 1000), 5)
    remembered: Watermarks = {}
    await catch_up(clickhouse, "clicks", 4, base, remembered)
    assert [await read_watermark(clickhouse, table, 4) for table in TABLES] == [base] * len(TABLES)
    assert remembered == {(table, 4): base for table in TABLES}


async def test_a_failed_pull_forgets_the_remembered_watermark(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await insert_clicks(clickhouse, sample.clicks)
    await clickhouse.execute("DROP TABLE rollup_quarter SYNC")
    remembered: Watermarks = {("rollup_quarter", 0): 0}
    with pytest.raises(ClickHouseFailed):
        await catch_up(clickhouse, "clicks", 0, pos_at(1 << 42), remembered)
    assert ("rollup_quarter", 0) not in remembered


@pytest.mark.long
async def test_an_audit_counts_the_cells_that_disagree(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    doubled = (
        "INSERT INTO rollup_quarter SELECT * FROM rollup_quarter WHERE basis = 1 AND month = 202611"
    )
    await clickhouse.execute(doubled)
    differences = await all_differences(clickhouse)
    assert [(row.rollup, row.source, row.month) for row in differences] == [
        ("rollup_quarter", "conversions", 202611)
    ]
    assert differences[0].unequal > 10


@pytest.mark.parametrize(
    "visitors",
    [2_048, *(pytest.param(number, marks=pytest.mark.long) for number in (2_047, 2_049))],
)
async def test_cells_that_outgrow_exact_counting_are_alike_however_they_were_pulled(
    clickhouse: ClickHouse, visitors: int
) -> None:
    start_ms, links, again = int(START.timestamp() * 1000), 8, 800
    rows = [
        # Each visitor once, in a way that differs by link, then some of them again.
        ClickRow(
            account=ACCOUNT,
            link=1 + link,
            time=start_ms / 1000,
            visitor=1 + (step * (2 * link + 1)) % visitors if step >= visitors else 1 + step,
            pos=pos_at(start_ms, (step * 7919 + link) % (visitors + again)),
        )
        for link in range(links)
        for step in range(visitors + again)
    ]
    await insert_clicks(clickhouse, rows)
    await catch_up(clickhouse, "clicks", 0, pos_at(start_ms, visitors // 2))
    await catch_up(clickhouse, "clicks", 0, pos_at(start_ms + 1))
    assert await all_differences(clickhouse) == []


@pytest.mark.long
async def test_an_audit_while_pulls_run_finds_nothing(clickhouse: ClickHouse) -> None:
    sample = make_sample(5, START, END, clicks=160, conversions=20)
    await insert_clicks(clickhouse, sample.clicks)
    await insert_conversions(clickhouse, sample.conversions)
    pulling = asyncio.create_task(catch_up(clickhouse, "clicks", 0, pos_at(1 << 42), chunk_rows=6))
    audits = 0
    while not pulling.done():
        assert await find_differing_months(clickhouse, "clicks", "rollup_quarter") == []
        audits += 1
    await pulling
    assert audits > 3
