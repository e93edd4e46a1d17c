"""Parses the query parameters of the conversion list, without any I/O."""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec

from linkjolt.events import AttributionMethod
from linkjolt.reasons import Reason, Rejected
from reports.log.listing import (
    IDS,
    LIST_START,
    check_choices,
    check_texts,
    make_cursor,
    parse_cursor,
    parse_format,
    parse_limit,
    parse_registry_number,
    unique_parameters,
)
from reports.period import check_zone, parse_period
from reports.query.request import Filter, parse_filter
from reports.vocabulary import DIMENSIONS, FORMATS, REASON_DIMENSION, Format

# `conversions/now.sql` has parameters of these names.
FILTERS = ("order_id", "click_id", "attribution", "payout", "verified", "q")
_STATUSES = ("pending", "approved", "rejected")
_CHOICES: dict[str, tuple[str, ...]] = {
    "attribution": get_args(AttributionMethod),
    "payout": ("unpaid", "paid"),
    "verified": ("true", "false"),
    "format": FORMATS,
}
_TEXTS = ("order_id", "click_id", "event", "q")
_PAGING = ("from", "to", "timezone", "sort", "limit", "cursor")
# What reports filter by, but for why a request got its verdict.
_DIMENSIONS = tuple(name for name in DIMENSIONS if name != REASON_DIMENSION)
SORTS = ("time", "order_value", "net_value", "commission_amount")
PARAMETERS = tuple(dict.fromkeys((*_TEXTS, *_CHOICES, *IDS, *_DIMENSIONS, *_PAGING)))
_DEFAULT_PERIOD = timedelta(days=30)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# The clocks of shops may be some minutes ahead (`ingest.conversions.body`).
_CLOCK_TOLERANCE = timedelta(minutes=10)
_PLACE = re.compile(r"([a-z_]+):(-?[0-9]{1,18}):([!-~]{1,64})", re.ASCII)


class ConversionListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query of conversions with a time in [start, end); '' matches all.

    `filters` are as in reports. `q` is part of an
    id. `after` is the sort value and id of the page before. `every_row`: return the whole list
    instead of a page.
    """

    start: datetime
    end: datetime
    order_id: str
    click_id: str
    attribution: str
    payout: str
    verified: str
    q: str
    filters: tuple[Filter, ...]
    sort: str
    descending: bool
    after: tuple[int, str]
    limit: int
    format: Format
    every_row: bool

    def narrowed_to(self, affiliate: int) -> "ConversionListQuery":
        """Narrows the list to the affiliate to which a key is bound; 0 leaves it as it is."""
        if not affiliate:
            return self
        bound = Filter("affiliate", (str(affiliate),))
        return msgspec.structs.replace(self, filters=(*self.filters, bound))

    def cursor_at(self, value: int, conversion_id: str) -> str:
        """Encodes the opaque cursor of the page after a conversion."""
        if self.sort == "time" and self.descending:
            return make_cursor(value, conversion_id)
        text = f"{self.sort}:{value}:{conversion_id}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def parse_list_query(parameters: Sequence[tuple[str, str]], now: datetime) -> ConversionListQuery:
    """Parses the parameters; Rejected names the one that does not fit.

    The default period is the last 30 days, or all time for a query by order, click or `q`.
    """
    values = unique_parameters(parameters, PARAMETERS)
    check_choices(values, _CHOICES)
    check_texts(values, _TEXTS)
    start, end = _period(values, now)
    output_format, every_row = parse_format(values)
    sort, descending = _parse_sort(values.get("sort", "-time"))
    return ConversionListQuery(
        start=start,
        end=end,
        order_id=values.get("order_id", ""),
        click_id=values.get("click_id", ""),
        attribution=values.get("attribution", ""),
        payout=values.get("payout", ""),
        verified=values.get("verified", ""),
        q=values.get("q", "").strip(),
        filters=_parse_filters(values),
        sort=sort,
        descending=descending,
        after=_parse_place(values, sort, descending=descending),
        limit=parse_limit(values),
        format=output_format,
        every_row=every_row,
    )


def _parse_filters(values: Mapping[str, str]) -> tuple[Filter, ...]:
    filters = [parse_filter(name, values[name]) for name in _DIMENSIONS if name in values]
    for name, kind in IDS.items():
        if name in values:
            filters.append(Filter(kind, (str(parse_registry_number(values, name)),)))
    for one in filters:
        if one.name == "status" and not {*one.include, *one.exclude} <= {*_STATUSES}:
            message = f"must be one of {', '.join(_STATUSES)}"
            raise Rejected(Reason.invalid_field, message, field="status")
    return tuple(filters)


def _parse_sort(text: str) -> tuple[str, bool]:
    name = text.removeprefix("-")
    if name not in SORTS:
        message = f"must be one of {', '.join(SORTS)}, or -name to begin at the end"
        raise Rejected(Reason.invalid_field, message, field="sort")
    return name, text.startswith("-")


def _parse_place(values: Mapping[str, str], sort: str, *, descending: bool) -> tuple[int, str]:
    if sort == "time" and descending:
        return parse_cursor(values)
    if "cursor" not in values:
        start, _ = LIST_START
        return (start if descending else -start), ""
    cursor = values["cursor"]
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    place = _PLACE.fullmatch(text)
    if place is None or place[1] != sort:
        message = "is not a cursor that this list answered"
        raise Rejected(Reason.invalid_field, message, field="cursor")
    return int(place[2]), place[3]


def _period(values: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    zone = check_zone(values.get("timezone", "UTC"))
    if "from" in values:
        period = parse_period(values["from"], values.get("to"), zone, now)
        return period.start, period.end
    by_id = not values.keys().isdisjoint(("order_id", "click_id", "q"))
    end = now + _CLOCK_TOLERANCE
    if "to" in values:
        end = parse_period("2000-01-01", values["to"], zone, now).end
    return (_EARLIEST if by_id else end - _DEFAULT_PERIOD), end
