"""Parses the period of a report: dates, instants and presets, in the report's time zone."""

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from linkjolt.reasons import Reason, Rejected
from reports.vocabulary import PRESETS

QUARTER = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ACCEPTED_YEARS = range(2000, 2101)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# An unescaped `+` in a query string arrives as a space.
_INSTANT = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:[Zz]|([+\- ]\d\d:\d\d))", re.ASCII
)


class Period(msgspec.Struct, frozen=True):
    """The period [start, end), in UTC."""

    start: datetime
    end: datetime


@cache
def _zones() -> frozenset[str]:
    # Left out: names of the host rather than of the IANA database.
    return frozenset(available_timezones() - {"localtime", "Factory"})


def check_zone(name: str) -> str:
    """Checks the name of an IANA time zone; Rejected for any other text."""
    if name not in _zones():
        message = "is no IANA time zone, such as Europe/Berlin"
        raise Rejected(Reason.invalid_field, message, field="timezone")
    return name


def parse_period(start: str, end: str | None, zone: str, now: datetime) -> Period:
    """Parses `start` (a date, an instant or a preset) and the exclusive `end` (no preset).

    Presets and an absent `end` are rounded to the quarter hours around `now`, so that rollups can
    answer.
    """
    if start in PRESETS:
        if end is not None:
            message = f"must be left out where `from` is {start}"
            raise Rejected(Reason.invalid_field, message, field="to")
        return _preset_period(start, ZoneInfo(zone), now)
    begin = _parse_bound(start, "from", zone)
    until = ceil_to_quarter(now) if end is None else _parse_bound(end, "to", zone)
    if until <= begin:
        if end is None:
            raise Rejected(Reason.invalid_field, "lies in the future", field="from")
        raise Rejected(Reason.invalid_field, "must be after `from`", field="to")
    return Period(begin, until)


def floor_to_quarter(instant: datetime) -> datetime:
    return instant - (instant - _EPOCH) % QUARTER


def ceil_to_quarter(instant: datetime) -> datetime:
    return instant + (_EPOCH - instant) % QUARTER


def to_milliseconds(instant: datetime) -> int:
    """Converts an instant to UTC milliseconds, rounded up.

    Events have whole milliseconds, so none is on the wrong side of a rounded bound.
    """
    return -((_EPOCH - instant) // timedelta(milliseconds=1))


def _preset_period(name: str, zone: ZoneInfo, now: datetime) -> Period:
    today = now.astimezone(zone).date()
    month = today.replace(day=1)
    until = ceil_to_quarter(now)
    match name:
        case "today":
            return Period(
                first_instant(today, zone), first_instant(today + timedelta(days=1), zone)
            )
        case "yesterday":
            return Period(
                first_instant(today - timedelta(days=1), zone), first_instant(today, zone)
            )
        case "mtd":
            return Period(first_instant(month, zone), until)
        case "last_month":
            last = (month - timedelta(days=1)).replace(day=1)
            return Period(first_instant(last, zone), first_instant(month, zone))
        case _:
            hours = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}[name]
            return Period(floor_to_quarter(now - timedelta(hours=hours)), until)


def first_instant(day: date, zone: ZoneInfo) -> datetime:
    """Computes the first instant of a day: the change, if a clock change skips midnight."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def _parse_bound(text: str, field: str, zone: str) -> datetime:
    try:
        instant = _parse_instant(text, ZoneInfo(zone))
    except (ValueError, OverflowError):
        instant = None
    if instant is None or instant.year not in _ACCEPTED_YEARS:
        message = f"is no date, RFC 3339 instant or preset: {text[:40]!r}"
        raise Rejected(Reason.invalid_field, message, field=field)
    return instant


def _parse_instant(text: str, zone: ZoneInfo) -> datetime | None:
    if _DATE.fullmatch(text):
        return first_instant(date.fromisoformat(text), zone)
    parts = _INSTANT.fullmatch(text)
    if parts is None:
        return None
    offset = (parts[3] or "+00:00").replace(" ", "+")
    return datetime.fromisoformat(f"{parts[1]}T{parts[2]}{offset}").astimezone(UTC)
