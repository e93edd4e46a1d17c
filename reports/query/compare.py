"""Finds the earlier period that a report is compared with, and pairs the rows of both."""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from reports.answer.rows import EMPTY_ROW, ReportRow
from reports.period import ceil_to_quarter, first_instant
from reports.query.intervals import bucket_start
from reports.query.request import Filter, ReportRequest

_ROWS_MAX = 1_000_000
# Their values are few, so all are read; and a filter by verdict or currency changes the counts.
_UNFILTERED = ("verdict", "currency")
EarlierRows = Mapping[tuple[int | str, ...], ReportRow]


class Shift(msgspec.Struct, frozen=True):
    """A distance back in time: months or days of the zone's calendar, or seconds."""

    months: int = 0
    days: int = 0
    seconds: int = 0


def shift_for(request: ReportRequest) -> Shift:
    """Computes the shift of `compare`: twelve months for `year`, else the length of the period.

    The length is in months or days if these are whole.
    """
    if request.compare == "year":
        return Shift(months=12)
    zone = ZoneInfo(request.timezone)
    first, last = _day_beginning_at(request.start, zone), _day_beginning_at(request.end, zone)
    if first is None or last is None:
        return Shift(seconds=int((request.end - request.start).total_seconds()))
    if first.day == 1 and last.day == 1:
        return Shift(months=(last.year - first.year) * 12 + last.month - first.month)
    return Shift(days=(last - first).days)


def shift_back(instant: datetime, shift: Shift, zone: str) -> datetime:
    """Moves an instant back, keeping the local time of day; UTC.

    The 29th to 31st become the last day of a shorter month.
    """
    if shift.seconds:
        return instant - timedelta(seconds=shift.seconds)
    local_zone = ZoneInfo(zone)
    local = instant.astimezone(local_zone)
    month = local.year * 12 + local.month - 1 - shift.months
    year, month = month // 12, month % 12 + 1
    day = min(local.day, calendar.monthrange(year, month)[1])
    earlier = date(year, month, day) - timedelta(days=shift.days)
    if _day_beginning_at(instant, local_zone):
        return first_instant(earlier, local_zone)
    return datetime.combine(earlier, local.time(), local_zone).astimezone(UTC)


def shifted_request(request: ReportRequest, shift: Shift) -> ReportRequest:
    """Builds the report to compare with, over as much of its period as has passed of this one."""
    now = ceil_to_quarter(request.asked_at)
    end = min(request.end, now) if now > request.start else request.end
    start = shift_back(request.start, shift, request.timezone)
    return msgspec.structs.replace(
        request,
        start=start,
        end=max(shift_back(end, shift, request.timezone), start + timedelta(minutes=15)),
        compare="none",
        limit=_ROWS_MAX,
        offset=0,
    )


def filters_earlier_rows(request: ReportRequest) -> bool:
    """Whether earlier rows are filtered by the values shown, and so have to be read after them."""
    return any(name not in _UNFILTERED for name in request.group_by)


def filter_to_rows(earlier: ReportRequest, rows: Sequence[ReportRow]) -> ReportRequest:
    """Filters the earlier report by the values that the rows shown have."""
    filters = {chosen.name: chosen for chosen in earlier.filters}
    for index, name in enumerate(earlier.group_by):
        if name not in _UNFILTERED:
            values = dict.fromkeys(str(row.values[index]) for row in rows)
            filters[name] = Filter(name, tuple(values))
    return msgspec.structs.replace(earlier, filters=tuple(filters.values()))


def by_place(rows: Iterable[ReportRow]) -> EarlierRows:
    """Maps rows by their interval and values."""
    return {(row.bucket, *row.values): row for row in rows}


def pair_earlier_rows(
    request: ReportRequest, shift: Shift, rows: Sequence[ReportRow], earlier_rows: EarlierRows
) -> list[ReportRow]:
    """Finds for each row the earlier one with the same values, one shift before its interval."""

    def earlier_row(row: ReportRow) -> ReportRow:
        start = 0
        if request.interval != "none":
            at = max(datetime.fromtimestamp(row.bucket, UTC), request.start)
            start = bucket_start(
                shift_back(at, shift, request.timezone), request.interval, request.timezone
            )
        return earlier_rows.get((start, *row.values), EMPTY_ROW)

    return [earlier_row(row) for row in rows]


def _day_beginning_at(instant: datetime, zone: ZoneInfo) -> date | None:
    """The local day that begins at this instant, if one does."""
    day = instant.astimezone(zone).date()
    return day if first_instant(day, zone) == instant else None
