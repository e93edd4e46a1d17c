"""Comparisons with an earlier period, series without gaps, whole exports, answers not repeated."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis

from linkjolt.settings import ReportsSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from reports.query.compare import Shift, shift_back, shift_for, shifted_request
from reports.query.query import can_join_earlier
from reports.query.request import ReportRequest, parse_request
from tests.aggregator.rollups.sample import Sample, make_sample, store
from tests.reports.conftest import Client, make_secret, open_http
from tests.reports.query.expected import expected

END = datetime(2026, 11, 10, tzinfo=UTC)
START = END - timedelta(days=6)
PERIOD = {"from": "2026-11-07", "to": "2026-11-10"}
NOW = datetime(2026, 11, 20, 15, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(41, START, END, clicks=900, conversions=150)


def asked(**parameters: str) -> ReportRequest:
    wanted = {name.rstrip("_"): value for name, value in parameters.items()}
    return parse_request([*wanted.items()], NOW)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ({"from_": "2026-11-10", "to": "2026-11-13"}, "2026-11-07T00:00Z", "2026-11-10T00:00Z"),
        ({"from_": "last_month"}, "2026-09-01T00:00Z", "2026-10-01T00:00Z"),
        ({"from_": "yesterday"}, "2026-11-18T00:00Z", "2026-11-19T00:00Z"),
        # As much of it as has gone by of this one.
        ({"from_": "today"}, "2026-11-19T00:00Z", "2026-11-19T15:15Z"),
        ({"from_": "24h"}, "2026-11-18T14:45Z", "2026-11-19T15:00Z"),
        # In November of New York a day had 25 hours; days are days.
        (
            {"from_": "2026-11-01", "to": "2026-11-02", "timezone": "America/New_York"},
            "2026-10-31T04:00Z",
            "2026-11-01T04:00Z",
        ),
        (
            {"from_": "2026-03-01", "to": "2026-03-08", "compare": "year"},
            "2025-03-01T00:00Z",
            "2025-03-08T00:00Z",
        ),
    ],
)
def test_the_earlier_period_is_as_long_by_the_calendar(
    wanted: dict[str, str], start: str, end: str
) -> None:
    request = asked(**{"compare": "previous"} | wanted)
    earlier = shifted_request(request, shift_for(request))
    assert earlier.start == datetime.fromisoformat(start)
    assert earlier.end == datetime.fromisoformat(end)


def test_the_last_of_a_longer_month_becomes_the_last_of_a_shorter() -> None:
    leap = datetime(2028, 2, 29, 12, tzinfo=UTC)
    assert shift_back(leap, Shift(months=12), "UTC") == datetime(2027, 2, 28, 12, tzinfo=UTC)


async def test_rows_and_totals_carry_what_they_were_before(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    wanted = {"group_by": "sub1,country", "metrics": "clicks,revenue", "currency": "USD"}
    report = await client.report(**PERIOD, **wanted, compare="previous")
    earlier = await client.report(**{"from": "2026-11-04", "to": "2026-11-07"}, **wanted)
    before = {(row["sub1"], row["country"]): row for row in earlier["data"]}
    assert len(before) > 5
    for row in report["data"]:
        was = before.get((row["sub1"], row["country"]), {"clicks": 0, "revenue": 0})
        assert row["previous"]["clicks"] == was["clicks"]
        assert row["previous"]["revenue"] == was["revenue"]
    assert report["totals"]["previous"]["clicks"] == earlier["totals"]["clicks"] > 0
    assert report["meta"]["compared"] == {
        "from": "2026-11-04T00:00:00Z",
        "to": "2026-11-07T00:00:00Z",
    }


async def test_each_interval_is_compared_with_the_one_so_far_before(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    wanted = {"interval": "hour", "metrics": "clicks", "timezone": "Asia/Kolkata"}
    report = await client.report(**PERIOD, **wanted, compare="previous", limit=100)
    earlier = await client.report(**{"from": "2026-11-04", "to": "2026-11-07"}, **wanted, limit=100)
    now = [row["previous"]["clicks"] for row in report["data"]]
    assert now == [row["clicks"] for row in earlier["data"]]
    assert sum(now) > 100


@pytest.mark.parametrize("by", [{"interval": "hour"}, {"group_by": "verdict", "interval": "15m"}])
async def test_one_query_tells_both_periods_of_a_short_report(
    client: Client, clickhouse: ClickHouse, sample: Sample, by: dict[str, str]
) -> None:
    """The hour of 10:15 is in both periods: its first quarter in one, the rest in the other."""
    await store(clickhouse, sample)
    period = {"from": "2026-11-08T10:15:00Z", "to": "2026-11-09T10:15:00Z"}
    wanted = {**by, "metrics": "clicks,unique_clicks,revenue", "currency": "EUR", "limit": "900"}
    request = asked(**period, **wanted, compare="previous")
    assert can_join_earlier(request, shifted_request(request, shift_for(request)))
    report = await client.report(**period, **wanted, compare="previous")
    alone = await client.report(**period, **wanted)
    earlier = await client.report(
        **{"from": "2026-11-07T10:15:00Z", "to": "2026-11-08T10:15:00Z"}, **wanted
    )
    assert [row | {"previous": 0} for row in alone["data"]] == [
        row | {"previous": 0} for row in report["data"]
    ]
    was = {(row["time"], row.get("verdict")): row for row in earlier["data"]}
    for row in report["data"]:
        before = datetime.fromisoformat(row["time"]) - timedelta(days=1)
        then = was.get((before.isoformat(), row.get("verdict")), {"clicks": 0, "revenue": 0})
        assert row["previous"]["clicks"] == then["clicks"], row
        assert row["previous"]["revenue"] == then["revenue"], row
    assert report["totals"]["previous"]["clicks"] == earlier["totals"]["clicks"] > 50
    assert report["totals"]["previous"]["unique_clicks"] == earlier["totals"]["unique_clicks"]
    assert report["totals"]["unique_clicks"] == alone["totals"]["unique_clicks"]


async def test_a_series_has_every_interval_and_its_pages_join(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    wanted = {**PERIOD, "interval": "15m", "metrics": "clicks", "timezone": "Asia/Kathmandu"}
    for sort in ("time", "-time"):
        whole = (await client.report(**wanted, sort=sort, limit=1000))["data"]
        assert len(whole) == 3 * 96
        times = [row["time"] for row in whole]
        assert times == sorted(times, reverse=sort == "-time")
        assert times[0 if sort == "time" else -1] == "2026-11-07T00:00:00+05:45"
        pages: list[object] = []
        cursor: dict[str, str] = {}
        while True:
            page = await client.report(**wanted, **cursor, sort=sort, limit=50)
            pages += page["data"]
            if not page["next_cursor"]:
                break
            cursor = {"cursor": page["next_cursor"]}
        assert pages == whole
        assert sum(row["clicks"] for row in whole) == page["totals"]["clicks"] > 0


async def test_a_series_ends_now_and_not_in_the_future(client: Client) -> None:
    report = await client.report(**{"from": "today"}, interval="hour", metrics="clicks")
    assert len(report["data"]) == datetime.now(UTC).hour + 1


async def test_an_export_has_every_row_of_every_report(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    request = ReportRequest(
        start=END - timedelta(days=3),
        end=END,
        asked_at=END,
        group_by=("sub1", "link", "currency"),
        interval="hour",
    )
    wanted = expected(request, sample)
    parameters = {**PERIOD, "group_by": "sub1,link,currency", "interval": "hour", "format": "csv"}
    answer = await client.get("/v1/reports", **parameters, compare="previous")
    assert "linkjolt-report.csv" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert len(rows) == len(wanted) > 300
    assert sum(int(row["clicks"]) for row in rows) == sum(one.clicks for one in wanted.values())
    assert sum(int(row["previous_clicks"]) for row in rows) > 0
    page = await client.get("/v1/reports", **parameters, limit=10)
    assert len(page.text.splitlines()) == 11
    assert page.headers["x-next-cursor"]
    series = await client.get("/v1/reports", **PERIOD, interval="hour", format="csv")
    assert len(series.text.splitlines()) == 73


async def test_an_export_that_takes_too_long_is_refused_rather_than_cut(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    hasty = Settings(shards=2, report_raw_max_seconds=0.000_001)
    async with open_http(redis, clickhouse, hasty) as http:
        client = Client(http, await make_secret(redis, "reports:read"))
        wanted = {**PERIOD, "group_by": "sub1,country", "format": "csv"}
        refused = await client.get("/v1/reports", **wanted)
        assert (refused.status_code, refused.json()["code"]) == (422, "too_costly")


async def test_an_answer_that_the_client_has_is_not_sent_again(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    first = await client.get("/v1/reports", **PERIOD)
    known = {
        "Authorization": f"Bearer {client.secret}",
        "If-None-Match": first.headers["etag"],
    }
    again = await client.http.get("/v1/reports", params=PERIOD, headers=known)
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    later = make_sample(42, END - timedelta(hours=1), END, clicks=10, conversions=1)
    await store(clickhouse, later)
    changed = await client.http.get("/v1/reports", params=PERIOD, headers=known)
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]
