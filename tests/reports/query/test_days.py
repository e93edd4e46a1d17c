"""The day rollup answers whole days, and the answer stays exact."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from linkjolt.datasets import Dataset
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.rows import ReportRow
from reports.query.days import WholeDays, day_dimension, whole_days
from reports.query.query import rows_query, tops_query, totals_query
from reports.query.request import ReportRequest, parse_request, parse_tops
from reports.vocabulary import METRICS, Interval
from tests.aggregator.rollups.sample import ACCOUNT, make_sample, store
from tests.reports.query.expected import expected
from tests.reports.query.test_sources import read


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


START, END = at("2026-10-28 10:15"), at("2026-11-04 06:00")
WHOLE = at("2026-10-29"), at("2026-11-04")


@pytest.mark.parametrize(
    ("interval", "zone", "days"),
    [
        ("none", "Asia/Kathmandu", WholeDays(*WHOLE)),
        ("day", "UTC", WholeDays(*WHOLE)),
        ("day", "Europe/London", WholeDays(*WHOLE)),
        ("day", "Asia/Kolkata", None),
        ("week", "UTC", WholeDays(*WHOLE)),
        ("week", "Asia/Kolkata", WholeDays(*WHOLE, (at("2026-11-01"),))),
        ("week", "America/New_York", WholeDays(*WHOLE, (at("2026-11-02"),))),
        ("month", "Asia/Kolkata", WholeDays(*WHOLE, (at("2026-10-31"),))),
        ("hour", "UTC", None),
        ("15m", "UTC", None),
    ],
)
def test_a_day_that_two_intervals_share_is_left_to_the_quarters(
    interval: Interval, zone: str, days: WholeDays | None
) -> None:
    assert whole_days(START, END, interval, zone) == days


def test_summer_days_in_london_are_left_to_the_quarters_and_its_winter_days_are_not() -> None:
    days = whole_days(at("2026-01-01"), at("2027-01-01"), "day", "Europe/London")
    assert days is not None
    # Clocks go ahead on 29 March, so that from then on days begin at 23:00 UTC, and back on 25
    # October.
    assert (days.split[0], days.split[-1]) == (at("2026-03-29"), at("2026-10-24"))
    assert len(days.split) == 210


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-11-01 00:15", "2026-11-02 00:00"),
        ("2026-11-01 00:15", "2026-11-02 23:45"),
        ("2026-11-01", "2026-11-01 23:45"),
    ],
)
def test_less_than_a_day_of_utc_has_no_whole_day(start: str, end: str) -> None:
    assert whole_days(at(start), at(end), "none", "UTC") is None


@pytest.mark.parametrize(
    ("used", "dimension"),
    [
        (set[str](), "total"),
        ({"verdict", "currency"}, "total"),
        ({"campaign"}, "campaign"),
        ({"affiliate", "verdict"}, "affiliate"),
        ({"campaign", "affiliate"}, "link"),
        ({"link", "affiliate"}, "link"),
        ({"country", "verdict"}, "country"),
        ({"country", "campaign"}, None),
        ({"country", "sub1"}, None),
    ],
)
def test_the_day_rollup_holds_one_dimension_and_with_links_their_campaign_and_affiliate(
    used: set[str], dimension: str | None
) -> None:
    assert day_dimension(used) == dimension


@pytest.mark.parametrize("group_by", [(), ("affiliate", "link"), ("country",), ("sub1", "verdict")])
async def test_whole_days_are_answered_without_any_quarter(
    clickhouse: ClickHouse, group_by: tuple[str, ...]
) -> None:
    start = datetime(2026, 10, 30, tzinfo=UTC)
    end = start + timedelta(days=4)
    sample = make_sample(14, start - timedelta(hours=5), end + timedelta(hours=5), clicks=800)
    await store(clickhouse, sample)
    for table in ("rollup_quarter", "rollup_dimension"):
        await clickhouse.execute(f"TRUNCATE TABLE {table}")
    request = ReportRequest(
        start=start,
        end=end,
        asked_at=end + timedelta(hours=1),
        group_by=group_by,
        metrics=METRICS,
        limit=1_000,
        interval="day",
    )
    assert await read(clickhouse, request) == expected(request, sample) != {}
    halved = msgspec.structs.replace(request, start=start + timedelta(hours=12))
    assert await read(clickhouse, halved) != expected(halved, sample)


@pytest.mark.parametrize("late", ["asked_at", "as_of"])
async def test_a_day_that_may_still_be_pulled_is_answered_by_quarters(
    clickhouse: ClickHouse, late: str
) -> None:
    """The rollup may lack half a minute of a day that ended less than an hour ago."""
    start = datetime(2026, 10, 30, tzinfo=UTC)
    end = start + timedelta(days=2)
    sample = make_sample(15, start, end, clicks=300)
    await store(clickhouse, sample)
    await clickhouse.execute(f"DELETE FROM rollup_day WHERE time = '{end - timedelta(days=1):%F}'")
    at = {"asked_at": end + timedelta(hours=5), "as_of": end + timedelta(hours=5)}
    at[late] = end + timedelta(minutes=59)
    request = ReportRequest(
        start=start,
        end=end,
        metrics=METRICS,
        interval="day",
        asked_at=at["asked_at"],
        as_of=at["as_of"],
    )
    assert await read(clickhouse, request) == expected(request, sample)
    settled = msgspec.structs.replace(request, **{late: end + timedelta(hours=1)})
    assert await read(clickhouse, settled) != expected(request, sample)


@pytest.mark.parametrize(
    ("parameters", "counted"),
    [
        ({}, True),
        ({"interval": "day"}, True),
        ({"group_by": "affiliate", "currency": "EUR"}, True),
        ({"group_by": "link", "affiliate": "aff_11"}, True),
        ({"affiliate": "aff_11"}, True),
        ({"group_by": "country,status"}, True),
        ({"dimensions": "country,device"}, True),
        # A visitor may have come by both, or by several of them.
        ({"affiliate": "aff_11,aff_12"}, False),
        ({"affiliate": "-aff_11"}, False),
        ({"group_by": "campaign,affiliate"}, False),
        ({"group_by": "campaign", "affiliate": "aff_11"}, False),
        ({"dimensions": "campaign,affiliate"}, False),
        # Not counted by these.
        ({"group_by": "sub1"}, False),
        ({"group_by": "verdict"}, False),
        ({"group_by": "country", "verdict": "human"}, False),
        ({"metrics": "clicks"}, False),
    ],
)
def test_unique_clicks_of_days_add_up_where_a_row_is_one_of_each_day(
    parameters: dict[str, str], counted: bool
) -> None:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    asked = [*({"from": "2026-11-01T00:00:00Z"} | parameters).items()]
    if "dimensions" in parameters:
        request = parse_tops(asked, now)
        query = tops_query(request, request.tops, Dataset(1), 60)
    else:
        query = rows_query(parse_request(asked, now), Dataset(1), 60)
    assert ("day_unique_clicks" in query.sql) is counted
    assert ("basis:UInt8}, 3)" in query.sql or "(0, 3" in query.sql) is counted


@pytest.mark.parametrize(
    "group_by",
    [
        "",
        "sub1",
        *(
            pytest.param(n, marks=pytest.mark.long)
            for n in ("affiliate", "country", "verdict", "campaign")
        ),
    ],
)
async def test_totals_and_rows_of_whole_days_count_visitors_as_events_do(
    clickhouse: ClickHouse, group_by: str
) -> None:
    start = datetime(2026, 10, 30, tzinfo=UTC)
    end = start + timedelta(days=3)
    sample = make_sample(16, start, end, clicks=900)
    await store(clickhouse, sample)
    asked = {"from": start.isoformat(), "to": end.isoformat(), "group_by": group_by}
    given = [(name, value) for name, value in asked.items() if value]
    request = parse_request([*given, ("limit", "900")], end + timedelta(hours=2))
    assert await read(clickhouse, request) == await read(clickhouse, request, "raw")
    for shape in (None, "raw"):
        query = totals_query(request, ACCOUNT, 60, shape)
        [cell] = await clickhouse.read(query.sql, ReportRow, query.parameters)
        whole = msgspec.structs.replace(request, group_by=())
        [sums] = expected(whole, sample).values()
        if group_by != "verdict":
            assert cell.unique_visitors == sums.unique_clicks
        else:
            assert cell.clicks == sum(click.account == ACCOUNT for click in sample.clicks)
