"""Computes where the intervals of a report begin, in its time zone."""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from reports.period import first_instant
from reports.vocabulary import Interval

_QUARTER_SECONDS = 900
# No zone's clock moves forth and back in less.
_STEADY_SECONDS = 6 * 3600
_FIXED_SECONDS: dict[Interval, int] = {"minute": 60, "15m": _QUARTER_SECONDS}


def bucket_start(instant: datetime, interval: Interval, zone: str) -> int:
    """Computes where the interval of an instant begins, in UTC seconds, as `bucket_sql` does.

    An hour that a change of clocks splits begins at the change.
    """
    seconds = int(instant.timestamp())
    if interval == "none":
        return 0
    if interval in _FIXED_SECONDS:
        return seconds - seconds % _FIXED_SECONDS[interval]
    local_zone = ZoneInfo(zone)
    if interval == "hour":
        return _start_of_hour(seconds, local_zone)
    day = _first_day_of(instant.astimezone(local_zone).date(), interval)
    return int(first_instant(day, local_zone).timestamp())


def bucket_starts(start: datetime, end: datetime, interval: Interval, zone: str) -> Sequence[int]:
    """Computes where the intervals of [start, end) begin, in UTC seconds, ascending.

    Minutes are a range, for of some years they are millions.
    """
    first, until = int(start.timestamp()), int(-(-end.timestamp() // 1))
    if interval in _FIXED_SECONDS:
        return range(bucket_start(start, interval, zone), until, _FIXED_SECONDS[interval])
    if interval == "hour":
        return _hour_starts(first - first % _QUARTER_SECONDS, until, ZoneInfo(zone))
    first_day = bucket_start(start, interval, zone)
    return list(_day_starts(first_day, until, interval, ZoneInfo(zone)))


def _hour_starts(first: int, until: int, zone: ZoneInfo) -> list[int]:
    # An hour may begin in one span and end in the next.
    starts: dict[int, None] = {}
    begin = first
    while begin < until:
        offset = _offset(begin, zone)
        end = _steady_until(begin, until, offset, zone)
        if end > begin:
            following = range(begin + 3600 - (begin + offset) % 3600, end, 3600)
            starts.update(dict.fromkeys((_start_of_hour(begin, zone), *following)))
        else:
            # By quarters: where clocks move by half an hour, an hour may begin at any of them.
            end = min(begin + _STEADY_SECONDS, until)
            quarters = range(begin, end, _QUARTER_SECONDS)
            starts.update(dict.fromkeys(_start_of_hour(second, zone) for second in quarters))
        begin = end
    return list(starts)


def _steady_until(begin: int, until: int, offset: int, zone: ZoneInfo) -> int:
    """Finds the end of the span in which the clock surely does not move; `begin` if it may."""
    end = begin
    while end < until:
        following = min(end + _STEADY_SECONDS, until)
        if _offset(following, zone) != offset:
            break
        end = following
    return end


def _start_of_hour(seconds: int, zone: ZoneInfo) -> int:
    offset = _offset(seconds, zone)
    start = seconds - (seconds + offset) % 3600
    while _offset(start, zone) != offset:
        start += _QUARTER_SECONDS
    return start


def _day_starts(first: int, until: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    day = datetime.fromtimestamp(first, zone).date()
    while (start := int(first_instant(day, zone).timestamp())) < until:
        yield start
        day = _next_day(day, interval)


def _first_day_of(day: date, interval: Interval) -> date:
    match interval:
        case "week":
            return day - timedelta(days=day.weekday())
        case "month":
            return day.replace(day=1)
        case _:
            return day


def _next_day(day: date, interval: Interval) -> date:
    match interval:
        case "week":
            return day + timedelta(days=7)
        case "month":
            return (day.replace(day=1) + timedelta(days=32)).replace(day=1)
        case _:
            return day + timedelta(days=1)


@lru_cache(maxsize=256)
def steady_offset(start: datetime, end: datetime, zone: str) -> int | None:
    """Finds the zone's offset from UTC in seconds over [start, end); None if it may change.

    Samples 32 days at most: beyond that sampling costs more than a constant offset saves.
    """
    if end - start > timedelta(days=32):
        return None
    first, last = int(start.timestamp()), int(end.timestamp())
    local_zone = ZoneInfo(zone)
    offsets = {
        _offset(second, local_zone) for second in (*range(first, last, _STEADY_SECONDS), last)
    }
    return offsets.pop() if len(offsets) == 1 else None


def _offset(seconds: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(seconds, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
