"""Pages reports of one row an interval, and adds rows for intervals without events."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

import msgspec

from reports.answer.rows import EMPTY_ROW, ReportRow
from reports.query.intervals import bucket_starts
from reports.query.request import ReportRequest

_MILLISECOND = timedelta(milliseconds=1)


class ReportPage(msgspec.Struct, frozen=True):
    """The request for one page, and the starts of the intervals that its rows must have.

    `starts` is None if the warehouse decides on the rows; `more`: another page follows.
    """

    request: ReportRequest
    starts: tuple[int, ...] | None = None
    more: bool = False


def is_series(request: ReportRequest) -> bool:
    """Whether the report has one row an interval, in order of time; it then leaves out none."""
    return request.interval != "none" and not request.group_by and request.sort.name == "time"


def plan_page(request: ReportRequest) -> ReportPage:
    """Plans the page of a request; that of a series covers its own intervals only."""
    if not is_series(request):
        return ReportPage(request)
    first, last = request.offset, request.offset + request.limit
    # No interval begins in the future.
    end = max(min(request.end, request.asked_at + _MILLISECOND), request.start)
    starts = bucket_starts(request.start, end, request.interval, request.timezone)
    more = len(starts) > last
    if request.sort.descending:
        newest_first = starts[::-1]
        shown = newest_first[first:last]
        following = newest_first[max(0, first - 1) : first]
    else:
        shown = starts[first:last]
        following = starts[last : last + 1]
    if not shown:
        empty_request = msgspec.structs.replace(request, end=request.start)
        return ReportPage(empty_request if first else request, ())
    page_request = msgspec.structs.replace(
        request,
        start=max(request.start, _utc(min(shown))),
        end=_utc(following[0]) if following else request.end,
        offset=0,
    )
    return ReportPage(page_request, tuple(shown), more)


def fill_empty_intervals(
    page: ReportPage, starts: Sequence[int], rows: Mapping[int, ReportRow]
) -> Iterator[ReportRow]:
    """Yields the rows of a page by their starts, and empty ones for intervals without events."""
    known = set(starts)
    # Events may be newer than the last interval that has begun.
    others = [start for start in rows if start not in known]
    for start in sorted(chain(starts, others), reverse=page.request.sort.descending):
        yield rows.get(start) or msgspec.structs.replace(EMPTY_ROW, bucket=start)


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
