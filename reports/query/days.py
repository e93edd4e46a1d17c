"""Finds the UTC days that lie whole in one interval of a report, for the day rollup to answer."""

from collections.abc import Iterator, Set
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from reports.period import first_instant
from reports.vocabulary import NUMBERED_DIMENSIONS, SINGLE_DIMENSIONS, Interval

_DAY_SECONDS = 86_400
# Conditions on a rollup's rows `r`.
PERIOD = (
    "r.time >= toDateTime(intDiv({start_ms:Int64}, 1000), 'UTC')"
    " AND r.time < toDateTime(intDiv({end_ms:Int64}, 1000), 'UTC')"
)
EARLIER = PERIOD.replace("{start_ms", "{earlier_start_ms").replace("{end_ms", "{earlier_end_ms")
IS_EARLIER = "r.time < toDateTime(intDiv({start_ms:Int64}, 1000), 'UTC')"
# An ingest month that ended a day before the period holds none of it (clocks differ by less).
WHOLE_DAYS = (
    "r.time >= toDateTime({first_day:UInt32}, 'UTC')"
    " AND r.time < toDateTime({last_day:UInt32}, 'UTC')"
    " AND NOT has({split_days:Array(UInt32)}, toUnixTimestamp(r.time))"
    " AND r.month >= toYYYYMM(toDateTime({first_day:UInt32} - 86400, 'UTC'))"
)
OTHER_DAYS = (
    f"{PERIOD} AND (r.time < toDateTime({{first_day:UInt32}}, 'UTC')"
    " OR r.time >= toDateTime({last_day:UInt32}, 'UTC')"
    " OR has({split_days:Array(UInt32)}, toUnixTimestamp(toStartOfDay(r.time))))"
)
# Clicks of a day that is not over are pulled into it half a minute later
# (`aggregator.rollups.schedule`); an hour is ample for clocks that differ.
_SETTLED_AFTER = timedelta(hours=1)


class WholeDays(msgspec.Struct, frozen=True):
    """The days of [first, last), midnights in UTC seconds, except those beginning at `split`."""

    first: int
    last: int
    split: tuple[int, ...] = ()


def days_settled_until(asked_at: datetime, as_of: datetime | None) -> datetime:
    """Computes the instant by which a day must have ended to be complete in the day rollup."""
    return min(asked_at, as_of or asked_at) - _SETTLED_AFTER


@lru_cache(maxsize=256)
def whole_days(start: int, end: int, interval: Interval, zone: str) -> WholeDays | None:
    """Finds the whole days of [start, end), in UTC seconds; None if there are none."""
    first = -(-start // _DAY_SECONDS) * _DAY_SECONDS
    last = end // _DAY_SECONDS * _DAY_SECONDS
    if interval not in ("none", "day", "week", "month") or last <= first:
        return None
    boundaries = _boundaries(first, last, interval, ZoneInfo(zone)) if interval != "none" else ()
    split = sorted(
        {
            boundary // _DAY_SECONDS * _DAY_SECONDS
            for boundary in boundaries
            if boundary % _DAY_SECONDS
        }
    )
    split_inside = tuple(day for day in split if first <= day < last)
    return (
        WholeDays(first, last, split_inside)
        if len(split_inside) * _DAY_SECONDS < last - first
        else None
    )


def day_dimension(used: Set[str]) -> str | None:
    """Chooses the dimension of the day rollup that covers those used; None if none does alone."""
    single = [name for name in SINGLE_DIMENSIONS if name in used]
    numbered = [name for name in NUMBERED_DIMENSIONS if name in used]
    if single:
        return single[0] if not numbered and len(single) == 1 else None
    if len(numbered) > 1:
        # Rows by link carry their campaign and affiliate.
        return "link"
    return numbered[0] if numbered else "total"


def _boundaries(first: int, last: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    """Yields the instants at which intervals begin, and a few before and after the period.

    A midnight that occurs twice, as clocks go back, is yielded twice.
    """
    day = _date(first) - timedelta(days=2)
    until = _date(last) + timedelta(days=2)
    while day <= until:
        if _begins_interval(day, interval):
            yield int(first_instant(day, zone).timestamp())
            yield int(datetime.combine(day, time(fold=1), zone).timestamp())
        day += timedelta(days=1)


def _date(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _begins_interval(day: date, interval: Interval) -> bool:
    match interval:
        case "week":
            return day.weekday() == 0
        case "month":
            return day.day == 1
        case _:
            return True
