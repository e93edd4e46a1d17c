"""Raw clicks are deleted by whole months, once rollups hold them; what was summed stays."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.maintenance.audit import find_differences
from aggregator.maintenance.operations import TABLES
from aggregator.maintenance.repair import rebuild_range
from aggregator.retention import clicks as retention_module
from aggregator.retention.clicks import ClickRetention, first_month
from aggregator.rollups.statements import ROLLUPS
from aggregator.warehouse.writer import Warehouse
from linkjolt import redis_keys
from linkjolt.balance.balance import read_balance
from linkjolt.position import entry_id
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.raw_retention import read_kept_month
from linkjolt.storage.redis import call
from tests.aggregator.maintenance.test_repair import store
from tests.aggregator.rollups.sample import Sample, insert_clicks, make_sample
from tests.aggregator.rollups.test_catch_up import Count, cells
from tests.linkjolt.registry import samples
from tests.reports.conftest import Client, make_secret, open_http

START = datetime(2026, 10, 30, 21, 7, tzinfo=UTC)
END = datetime(2026, 11, 2, 5, 0, tzinfo=UTC)
# November is the one whole month before.
NOW = datetime(2026, 12, 5, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
SHARDS = 2


class _Month(msgspec.Struct, frozen=True):
    month: int
    n: int


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(21, START, END, clicks=300, conversions=60)


@asynccontextmanager
async def _nobody_waits() -> AsyncGenerator[None]:
    yield


def retention(redis: Redis, clickhouse: ClickHouse, months: int = 1) -> ClickRetention:
    return ClickRetention(redis, clickhouse, months, _nobody_waits, lambda: NOW)


async def rows_by_month(clickhouse: ClickHouse, table: str) -> dict[int, int]:
    at = f"toYYYYMM(fromUnixTimestamp64Milli(toInt64(bitShiftRight({table}.pos, 20)), 'UTC'))"
    sql = f"SELECT {at} AS month, count() AS n FROM {table} WHERE account != 0 GROUP BY month"
    return {row.month: row.n for row in await clickhouse.read(sql, _Month)}


async def positions(clickhouse: ClickHouse) -> list[int]:
    warehouse = Warehouse(clickhouse)
    return [await warehouse.stored_position(one) for one in redis_keys.streams(SHARDS)]


async def rollup_cells(clickhouse: ClickHouse) -> list[object]:
    return [await cells(clickhouse, rollup.table) for rollup in ROLLUPS]


async def test_clicks_of_past_months_go_and_nothing_else(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    before = await rows_by_month(clickhouse, "clicks")
    assert before.keys() == {202610, 202611}
    conversions, kept = await rows_by_month(clickhouse, "conversions"), await positions(clickhouse)
    summed = await rollup_cells(clickhouse)
    for _ in range(2):
        await retention(redis, clickhouse).step()
        assert await rows_by_month(clickhouse, "clicks") == {202611: before[202611]}
    assert await read_kept_month(clickhouse) == 202611
    assert await rows_by_month(clickhouse, "conversions") == conversions
    assert await positions(clickhouse) == kept
    assert await rollup_cells(clickhouse) == summed


async def test_audit_rebuild_and_balance_leave_those_months_alone(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    for number in (0, 2):
        hours = [row.pos >> 20 for row in sample.clicks if row.s == number]
        for hour in {ms // 3_600_000 for ms in hours}:
            count = sum(ms // 3_600_000 == hour for ms in hours)
            await call(redis, "HSET", redis_keys.stream(number).ledger_key, hour, count)
        end = entry_id(max(row.pos for row in sample.clicks if row.s == number))
        key = redis_keys.stream(number).key
        await call(redis, "XADD", key, end, "f", "")
        await call(redis, "XDEL", key, end)
    await retention(redis, clickhouse).step()
    assert await find_differences(clickhouse) == []
    summed = await rollup_cells(clickhouse)
    rebuilt = await rebuild_range(clickhouse, 202610, 202611, 50, TABLES)
    assert await rollup_cells(clickhouse) == summed
    outcomes = {(one.rollup, one.month): one.outcome for one in rebuilt}
    assert "retention" in outcomes["rollup_quarter", 202610]
    assert outcomes["rollup_quarter", 202611] == "rebuilt from raw"
    balance = await read_balance(redis, clickhouse, SHARDS)
    for stream in balance.streams:
        if stream.stream.startswith("clicks"):
            assert all(hour.hour >= NOVEMBER for hour in stream.hours)
            assert (stream.difference, stream.accepted > 0) == (0, True)


async def test_reports_of_single_clicks_say_from_when_on_there_are_some(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    crossed = {"group_by": "country,browser", "metrics": "clicks", "to": "2026-11-03"}
    async with open_http(redis, clickhouse, ReportsSettings(shards=SHARDS)) as http:
        client = Client(http, await make_secret(redis, "reports:read"))
        whole = await client.report(**crossed, **{"from": "2026-10-30"})
        later = await client.report(**crossed, **{"from": "2026-11-01"})
        by_day = {"metrics": "clicks,conversions", "interval": "day", "from": "2026-10-30"}
        summed = await client.report(**by_day, to="2026-11-03")
        await retention(redis, clickhouse).step()
        refused = await client.get("/v1/reports", **crossed, **{"from": "2026-10-30"})
        assert refused.status_code == 422, refused.text
        [error] = refused.json()["errors"]
        assert error["field"] == "from"
        assert "2026-11-01" in error["message"]
        again = await client.report(**crossed, **{"from": "2026-11-01"})
        assert again["totals"] == later["totals"]
        assert whole["totals"]["clicks"] > later["totals"]["clicks"]
        assert (await client.report(**by_day, to="2026-11-03"))["data"] == summed["data"]
        csv = await client.get("/v1/reports", **crossed, **{"from": "2026-10-30"}, format="csv")
        assert csv.status_code == 422


async def test_clicks_that_a_rollup_lacks_are_kept(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    before = await rows_by_month(clickhouse, "clicks")
    lost = "ALTER TABLE rollup_dimension DELETE WHERE month = 202610 AND clicks > 0"
    await clickhouse.execute(f"{lost} SETTINGS mutations_sync = 2")
    await retention(redis, clickhouse).step()
    assert await rows_by_month(clickhouse, "clicks") == before
    assert await read_kept_month(clickhouse) == 0


async def test_clicks_that_no_rollup_has_pulled_are_kept(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await insert_clicks(clickhouse, sample.clicks)
    before = await rows_by_month(clickhouse, "clicks")
    await retention(redis, clickhouse).step()
    assert await rows_by_month(clickhouse, "clicks") == before


async def test_clicks_of_a_stream_that_no_shard_has_any_more_are_kept_until_they_are_pulled(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    stray = msgspec.structs.replace(sample.clicks[0], s=2 * SHARDS + 6)
    await insert_clicks(clickhouse, [stray])
    before = await rows_by_month(clickhouse, "clicks")
    await retention(redis, clickhouse).step()
    assert await rows_by_month(clickhouse, "clicks") == before


async def test_a_deletion_that_ends_anywhere_is_finished_by_the_next_step(
    redis: Redis, clickhouse: ClickHouse, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(clickhouse, sample)
    summed = await rollup_cells(clickhouse)

    def end(point: str) -> None:
        if point == "retention_before_delete":
            raise OSError(point)

    with monkeypatch.context() as patched:
        patched.setattr(retention_module, "fault", end)
        with pytest.raises(OSError):
            await retention(redis, clickhouse).step()
    # Neither compared nor deleted.
    assert (await rows_by_month(clickhouse, "clicks")).keys() == {202610, 202611}
    assert await find_differences(clickhouse) == []
    await retention(redis, clickhouse).step()
    assert (await rows_by_month(clickhouse, "clicks")).keys() == {202611}
    assert await rollup_cells(clickhouse) == summed


async def test_clicks_that_may_still_earn_are_kept(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    campaign = msgspec.structs.replace(samples.campaign("Long"), window_days=40)
    await Registry(redis).create(campaign)
    await retention(redis, clickhouse).step()
    assert await rows_by_month(clickhouse, "clicks") != {}
    assert await read_kept_month(clickhouse) == 0


async def test_rejected_clicks_of_those_months_go_too(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    old, new = min(row.pos for row in sample.clicks), max(row.pos for row in sample.clicks)
    for stream_number, pos in ((0, old), (1, old), (0, new)):
        reject = {"s": stream_number, "pos": pos, "line": 9, "account": 1, "reason": "x"}
        await clickhouse.insert("rejects", [*reject], msgspec.json.encode(reject))
    await retention(redis, clickhouse).step()
    sql = "SELECT toInt64(count()) AS number FROM rejects WHERE s = {s:UInt16}"
    left = [(await clickhouse.read(sql, Count, {"s": s}))[0].number for s in (0, 1)]
    assert left == [1, 1]


@pytest.mark.parametrize(
    ("months", "window_days", "month"),
    [
        *((1, 0, 202611), (11, 0, 202601), (12, 0, 202512), (25, 0, 202411)),
        *((1, 30, 202611), (1, 40, 202610), (2, 40, 202610)),
    ],
)
def test_whole_months_are_kept_and_the_longest_window(
    months: int, window_days: int, month: int
) -> None:
    assert first_month(NOW, months, window_days * 86_400_000) == month
