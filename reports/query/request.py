"""What a report is asked for: query parameters checked and read, without any I/O."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from linkjolt.money import check_currency
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Kind, read_id
from reports.period import check_zone, read_period
from reports.vocabulary import (
    COMPARES,
    DEFAULT_METRICS,
    DIMENSIONS,
    FORMATS,
    INTERVALS,
    METRICS,
    TIME_BASES,
    Compare,
    Format,
    Interval,
    TimeBasis,
)

GROUPS_MAX = 3
VALUES_MAX = 100
LIMIT_MAX = 1_000
_OFFSET_MAX = 10_000_000
_MINUTES_MAX = timedelta(hours=48, minutes=15)
_OTHERS = (
    "from",
    "to",
    "timezone",
    "interval",
    "group_by",
    "metrics",
    "time_basis",
    "sort",
    "limit",
    "cursor",
    "format",
    "compare",
)
PARAMETERS = (*_OTHERS, *DIMENSIONS)
_IDS: dict[str, Kind] = {"campaign": "campaign", "affiliate": "affiliate"}
W = TypeVar("W", bound=str)


class Filter(msgspec.Struct, frozen=True):
    """One of `include` (all, where empty) and none of `exclude`.

    Values of campaign and affiliate are registry numbers as text; those of link are tracking
    codes until `reports.names` has put their numbers in place. An empty value stands for events
    without any.
    """

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Sort(msgspec.Struct, frozen=True):
    """By a metric, a dimension of the report (campaign, affiliate, link by number) or time."""

    name: str
    descending: bool = False


class ReportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """[start, end) in UTC; `asked_at` is now. `whole`: every row is wanted, not a page.

    `as_of`: up to when all is stored, where that is known.
    `tops`: dimensions by each of which the first rows are wanted, instead of `group_by`.
    """

    start: datetime
    end: datetime
    asked_at: datetime
    timezone: str = "UTC"
    interval: Interval = "none"
    group_by: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    filters: tuple[Filter, ...] = ()
    metrics: tuple[str, ...] = DEFAULT_METRICS
    time_basis: TimeBasis = "conversion"
    sort: Sort = Sort("clicks", descending=True)
    limit: int = 100
    offset: int = 0
    format: Format = "json"
    compare: Compare = "none"
    whole: bool = False
    as_of: datetime | None = None

    @property
    def one_row(self) -> bool:
        """Whether the only row of `data` is what `totals` are."""
        return not self.group_by and self.interval == "none" and self.offset == 0

    @property
    def used(self) -> tuple[str, ...]:
        """Every dimension in group_by or a filter, once, in the vocabulary's order."""
        wanted = {*self.group_by, *(one.name for one in self.filters)}
        return tuple(name for name in DIMENSIONS if name in wanted)


def parse_request(parameters: Sequence[tuple[str, str]], now: datetime) -> ReportRequest:
    """The report that query parameters ask for; Rejected, naming the parameter, for any other."""
    values = once(parameters)
    zone = check_zone(values.get("timezone", "UTC"))
    period = read_period(values.get("from", "24h"), values.get("to"), zone, now)
    interval = _word(values, "interval", INTERVALS, "none")
    if interval == "minute" and period.end - period.start > _MINUTES_MAX:
        raise _invalid("interval", "minutes reach over 48 hours at most")
    group_by = read_words("group_by", values.get("group_by", ""), DIMENSIONS)
    if len(group_by) > GROUPS_MAX:
        raise _invalid("group_by", f"names more than {GROUPS_MAX} dimensions")
    metrics = read_words("metrics", values.get("metrics", ""), METRICS) or DEFAULT_METRICS
    form = _word(values, "format", FORMATS, "json")
    return ReportRequest(
        start=period.start,
        end=period.end,
        asked_at=now.astimezone(UTC),
        timezone=zone,
        interval=interval,
        group_by=group_by,
        filters=tuple(_filter(name, values[name]) for name in DIMENSIONS if name in values),
        metrics=metrics,
        time_basis=_word(values, "time_basis", TIME_BASES, "conversion"),
        sort=_sort(values.get("sort"), interval, group_by, metrics),
        limit=_limit(values.get("limit", "100")),
        offset=_offset(values.get("cursor")),
        format=form,
        compare=_word(values, "compare", COMPARES, "none"),
        whole=form == "csv" and "limit" not in values and "cursor" not in values,
    )


def cursor_at(offset: int) -> str:
    """The opaque text that continues a report after so many rows."""
    return base64.urlsafe_b64encode(f"rows:{offset}".encode()).decode().rstrip("=")


def _invalid(field: str, message: str) -> Rejected:
    return Rejected(Reason.invalid_field, message, field=field)


def once(
    parameters: Sequence[tuple[str, str]], known: Sequence[str] = PARAMETERS
) -> dict[str, str]:
    """Each of these parameters by its name; Rejected for another, and for one that comes twice."""
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            message = "is not a known parameter"
            raise Rejected(Reason.unknown_field, message, field=name[:64])
        if name in values:
            raise _invalid(name, "is given twice; separate values by commas")
        values[name] = value
    return values


def _word(values: Mapping[str, str], name: str, known: Sequence[W], default: str) -> W:
    text = values.get(name, default)
    for word in known:
        if word == text:
            return word
    raise _invalid(name, f"must be one of {', '.join(known)}")


def read_words(name: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """The words of a parameter, each known and named once; Rejected otherwise."""
    words = tuple(word.strip() for word in text.split(",") if word.strip())
    for word in words:
        if word not in known:
            raise _invalid(name, f"{word[:64]!r} is not one of {', '.join(known)}")
    if len(set(words)) < len(words):
        raise _invalid(name, "names something twice")
    return words


def _filter(name: str, text: str) -> Filter:
    values = text.split(",")
    if len(values) > VALUES_MAX:
        raise _invalid(name, f"has more than {VALUES_MAX} values")
    include = [_value(name, value) for value in values if not value.startswith("-")]
    exclude = [_value(name, value[1:]) for value in values if value.startswith("-")]
    return Filter(name, tuple(dict.fromkeys(include)), tuple(dict.fromkeys(exclude)))


def _value(name: str, text: str) -> str:
    if name in _IDS:
        number = read_id(_IDS[name], text)
        if number is None or number >= 1 << 32:
            raise _invalid(name, f"{text[:40]!r} is not the id of a {name}")
        return str(number)
    if name == "link" and not text:
        raise _invalid(name, "must be a tracking code")
    if name == "currency" and text:
        check_currency(text)
    return text


def _sort(
    text: str | None, interval: Interval, group_by: Sequence[str], metrics: Sequence[str]
) -> Sort:
    if text is None:
        return Sort("time") if interval != "none" else Sort(metrics[0], descending=True)
    name = text.removeprefix("-")
    known = [*METRICS, *group_by, *(["time"] if interval != "none" else [])]
    if name not in known:
        raise _invalid("sort", f"must be one of {', '.join(known)}, or -name to begin at the top")
    return Sort(name, descending=text.startswith("-"))


def _limit(text: str) -> int:
    number = _number(text)
    if number is None or not 1 <= number <= LIMIT_MAX:
        raise _invalid("limit", f"must be a number from 1 to {LIMIT_MAX}")
    return number


def _offset(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    number = _number(text.removeprefix("rows:")) if text.startswith("rows:") else None
    if number is None or number > _OFFSET_MAX:
        raise _invalid("cursor", "is not a cursor that a report answered")
    return number


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
