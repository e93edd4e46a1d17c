"""The fixed set of reports that are timed: what a manager of affiliates looks at."""

from datetime import datetime, timedelta
from typing import NamedTuple

from reports.query.request import ReportRequest, parse_request

_AFFILIATE = "aff_8"
# Without unique clicks, which the API tells unless asked otherwise and which cost the most.
_PAYOUT = "clicks,conversions,revenue,commission,epc"


class Question(NamedTuple):
    """A report by its query parameters; `hours`: how far it reaches back, 0 for all events."""

    says: str
    parameters: dict[str, str]
    hours: int = 0


def _over(hours: int, says: str, **parameters: str) -> Question:
    return Question(says, parameters, hours)


def _whole(says: str, **parameters: str) -> Question:
    return Question(says, parameters)


QUESTIONS = (
    _over(30 * 24, "totals of 30 days"),
    _whole("days", interval="day"),
    _whole("unique clicks by day", interval="day", metrics="unique_clicks"),
    _whole("campaigns", group_by="campaign"),
    _whole("affiliates, top 100", group_by="affiliate", limit="100"),
    _whole("payout by affiliate", group_by="affiliate", sort="-revenue", metrics=_PAYOUT),
    _whole("links, top 100", group_by="link", limit="100"),
    _whole("countries", group_by="country"),
    _whole("devices of an affiliate", group_by="device", affiliate=_AFFILIATE),
    _whole("referrers", group_by="referrer_host"),
    _whole("sub1", group_by="sub1"),
    _whole("verdicts", group_by="verdict"),
    _whole("currencies", group_by="currency"),
    _over(7 * 24, "hours of 7 days in Kolkata", timezone="Asia/Kolkata", interval="hour"),
    _whole("months of an affiliate", interval="month", affiliate=_AFFILIATE),
    _whole("links of an affiliate", group_by="link", affiliate=_AFFILIATE, metrics=_PAYOUT),
    _whole("days of a country", interval="day", country="AB"),
    _whole(
        "payout by campaign, click's time",
        group_by="campaign",
        time_basis="click",
        metrics=_PAYOUT,
    ),
    _over(
        30 * 24, "days against those before", interval="day", compare="previous", metrics=_PAYOUT
    ),
    _over(
        30 * 24, "payout against before", group_by="affiliate", compare="previous", metrics=_PAYOUT
    ),
    _over(30 * 24, "payout by status", group_by="affiliate,status", metrics=_PAYOUT),
    _whole("regions", group_by="region", metrics=_PAYOUT),
    _over(48, "minutes of 48 hours", interval="minute"),
    _over(24, "links of 24 hours", group_by="link", limit="100"),
)


def request_of(question: Question, start: datetime, end: datetime) -> ReportRequest:
    """The report as it is asked for at `end`, a full hour."""
    begin = end - timedelta(hours=question.hours) if question.hours else start
    parameters = {"limit": "1000"} | question.parameters | {"from": begin.isoformat()}
    return parse_request(list(parameters.items()), end)
