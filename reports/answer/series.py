"""Reports of one row an interval: their pages, and rows for intervals without events."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

import msgspec

from reports.answer.rows import EMPTY_CELL, Cell
from reports.query.intervals import starts_of
from reports.query.request import ReportRequest

_MOMENT = timedelta(milliseconds=1)


class Page(msgspec.Struct, frozen=True):
    """What to ask the warehouse for one page, and the buckets that its rows must have.

    `starts` is None where rows are what the warehouse finds; `more` says that a page follows.
    """

    request: ReportRequest
    starts: tuple[int, ...] | None = None
    more: bool = False


def is_series(request: ReportRequest) -> bool:
    """Whether the report is one row an interval, in their order: no interval is left out then."""
    return request.interval != "none" and not request.group_by and request.sort.name == "time"


def page_of(request: ReportRequest) -> Page:
    """The page of a request; that of a series reaches over its own intervals only."""
    if not is_series(request):
        return Page(request)
    begin, stop = request.offset, request.offset + request.limit
    # None lies in the future.
    end = max(min(request.end, request.asked_at + _MOMENT), request.start)
    starts = starts_of(request.start, end, request.interval, request.timezone)
    if request.sort.descending:
        newest_first = list(starts)[::-1]
        shown = newest_first[begin:stop]
        later = newest_first[:begin][-1:]
        more = len(newest_first) > stop
    else:
        shown = list(islice(starts, begin, stop))
        later = list(islice(starts, 1))
        more = bool(later)
    if not shown:
        nothing = msgspec.structs.replace(request, end=request.start)
        return Page(nothing if begin else request, ())
    narrow = msgspec.structs.replace(
        request,
        start=max(request.start, _utc(min(shown))),
        end=_utc(later[0]) if later else request.end,
        offset=0,
    )
    return Page(narrow, tuple(shown), more)


def fill(page: Page, cells: Sequence[Cell]) -> list[Cell]:
    """The cells of a page, with empty ones for the intervals that have no events."""
    if page.starts is None:
        return list(cells)
    found = {cell.bucket: cell for cell in cells}
    empty = {start: msgspec.structs.replace(EMPTY_CELL, bucket=start) for start in page.starts}
    whole = empty | found
    return [whole[start] for start in sorted(whole, reverse=page.request.sort.descending)]


def _utc(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
