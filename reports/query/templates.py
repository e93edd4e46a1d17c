"""Reads the SQL files of reports, once, and fills their placeholders."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from string import Template

from reports.vocabulary import Interval

_FOLDER = Path(__file__).parents[1] / "sql"
_OFFSET = "timezoneOffset(toDateTime($t, {zone:String}))"
_HOUR_AT = "toUInt32(toUnixTimestamp($t) - (toUnixTimestamp($t) + {}) % 3600)"
_HOUR = _HOUR_AT.format(_OFFSET)
# Starts of intervals in UTC seconds, $t a column. Hours follow the zone's offset at each instant;
# one that a change of clocks splits begins at the change. toStartOfHour is wrong for the rest of a
# day on which a clock moves by half an hour.
_BUCKETS: dict[Interval, str] = {
    "none": "toUInt32(0)",
    "minute": "toUnixTimestamp(toStartOfMinute($t))",
    "15m": "toUnixTimestamp(toStartOfFifteenMinutes($t))",
    "hour": f"if(timezoneOffset(toDateTime({_HOUR}, {{zone:String}})) = {_OFFSET}, {_HOUR},"
    f" arrayFirst(q -> timezoneOffset(toDateTime(q, {{zone:String}})) = {_OFFSET},"
    f" [toUInt32({_HOUR} + 900), toUInt32({_HOUR} + 1800), toUInt32({_HOUR} + 2700)]))",
    "day": "toUnixTimestamp(toStartOfDay($t, {zone:String}))",
    "week": "toUnixTimestamp(toDateTime(toStartOfWeek($t, 1, {zone:String}), {zone:String}))",
    "month": "toUnixTimestamp(toDateTime(toStartOfMonth($t, {zone:String}), {zone:String}))",
}


def fill(name: str, values: Mapping[str, str]) -> str:
    """Fills every $placeholder of the SQL file with this name."""
    return _template(name).substitute(values)


@cache
def _template(name: str) -> Template:
    return Template((_FOLDER / f"{name}.sql").read_text(encoding="utf-8"))


def bucket_sql(interval: Interval, column: str, offset_seconds: int | None = None) -> str:
    """Builds the SQL for the start of the interval of a column's instant.

    `offset_seconds`: the zone's offset, if it is the same for all instants of the column.
    """
    text = _BUCKETS[interval]
    if interval == "hour" and offset_seconds is not None:
        text = _HOUR_AT.format(offset_seconds)
    return Template(text).substitute(t=column)
