"""The same report of an earlier period: which one that is, and which row belongs to which."""

import calendar
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from reports.answer.rows import EMPTY_CELL, Cell
from reports.period import first_instant, up_to_quarter
from reports.query.intervals import bucket
from reports.query.request import Filter, ReportRequest

_ALL_ROWS = 1_000_000
# Values that are few, so that all are read; and a filter by them would change what is counted.
_UNNARROWED = ("verdict", "currency")


class Shift(msgspec.Struct, frozen=True):
    """How far back: months or days of the zone's calendar, or seconds."""

    months: int = 0
    days: int = 0
    seconds: int = 0


def shift_of(request: ReportRequest) -> Shift:
    """`year` is twelve months; `previous` the period's own length, in months or days if whole."""
    if request.compare == "year":
        return Shift(months=12)
    zone = ZoneInfo(request.timezone)
    first, last = _midnight(request.start, zone), _midnight(request.end, zone)
    if first is None or last is None:
        return Shift(seconds=int((request.end - request.start).total_seconds()))
    if first.day == 1 and last.day == 1:
        return Shift(months=(last.year - first.year) * 12 + last.month - first.month)
    return Shift(days=(last - first).days)


def back(instant: datetime, shift: Shift, zone: str) -> datetime:
    """The instant that lies so far before, at the same time of the zone's day; UTC.

    The 29th to 31st become a shorter month's last day.
    """
    if shift.seconds:
        return instant - timedelta(seconds=shift.seconds)
    here = ZoneInfo(zone)
    local = instant.astimezone(here)
    month = local.year * 12 + local.month - 1 - shift.months
    year, month = month // 12, month % 12 + 1
    day = min(local.day, calendar.monthrange(year, month)[1])
    earlier = date(year, month, day) - timedelta(days=shift.days)
    if _midnight(instant, here):
        return first_instant(earlier, here)
    return datetime.combine(earlier, local.time(), here).astimezone(UTC)


def compared(request: ReportRequest, shift: Shift) -> ReportRequest:
    """The report to compare with: as much of the earlier period as has gone by of this one."""
    now = up_to_quarter(request.asked_at)
    end = min(request.end, now) if now > request.start else request.end
    start = back(request.start, shift, request.timezone)
    return msgspec.structs.replace(
        request,
        start=start,
        end=max(back(end, shift, request.timezone), start + timedelta(minutes=15)),
        compare="none",
        limit=_ALL_ROWS,
        offset=0,
    )


def narrows(request: ReportRequest) -> bool:
    """Whether the earlier rows are only those of values that are shown, so that they come later."""
    return any(name not in _UNNARROWED for name in request.group_by)


def narrowed(earlier: ReportRequest, cells: Sequence[Cell]) -> ReportRequest:
    """Only what the rows shown need: filtered by the values that they have."""
    filters = {one.name: one for one in earlier.filters}
    for index, name in enumerate(earlier.group_by):
        if name not in _UNNARROWED:
            values = dict.fromkeys(str(cell.values[index]) for cell in cells)
            filters[name] = Filter(name, tuple(values))
    return msgspec.structs.replace(earlier, filters=tuple(filters.values()))


def paired(
    request: ReportRequest, shift: Shift, cells: Sequence[Cell], earlier: Sequence[Cell]
) -> list[Cell]:
    """For each row the earlier one of the same values, at the interval so far before."""
    found = {(cell.bucket, *cell.values): cell for cell in earlier}

    def before(cell: Cell) -> Cell:
        start = 0
        if request.interval != "none":
            at = max(datetime.fromtimestamp(cell.bucket, UTC), request.start)
            start = bucket(back(at, shift, request.timezone), request.interval, request.timezone)
        return found.get((start, *cell.values), EMPTY_CELL)

    return [before(cell) for cell in cells]


def _midnight(instant: datetime, zone: ZoneInfo) -> date | None:
    """The day in the zone that begins at this instant."""
    day = instant.astimezone(zone).date()
    return day if first_instant(day, zone) == instant else None
