"""A report of many years leaves the loop to the reports of others."""

import pytest
from redis.asyncio import Redis

from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from loadtests.longest_turn import running_clock
from tests.reports.conftest import Client, make_secret, open_http

# Every hour since 2001 took 2.2 s in one turn as CSV, and 1.1 s as the newest ten rows.
TURN_MAX_SECONDS = 1.0
YEARS = {"from": "2001-01-01", "to": "2026-01-01"}
HOURS = 219_144


@pytest.mark.long
@pytest.mark.parametrize("compare", ["none", pytest.param("previous", marks=pytest.mark.long)])
async def test_every_hour_of_many_years_is_written_in_many_turns(
    redis: Redis, clickhouse: ClickHouse, compare: str
) -> None:
    async with open_http(redis, clickhouse, ReportsSettings(shards=1)) as http:
        client = Client(http, await make_secret(redis, "reports:read"))
        async with running_clock() as clock:
            answer = await client.get(
                "/v1/reports", **YEARS, interval="hour", format="csv", compare=compare
            )
    lines = answer.text.splitlines()
    assert len(lines) == 1 + HOURS
    assert lines[1].startswith('"2001-01-01T00:00:00+00:00",')
    assert lines[-1].startswith('"2025-12-31T23:00:00+00:00",')
    assert clock.longest_seconds < TURN_MAX_SECONDS
    # A batch of rows takes longer than a slice.
    assert clock.turns > 300


async def test_the_newest_hours_of_many_years_are_found_at_once(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    async with open_http(redis, clickhouse, ReportsSettings(shards=1)) as http:
        client = Client(http, await make_secret(redis, "reports:read"))
        async with running_clock() as clock:
            report = await client.report(
                **YEARS, interval="hour", sort="-time", limit=2, timezone="Europe/Berlin"
            )
    assert [row["time"] for row in report["data"]] == [
        "2025-12-31T23:00:00+01:00",
        "2025-12-31T22:00:00+01:00",
    ]
    assert clock.longest_seconds < TURN_MAX_SECONDS
