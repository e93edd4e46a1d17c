"""What is told beside a report's rows: how fresh they are, and where they come from."""

from datetime import datetime

import msgspec

from reports.query.compare import compared, shift_of
from reports.query.request import ReportRequest
from reports.query.sources import Source
from reports.vocabulary import Interval, TimeBasis

_VISITORS_DIFFER = (
    "a visitor counts once in each row and once in totals, so rows may add up to more;"
    " visitors are told apart within a UTC day, and over several days are the sum of the days"
)


class Span(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """[from, to) in UTC."""

    start: datetime
    end: datetime


class Meta(msgspec.Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """[from, to) in UTC, as it was answered; `incomplete`: the time for raw events ran out.

    `compared` is the period of `previous` in rows and totals. `notes` says by metric why totals
    are not the sum of the rows.
    """

    data_as_of: datetime | None
    source: Source
    elapsed_ms: int
    timezone: str
    incomplete: bool
    start: datetime
    end: datetime
    interval: Interval
    time_basis: TimeBasis
    compared: Span | None
    notes: dict[str, str]


def earlier_of(request: ReportRequest) -> ReportRequest | None:
    """The report that a request is compared with."""
    return compared(request, shift_of(request)) if request.compare != "none" else None


def meta_of(
    request: ReportRequest,
    as_of: datetime | None,
    source: Source,
    elapsed_seconds: float,
    incomplete: bool,
) -> Meta:
    """Of the answer to a request; `source` is where its rows came from."""
    earlier = earlier_of(request)
    several = not request.one_row and "unique_clicks" in request.metrics
    return Meta(
        data_as_of=as_of,
        source=source,
        elapsed_ms=round(elapsed_seconds * 1000),
        timezone=request.timezone,
        incomplete=incomplete,
        start=request.start,
        end=request.end,
        interval=request.interval,
        time_basis=request.time_basis,
        compared=Span(earlier.start, earlier.end) if earlier else None,
        notes={"unique_clicks": _VISITORS_DIFFER} if several else {},
    )
