"""Declares the fixed set of reports that are timed: those that an affiliate manager reads."""

from datetime import datetime, timedelta
from typing import NamedTuple

from reports.query.request import ReportRequest, parse_request

_AFFILIATE = "aff_8"
# Without unique clicks, a default of the API and the most expensive metric.
_PAYOUT = "clicks,conversions,revenue,commission,epc"


class Question(NamedTuple):
    """A report by its query parameters; `hours` is its length, 0 for all events."""

    title: str
    parameters: dict[str, str]
    hours: int = 0


def _last_hours(hours: int, title: str, **parameters: str) -> Question:
    return Question(title, parameters, hours)


def _all_time(title: str, **parameters: str) -> Question:
    return Question(title, parameters)


QUESTIONS = (
    _last_hours(30 * 24, "totals of 30 days"),
    _all_time("days", interval="day"),
    _all_time("unique clicks by day", interval="day", metrics="unique_clicks"),
    _all_time("campaigns", group_by="campaign"),
    _all_time("affiliates, top 100", group_by="affiliate", limit="100"),
    _all_time("payout by affiliate", group_by="affiliate", sort="-revenue", metrics=_PAYOUT),
    _all_time("links, top 100", group_by="link", limit="100"),
    _all_time("countries", group_by="country"),
    _all_time("devices of an affiliate", group_by="device", affiliate=_AFFILIATE),
    _all_time("referrers", group_by="referrer_host"),
    _all_time("sub1", group_by="sub1"),
    _all_time("verdicts", group_by="verdict"),
    _all_time("currencies", group_by="currency"),
    _last_hours(7 * 24, "hours of 7 days in Kolkata", timezone="Asia/Kolkata", interval="hour"),
    _all_time("months of an affiliate", interval="month", affiliate=_AFFILIATE),
    _all_time("links of an affiliate", group_by="link", affiliate=_AFFILIATE, metrics=_PAYOUT),
    _all_time("days of a country", interval="day", country="AB"),
    _all_time(
        "payout by campaign, click's time",
        group_by="campaign",
        time_basis="click",
        metrics=_PAYOUT,
    ),
    _last_hours(
        30 * 24, "days against those before", interval="day", compare="previous", metrics=_PAYOUT
    ),
    _last_hours(
        30 * 24, "payout against before", group_by="affiliate", compare="previous", metrics=_PAYOUT
    ),
    _last_hours(30 * 24, "payout by status", group_by="affiliate,status", metrics=_PAYOUT),
    _all_time("regions", group_by="region", metrics=_PAYOUT),
    _last_hours(48, "minutes of 48 hours", interval="minute"),
    _last_hours(24, "links of 24 hours", group_by="link", limit="100"),
)


def make_request(question: Question, start: datetime, end: datetime) -> ReportRequest:
    """Parses the report's request as of `end`, a full hour."""
    begin = end - timedelta(hours=question.hours) if question.hours else start
    parameters = {"limit": "1000"} | question.parameters | {"from": begin.isoformat()}
    return parse_request(list(parameters.items()), end)
