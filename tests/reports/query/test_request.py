"""Parameters of a report are parsed, or refused by name."""

from datetime import UTC, datetime

import pytest

from linkjolt.reasons import Reason, Rejected
from reports.query.request import Filter, Sort, cursor_at, parse_request
from reports.query.sources import choose_shape
from reports.vocabulary import DEFAULT_METRICS

NOW = datetime(2026, 11, 20, 10, 7, 31, 250_000, tzinfo=UTC)

REFUSED = [
    ("colour=red", "colour", Reason.unknown_field),
    ("FROM=today", "FROM", Reason.unknown_field),
    ("from=yesterdy", "from", Reason.invalid_field),
    ("from=2026-13-01", "from", Reason.invalid_field),
    ("from=20261101", "from", Reason.invalid_field),
    ("from=2026-11-01T10:00:00", "from", Reason.invalid_field),
    ("from=2026-11-01T10:00:60Z", "from", Reason.invalid_field),
    ("from=1969-12-31", "from", Reason.invalid_field),
    ("from=9999-12-31T23:59:59-23:59", "from", Reason.invalid_field),
    ("from=2026-11-21", "from", Reason.invalid_field),
    ("from=", "from", Reason.invalid_field),
    ("from=24h&to=2026-11-20", "to", Reason.invalid_field),
    ("from=2026-11-02&to=2026-11-02", "to", Reason.invalid_field),
    ("from=2026-11-02&to=now", "to", Reason.invalid_field),
    ("timezone=Mars/Olympus", "timezone", Reason.invalid_field),
    ("timezone=../../etc/passwd", "timezone", Reason.invalid_field),
    ("timezone=", "timezone", Reason.invalid_field),
    ("interval=second", "interval", Reason.invalid_field),
    ("interval=minute&from=7d", "interval", Reason.invalid_field),
    ("group_by=country,planet", "group_by", Reason.invalid_field),
    ("group_by=country,country", "group_by", Reason.invalid_field),
    ("group_by=country,device,os,browser", "group_by", Reason.invalid_field),
    ("metrics=clicks,love", "metrics", Reason.invalid_field),
    ("time_basis=payment", "time_basis", Reason.invalid_field),
    ("sort=country", "sort", Reason.invalid_field),
    ("sort=time", "sort", Reason.invalid_field),
    ("sort=--clicks", "sort", Reason.invalid_field),
    ("limit=0", "limit", Reason.invalid_field),
    ("limit=1001", "limit", Reason.invalid_field),
    ("limit=ten", "limit", Reason.invalid_field),
    ("limit=²", "limit", Reason.invalid_field),
    ("cursor=MTA", "cursor", Reason.invalid_field),
    ("cursor=é", "cursor", Reason.invalid_field),
    ("format=xml", "format", Reason.invalid_field),
    ("campaign=7", "campaign", Reason.invalid_field),
    ("campaign=aff_7", "campaign", Reason.invalid_field),
    ("affiliate=aff_9999999999", "affiliate", Reason.invalid_field),
    ("link=tc_A,", "link", Reason.invalid_field),
    ("currency=DOGE", "currency", Reason.invalid_field),
    ("country=" + ",".join(["US"] * 101), "country", Reason.invalid_field),
    ("country=US&country=BR", "country", Reason.invalid_field),
]


def pairs(query: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (one.partition("=") for one in query.split("&"))]


@pytest.mark.parametrize(("query", "field", "reason"), REFUSED)
def test_a_wrong_parameter_is_refused_by_its_name(query: str, field: str, reason: Reason) -> None:
    with pytest.raises(Rejected) as refused:
        parse_request(pairs(query), NOW)
    assert (refused.value.field, refused.value.reason) == (field, reason)


def test_without_parameters_a_report_tells_of_the_last_day_in_utc() -> None:
    request = parse_request([], NOW)
    assert request.start == datetime(2026, 11, 19, 10, 0, tzinfo=UTC)
    assert request.end == datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
    assert (request.timezone, request.interval, request.limit) == ("UTC", "none", 100)
    assert request.metrics == DEFAULT_METRICS
    assert request.sort == Sort("clicks", descending=True)
    assert choose_shape(request) == "quarter"


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        ("from=today", "2026-11-19T18:15Z", "2026-11-20T18:15Z"),
        ("from=yesterday", "2026-11-18T18:15Z", "2026-11-19T18:15Z"),
        ("from=7d", "2026-11-13T10:00Z", "2026-11-20T10:15Z"),
        ("from=30d", "2026-10-21T10:00Z", "2026-11-20T10:15Z"),
        ("from=mtd", "2026-10-31T18:15Z", "2026-11-20T10:15Z"),
        ("from=last_month", "2026-09-30T18:15Z", "2026-10-31T18:15Z"),
        ("from=2026-11-01", "2026-10-31T18:15Z", "2026-11-20T10:15Z"),
        ("from=2026-11-01&to=2026-11-03", "2026-10-31T18:15Z", "2026-11-02T18:15Z"),
        ("from=2026-11-01T00:00:00Z", "2026-11-01T00:00Z", "2026-11-20T10:15Z"),
        ("from=2026-11-01t02:00:00.5+02:00", "2026-11-01T00:00:00.500Z", "2026-11-20T10:15Z"),
        ("from=2026-11-01T02:00:00 02:00", "2026-11-01T00:00Z", "2026-11-20T10:15Z"),
    ],
)
def test_a_period_is_read_in_the_reports_zone(query: str, start: str, end: str) -> None:
    request = parse_request(pairs(f"timezone=Asia/Kathmandu&{query}"), NOW)
    assert request.start == datetime.fromisoformat(start)
    assert request.end == datetime.fromisoformat(end)


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2026-11-01", 25),
        ("America/New_York", "2026-03-08", 23),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Asia/Beirut", "2026-03-29", 23),
    ],
)
def test_a_day_lasts_as_long_as_it_does_there(zone: str, day: str, hours: float) -> None:
    next_day = f"{day[:-2]}{int(day[-2:]) + 1:02}"
    query = f"timezone={zone}&from={day}&to={next_day}"
    request = parse_request(pairs(query), NOW)
    assert (request.end - request.start).total_seconds() == hours * 3600


def test_filters_choose_and_leave_out() -> None:
    query = "country=US,BR&campaign=cmp_7,-cmp_8&sub1=,-x&currency=USD&link=-tc_A"
    assert parse_request(pairs(query), NOW).filters == (
        Filter("campaign", ("7",), ("8",)),
        Filter("link", (), ("tc_A",)),
        Filter("currency", ("USD",)),
        Filter("country", ("US", "BR")),
        Filter("sub1", ("",), ("x",)),
    )


def test_a_cursor_continues_where_its_page_ended() -> None:
    assert parse_request([("cursor", cursor_at(300))], NOW).offset == 300


@pytest.mark.parametrize(
    ("query", "sort"),
    [
        ("interval=day", Sort("time")),
        ("metrics=revenue,clicks", Sort("revenue", descending=True)),
        ("sort=-cr", Sort("cr", descending=True)),
        ("interval=day&sort=-time", Sort("time", descending=True)),
        ("group_by=country&sort=country", Sort("country")),
    ],
)
def test_rows_are_sorted_by_time_or_the_first_metric_unless_asked(query: str, sort: Sort) -> None:
    assert parse_request(pairs(query), NOW).sort == sort


@pytest.mark.parametrize(
    ("query", "shape"),
    [
        ("group_by=campaign,link,verdict&currency=USD", "quarter"),
        ("group_by=sub1,campaign&sub1=a", "dimension"),
        ("group_by=campaign&sub1=a", "dimension"),
        ("group_by=sub1&country=US", "raw"),
        ("from=2026-11-01T00:07:00Z", "raw"),
        ("interval=minute", "minute"),
        ("interval=minute&country=US", "raw"),
        ("interval=minute&from=2026-11-19T00:07:00Z", "minute"),
        ("interval=minute&from=2026-11-01&to=2026-11-02", "raw"),
    ],
)
def test_the_smallest_source_that_is_exact_answers(query: str, shape: str) -> None:
    assert choose_shape(parse_request(pairs(query), NOW)) == shape
