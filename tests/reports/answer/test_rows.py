"""Sums become rows: money in major units, ratios, names, times in the report's zone."""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from linkjolt.web.requests import encode
from reports.answer.rows import (
    EMPTY_ROW,
    NamedEntry,
    ReportRow,
    answer_metrics,
    answer_row,
    bucket_time,
    csv_columns,
    csv_row,
)
from reports.csv import csv_text
from reports.query.intervals import bucket_start
from reports.query.request import ReportRequest
from reports.vocabulary import METRICS, Interval

NOW = datetime(2026, 11, 20, tzinfo=UTC)
REQUEST = ReportRequest(start=NOW, end=NOW, asked_at=NOW, metrics=METRICS)
CELL = msgspec.structs.replace(
    EMPTY_ROW,
    clicks=7,
    conversions=2,
    approved=1,
    rejected=2,
    revenue_minor=19_998,
    commission_minor=2_990,
    currencies=["USD"],
)


def asking(**changes: object) -> ReportRequest:
    return msgspec.structs.replace(REQUEST, **changes)


def test_money_is_in_major_units_with_the_currencys_decimals() -> None:
    row = answer_metrics(asking(metrics=("revenue", "commission")), CELL)
    assert encode(row) == b'{"revenue":199.98,"commission":29.90,"currency":"USD"}'
    yen = msgspec.structs.replace(CELL, currencies=["JPY"])
    assert answer_metrics(REQUEST, yen)["revenue"] == Decimal(19_998)


def test_ratios_are_fractions_rounded_to_six_digits() -> None:
    row = answer_metrics(REQUEST, CELL)
    assert row["cr"] == 0.285714
    assert row["epc"] == 4.271429
    assert row["aov"] == 99.99
    assert row["approval_rate"] == 0.333333


def test_a_ratio_of_nothing_is_null() -> None:
    row = answer_metrics(REQUEST, EMPTY_ROW)
    assert [row[name] for name in ("cr", "epc", "aov", "approval_rate")] == [None] * 4
    assert (row["clicks"], row["revenue"], row["currency"]) == (0, 0, None)


def test_money_over_several_currencies_is_null_with_the_currencies_listed() -> None:
    mixed = msgspec.structs.replace(CELL, currencies=["EUR", "USD"])
    row = answer_metrics(REQUEST, mixed)
    assert [row[name] for name in ("revenue", "commission", "epc", "aov")] == [None] * 4
    assert row["currencies"] == ["EUR", "USD"]
    assert row["cr"] == 0.285714


def test_no_currency_is_named_where_no_money_was_asked_for() -> None:
    assert answer_metrics(asking(metrics=("clicks",)), CELL) == {"clicks": 7}


def test_ids_have_names_beside_them_and_what_is_absent_is_null() -> None:
    request = asking(group_by=("campaign", "link", "affiliate"), metrics=("clicks",))
    names = {
        ("campaign", 3): NamedEntry("campaign", 3, "", "Spring"),
        ("link", 5): NamedEntry("link", 5, "tc_A", ""),
    }
    cell = msgspec.structs.replace(CELL, d0=3, d1=5, d2=0)
    assert answer_row(request, cell, names) == {
        "campaign": "cmp_3",
        "campaign_name": "Spring",
        "link": "tc_A",
        "affiliate": None,
        "affiliate_name": None,
        "clicks": 7,
    }


def test_a_mirror_that_lags_leaves_the_public_id() -> None:
    request = asking(group_by=("link",), metrics=("clicks",))
    cell = msgspec.structs.replace(CELL, d0=5)
    assert answer_row(request, cell, {})["link"] == "lnk_5"


@pytest.mark.parametrize(
    ("instant", "interval", "zone", "text"),
    [
        ("2026-11-01T05:59Z", "hour", "America/New_York", "2026-11-01T01:00:00-04:00"),
        ("2026-11-01T06:00Z", "hour", "America/New_York", "2026-11-01T01:00:00-05:00"),
        ("2026-11-20T18:14Z", "day", "Asia/Kathmandu", "2026-11-20T00:00:00+05:45"),
        ("2026-04-04T14:59Z", "hour", "Australia/Lord_Howe", "2026-04-05T01:00:00+11:00"),
        ("2026-04-04T15:10Z", "hour", "Australia/Lord_Howe", "2026-04-05T01:30:00+10:30"),
        ("2026-04-04T15:30Z", "hour", "Australia/Lord_Howe", "2026-04-05T02:00:00+10:30"),
        ("2026-10-03T15:40Z", "hour", "Australia/Lord_Howe", "2026-10-04T02:30:00+11:00"),
        ("2026-09-26T13:59Z", "hour", "Pacific/Chatham", "2026-09-27T02:00:00+12:45"),
        ("2026-09-26T14:00Z", "hour", "Pacific/Chatham", "2026-09-27T03:45:00+13:45"),
        ("2026-11-20T00:00Z", "week", "UTC", "2026-11-16T00:00:00+00:00"),
        ("2026-11-20T00:00Z", "month", "Asia/Tokyo", "2026-11-01T00:00:00+09:00"),
    ],
)
def test_a_time_is_the_intervals_start_in_the_reports_zone(
    instant: str, interval: Interval, zone: str, text: str
) -> None:
    start = bucket_start(datetime.fromisoformat(instant), interval, zone)
    assert bucket_time(start, zone) == text


def test_csv_has_a_header_and_runs_no_formula() -> None:
    request = asking(group_by=("sub1", "campaign"), metrics=("clicks", "revenue"), format="csv")
    cell: ReportRow = msgspec.structs.replace(CELL, d0='=cmd|" /C calc"', d1=3)
    names = {("campaign", 3): NamedEntry("campaign", 3, "", "-2+3, or so")}
    row = csv_row(request, answer_row(request, cell, names))
    text = csv_text([csv_columns(request), row])
    assert text == (
        '"sub1","campaign","campaign_name","clicks","revenue","currency","currencies"\r\n'
        '"\'=cmd|"" /C calc""","cmp_3","\'-2+3, or so",7,199.98,"USD",\r\n'
    )
