"""Parses the query parameters of the conversion list, without any I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec

from linkjolt.events import AttributionMethod
from reports.log.listing import (
    IDS,
    check_choices,
    check_texts,
    parse_cursor,
    parse_format,
    parse_limit,
    parse_registry_number,
    unique_parameters,
)
from reports.period import check_zone, parse_period
from reports.vocabulary import FORMATS, Format

# `list_conversions.sql` has parameters of these names.
FILTERS = (
    *("order_id", "click_id", "event", "status", "attribution", "payout", "verified"),
    *("campaign", "affiliate"),
)
_CHOICES: dict[str, tuple[str, ...]] = {
    "status": ("pending", "approved", "rejected"),
    "attribution": get_args(AttributionMethod),
    "payout": ("unpaid", "paid"),
    "verified": ("true", "false"),
    "format": FORMATS,
}
_TEXTS = ("order_id", "click_id", "event")
_PAGING = ("from", "to", "timezone", "limit", "cursor")
PARAMETERS = (*_CHOICES, *_TEXTS, *IDS, *_PAGING)
_DEFAULT_PERIOD = timedelta(days=30)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# The clocks of shops may be some minutes ahead (`ingest.conversions.body`).
_CLOCK_TOLERANCE = timedelta(minutes=10)


class ConversionListQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query of conversions with a time in [start, end); '' and 0 match all.

    `every_row`: return the whole list instead of a page.
    """

    start: datetime
    end: datetime
    order_id: str
    click_id: str
    event: str
    status: str
    attribution: str
    payout: str
    verified: str
    campaign: int
    affiliate: int
    limit: int
    before: tuple[int, str]
    format: Format
    every_row: bool


def parse_list_query(parameters: Sequence[tuple[str, str]], now: datetime) -> ConversionListQuery:
    """Parses the parameters; Rejected names the one that does not fit.

    The default period is the last 30 days, or all time for a query by order or click.
    """
    values = unique_parameters(parameters, PARAMETERS)
    check_choices(values, _CHOICES)
    check_texts(values, _TEXTS)
    start, end = _period(values, now)
    output_format, every_row = parse_format(values)
    return ConversionListQuery(
        start=start,
        end=end,
        order_id=values.get("order_id", ""),
        click_id=values.get("click_id", ""),
        event=values.get("event", ""),
        status=values.get("status", ""),
        attribution=values.get("attribution", ""),
        payout=values.get("payout", ""),
        verified=values.get("verified", ""),
        campaign=parse_registry_number(values, "campaign_id"),
        affiliate=parse_registry_number(values, "affiliate_id"),
        limit=parse_limit(values),
        before=parse_cursor(values),
        format=output_format,
        every_row=every_row,
    )


def _period(values: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    zone = check_zone(values.get("timezone", "UTC"))
    if "from" in values:
        period = parse_period(values["from"], values.get("to"), zone, now)
        return period.start, period.end
    by_id = "order_id" in values or "click_id" in values
    end = now + _CLOCK_TOLERANCE
    if "to" in values:
        end = parse_period("2000-01-01", values["to"], zone, now).end
    return (_EARLIEST if by_id else end - _DEFAULT_PERIOD), end
