"""Parses the query parameters of reports into a `ReportRequest`, without any I/O."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import msgspec

from linkjolt.money import check_currency
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import EntryKind, parse_public_id
from linkjolt.registry.whole_numbers import parse_whole_number
from reports.period import check_zone, parse_period
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

GROUP_BY_MAX = 3
VALUES_MAX = 100
LIMIT_MAX = 1_000
_OFFSET_MAX = 10_000_000
_MINUTES_MAX = timedelta(hours=48, minutes=15)
_REPORT_PARAMETERS = (
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
PARAMETERS = (*_REPORT_PARAMETERS, *DIMENSIONS)
TOPS_MAX = 12
TOPS_LIMIT_MAX = 100
_TOPS_LIMIT = "10"
TOPS_PARAMETERS = (
    *("dimensions", "from", "to", "timezone", "metrics", "time_basis", "sort", "limit"),
    *DIMENSIONS,
)
_IDS: dict[str, EntryKind] = {"campaign": "campaign", "affiliate": "affiliate"}
Choice = TypeVar("Choice", bound=str)


class Filter(msgspec.Struct, frozen=True):
    """A dimension's value must be in `include` (any, if empty) and not in `exclude`.

    Values of campaign and affiliate are registry numbers as text; those of link are tracking
    codes until `reports.names` replaces them by numbers. An empty value matches events without
    any.
    """

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class Sort(msgspec.Struct, frozen=True):
    """The order of rows: by a metric, a dimension of the report (ids by number) or time."""

    name: str
    descending: bool = False


class ReportRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A report over [start, end) in UTC, requested at `asked_at`.

    `every_row`: return every row instead of a page. `as_of`: the instant up to which all events
    are stored, if known. `tops`: return the first rows by each of these dimensions, instead of
    `group_by`.
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
    every_row: bool = False
    as_of: datetime | None = None

    @property
    def is_single_row(self) -> bool:
        """Whether `data` has a single row, equal to `totals`."""
        return not self.group_by and self.interval == "none" and self.offset == 0

    @property
    def used_dimensions(self) -> tuple[str, ...]:
        """Every dimension in group_by or a filter, once, in the order of the vocabulary."""
        names = {*self.group_by, *(chosen.name for chosen in self.filters)}
        return tuple(name for name in DIMENSIONS if name in names)


def parse_request(parameters: Sequence[tuple[str, str]], now: datetime) -> ReportRequest:
    """Parses the parameters of `/v1/reports`; Rejected names the parameter that does not fit."""
    values = unique_parameters(parameters)
    zone = check_zone(values.get("timezone", "UTC"))
    period = parse_period(values.get("from", "24h"), values.get("to"), zone, now)
    interval = _parse_choice(values, "interval", INTERVALS, "none")
    if interval == "minute" and period.end - period.start > _MINUTES_MAX:
        raise _invalid("interval", "must be longer than a minute for more than 48 hours")
    group_by = parse_choices("group_by", values.get("group_by", ""), DIMENSIONS)
    if len(group_by) > GROUP_BY_MAX:
        raise _invalid("group_by", f"names more than {GROUP_BY_MAX} dimensions")
    metrics = parse_choices("metrics", values.get("metrics", ""), METRICS) or DEFAULT_METRICS
    output_format = _parse_choice(values, "format", FORMATS, "json")
    return ReportRequest(
        start=period.start,
        end=period.end,
        asked_at=now.astimezone(UTC),
        timezone=zone,
        interval=interval,
        group_by=group_by,
        filters=tuple(parse_filter(name, values[name]) for name in DIMENSIONS if name in values),
        metrics=metrics,
        time_basis=_parse_choice(values, "time_basis", TIME_BASES, "conversion"),
        sort=_parse_sort(values.get("sort"), interval, group_by, metrics),
        limit=_parse_limit(values.get("limit", "100")),
        offset=_parse_cursor(values.get("cursor")),
        format=output_format,
        compare=_parse_choice(values, "compare", COMPARES, "none"),
        every_row=output_format == "csv" and "limit" not in values and "cursor" not in values,
    )


def narrowed(request: ReportRequest, affiliate: int) -> ReportRequest:
    """Narrows a report to the affiliate to which a key is bound; 0 leaves it as it is."""
    if not affiliate:
        return request
    value = str(affiliate)
    chosen = next((each for each in request.filters if each.name == "affiliate"), None)
    excluded = chosen and (
        value in chosen.exclude or (chosen.include and value not in chosen.include)
    )
    # Included and excluded at once, nothing matches.
    bound = Filter("affiliate", (value,), (value,) if excluded else ())
    others = (each for each in request.filters if each.name != "affiliate")
    return msgspec.structs.replace(request, filters=(*others, bound))


def cursor_at(offset: int) -> str:
    """Encodes the number of rows to skip as the opaque cursor of the next page."""
    return base64.urlsafe_b64encode(f"rows:{offset}".encode()).decode().rstrip("=")


def _invalid(field: str, message: str) -> Rejected:
    return Rejected(Reason.invalid_field, message, field=field)


def unique_parameters(
    parameters: Sequence[tuple[str, str]], known: Sequence[str] = PARAMETERS
) -> dict[str, str]:
    """Maps parameters by name; Rejected for an unknown or a repeated one."""
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            message = "is not a known parameter"
            raise Rejected(Reason.unknown_field, message, field=name[:64])
        if name in values:
            raise _invalid(name, "is given twice; separate values by commas")
        values[name] = value
    return values


def _parse_choice(
    values: Mapping[str, str], name: str, known: Sequence[Choice], default: str
) -> Choice:
    text = values.get(name, default)
    for choice in known:
        if choice == text:
            return choice
    raise _invalid(name, f"must be one of {', '.join(known)}")


def parse_choices(name: str, text: str, known: Sequence[str]) -> tuple[str, ...]:
    """Splits a comma-separated parameter; Rejected for an unknown or a repeated value."""
    choices = tuple(choice.strip() for choice in text.split(",") if choice.strip())
    for choice in choices:
        if choice not in known:
            raise _invalid(name, f"{choice[:64]!r} is not one of {', '.join(known)}")
    if len(set(choices)) < len(choices):
        raise _invalid(name, "names something twice")
    return choices


def parse_filter(name: str, text: str) -> Filter:
    """Parses the values of a dimension by comma; Rejected for what is none."""
    values = text.split(",")
    if len(values) > VALUES_MAX:
        raise _invalid(name, f"has more than {VALUES_MAX} values")
    include = [_parse_filter_value(name, value) for value in values if not value.startswith("-")]
    exclude = [_parse_filter_value(name, value[1:]) for value in values if value.startswith("-")]
    return Filter(name, tuple(dict.fromkeys(include)), tuple(dict.fromkeys(exclude)))


def _parse_filter_value(name: str, text: str) -> str:
    if name in _IDS:
        number = parse_public_id(_IDS[name], text)
        if number is None or number >= 1 << 32:
            raise _invalid(name, f"{text[:40]!r} is not the id of a {name}")
        return str(number)
    if name == "link" and not text:
        raise _invalid(name, "must be a tracking code")
    if name == "currency" and text:
        check_currency(text)
    return text


def _parse_sort(
    text: str | None, interval: Interval, group_by: Sequence[str], metrics: Sequence[str]
) -> Sort:
    if text is None:
        return Sort("time") if interval != "none" else Sort(metrics[0], descending=True)
    name = text.removeprefix("-")
    known = [*METRICS, *group_by, *(["time"] if interval != "none" else [])]
    if name not in known:
        raise _invalid("sort", f"must be one of {', '.join(known)}, or -name to begin at the top")
    return Sort(name, descending=text.startswith("-"))


def _parse_limit(text: str) -> int:
    number = parse_whole_number(text)
    if number is None or not 1 <= number <= LIMIT_MAX:
        raise _invalid("limit", f"must be a number from 1 to {LIMIT_MAX}")
    return number


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return 0
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    number = parse_whole_number(text.removeprefix("rows:")) if text.startswith("rows:") else None
    if number is None or number > _OFFSET_MAX:
        raise _invalid("cursor", "is not a cursor that a report answered")
    return number


def parse_tops(parameters: Sequence[tuple[str, str]], now: datetime) -> ReportRequest:
    """Parses the parameters of `/v1/reports/top` into a request with `tops`.

    Raises Rejected, naming the parameter that does not fit.
    """
    values = unique_parameters(parameters, TOPS_PARAMETERS)
    tops = parse_choices("dimensions", values.pop("dimensions", ""), DIMENSIONS)
    if not 1 <= len(tops) <= TOPS_MAX:
        raise _invalid("dimensions", f"must name 1 to {TOPS_MAX} dimensions")
    request = parse_request([*({"limit": _TOPS_LIMIT} | values).items()], now)
    if request.limit > TOPS_LIMIT_MAX:
        raise _invalid("limit", f"must be a number from 1 to {TOPS_LIMIT_MAX}")
    return msgspec.structs.replace(request, tops=tops)
