"""Where the intervals of a report begin, in its zone."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from reports.period import first_instant
from reports.vocabulary import Interval

_QUARTER_SECONDS = 900
_EVEN: dict[Interval, int] = {"minute": 60, "15m": _QUARTER_SECONDS}


def bucket(instant: datetime, interval: Interval, zone: str) -> int:
    """The bucket of an instant: where its interval begins, in UTC seconds (`templates.bucket_of`).

    An hour that a change of clocks cuts begins at the change.
    """
    seconds = int(instant.timestamp())
    if interval == "none":
        return 0
    if interval in _EVEN:
        return seconds - seconds % _EVEN[interval]
    here = ZoneInfo(zone)
    if interval == "hour":
        return _start_of_hour(seconds, here)
    day = _first_day(instant.astimezone(here).date(), interval)
    return int(first_instant(day, here).timestamp())


def starts_of(start: datetime, end: datetime, interval: Interval, zone: str) -> Iterator[int]:
    """The buckets of [start, end), rising."""
    first, until = int(start.timestamp()), int(-(-end.timestamp() // 1))
    if interval in _EVEN:
        yield from range(bucket(start, interval, zone), until, _EVEN[interval])
    elif interval == "hour":
        yield from _hours(first - first % _QUARTER_SECONDS, until, ZoneInfo(zone))
    else:
        yield from _days(bucket(start, interval, zone), until, interval, ZoneInfo(zone))


def _hours(first: int, until: int, zone: ZoneInfo) -> Iterator[int]:
    last = None
    # By quarters: where clocks move by half an hour, so may an hour begin.
    for at in range(first, until, _QUARTER_SECONDS):
        start = _start_of_hour(at, zone)
        if start != last:
            yield start
        last = start


def _start_of_hour(seconds: int, zone: ZoneInfo) -> int:
    offset = _offset(seconds, zone)
    start = seconds - (seconds + offset) % 3600
    while _offset(start, zone) != offset:
        start += _QUARTER_SECONDS
    return start


def _days(first: int, until: int, interval: Interval, zone: ZoneInfo) -> Iterator[int]:
    day = datetime.fromtimestamp(first, zone).date()
    while (start := int(first_instant(day, zone).timestamp())) < until:
        yield start
        day = _next_day(day, interval)


def _first_day(day: date, interval: Interval) -> date:
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
    """The zone's offset from UTC in seconds over [start, end); None where it may change.

    Looked at every six hours, for no zone's clock moves forth and back in less; over no more than
    32 days, for longer a look would cost more than it saves.
    """
    if end - start > timedelta(days=32):
        return None
    first, last = int(start.timestamp()), int(end.timestamp())
    here = ZoneInfo(zone)
    offsets = {_offset(at, here) for at in (*range(first, last, 6 * 3600), last)}
    return offsets.pop() if len(offsets) == 1 else None


def _offset(seconds: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(seconds, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())
