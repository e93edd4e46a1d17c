"""Which UTC days of a report lie whole in one of its intervals, so that sums by day hold them."""

from collections.abc import Iterator, Set
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from reports.period import first_instant
from reports.vocabulary import FURTHER, NUMBERED, Interval

_DAY_SECONDS = 86_400
# Conditions on a rollup's rows `r`.
PERIOD = (
    "r.time >= toDateTime(intDiv({start_ms:Int64}, 1000), 'UTC')"
    " AND r.time < toDateTime(intDiv({end_ms:Int64}, 1000), 'UTC')"
)
EARLIER = PERIOD.replace("{start_ms", "{earlier_start_ms").replace("{end_ms", "{earlier_end_ms")
IS_EARLIER = "r.time < toDateTime(intDiv({start_ms:Int64}, 1000), 'UTC')"
# Nothing is stored in an ingest month that ended a day before the period (clocks differ).
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


class Days(msgspec.Struct, frozen=True):
    """[first, last) in UTC seconds, both midnights; without the days that begin at `split`."""

    first: int
    last: int
    split: tuple[int, ...] = ()


def settled_until(asked_at: datetime, as_of: datetime | None) -> datetime:
    """Days that end by then have all that is stored up to `as_of`."""
    return min(asked_at, as_of or asked_at) - _SETTLED_AFTER


@lru_cache(maxsize=256)
def whole_days(start: int, end: int, interval: Interval, zone: str) -> Days | None:
    """Of [start, end) in UTC seconds; None where no day does."""
    first = -(-start // _DAY_SECONDS) * _DAY_SECONDS
    last = end // _DAY_SECONDS * _DAY_SECONDS
    if interval not in ("none", "day", "week", "month") or last <= first:
        return None
    cuts = _cuts(first, last, interval, ZoneInfo(zone)) if interval != "none" else ()
    split = sorted({cut // _DAY_SECONDS * _DAY_SECONDS for cut in cuts if cut % _DAY_SECONDS})
    inside = tuple(day for day in split if first <= day < last)
    return Days(first, last, inside) if len(inside) * _DAY_SECONDS < last - first else None


def day_dimension(used: Set[str]) -> str | None:
    """The dimension of the day rollup that holds what is used; None where none does alone."""
    further = [name for name in FURTHER if name in used]
    numbered = [name for name in NUMBERED if name in used]
    if further:
        return further[0] if not numbered and len(further) == 1 else None
    if len(numbered) > 1:
        # Its rows have campaign and affiliate beside it.
        return "link"
    return numbered[0] if numbered else "total"


def _cuts(first: int, last: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    """The instants at which one interval ends and the next begins, and a few around them.

    Where clocks go back at midnight there are two of them; both are told.
    """
    day = _date(first) - timedelta(days=2)
    until = _date(last) + timedelta(days=2)
    while day <= until:
        if _begins(day, interval):
            yield int(first_instant(day, zone).timestamp())
            yield int(datetime.combine(day, time(fold=1), zone).timestamp())
        day += timedelta(days=1)


def _date(seconds: int) -> date:
    return datetime.fromtimestamp(seconds, UTC).date()


def _begins(day: date, interval: Interval) -> bool:
    match interval:
        case "week":
            return day.weekday() == 0
        case "month":
            return day.day == 1
        case _:
            return True
