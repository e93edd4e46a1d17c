"""Parses the query parameters of the event log, without any I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from linkjolt.click_ids import ClickRef, decode_base32, unpack_click_number
from linkjolt.reasons import Reason, Rejected
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

Kind = Literal["click", "conversion"]
KINDS: tuple[Kind, ...] = ("click", "conversion")
VERDICTS = ("human", "duplicate", "suspect", "bot", "preview", "prefetch", "head")
_TEXTS = ("click_id", "order_id", "conversion_id", "link")
# `log_clicks.sql` and `log_conversions.sql` have parameters of these names.
FILTERS = ("click_id", "order_id", "conversion_id", "campaign", "affiliate", "verdict")
_OTHER_PARAMETERS = ("kind", "verdict", "from", "to", "timezone", "limit", "cursor", "format")
PARAMETERS = (*_TEXTS, *IDS, *_OTHER_PARAMETERS)
_DEFAULT_PERIOD = timedelta(hours=24)
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
# The clocks of shops may be some minutes ahead (`ingest.conversions.body`).
_CLOCK_TOLERANCE = timedelta(minutes=10)


class EventLogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query of events in [start, end), UTC; '' and 0 match all, `link` is a tracking code.

    `every_row`: return the whole log instead of a page.
    """

    kinds: tuple[Kind, ...]
    start: datetime
    end: datetime
    click_id: str
    order_id: str
    conversion_id: str
    link: str
    campaign: int
    affiliate: int
    verdict: str
    limit: int
    before: tuple[int, str]
    format: Format
    every_row: bool


def parse_log_query(parameters: Sequence[tuple[str, str]], now: datetime) -> EventLogQuery:
    """Parses the parameters; Rejected names the one that does not fit.

    The default period is the last 24 hours, or all time for a query by an id.
    """
    values = unique_parameters(parameters, PARAMETERS)
    check_choices(values, {"kind": KINDS, "verdict": VERDICTS, "format": FORMATS})
    check_texts(values, _TEXTS)
    start, end = _period(values, now)
    output_format, every_row = parse_format(values)
    return EventLogQuery(
        kinds=_kinds(values),
        start=start,
        end=end,
        click_id=values.get("click_id", ""),
        order_id=values.get("order_id", ""),
        conversion_id=values.get("conversion_id", ""),
        link=values.get("link", ""),
        campaign=parse_registry_number(values, "campaign_id"),
        affiliate=parse_registry_number(values, "affiliate_id"),
        verdict=values.get("verdict", ""),
        limit=parse_limit(values),
        before=parse_cursor(values),
        format=output_format,
        every_row=every_row,
    )


def _kinds(values: Mapping[str, str]) -> tuple[Kind, ...]:
    # A click has no order and is no conversion.
    of_conversions = "order_id" in values or "conversion_id" in values
    kinds = KINDS[1:] if of_conversions else KINDS
    return tuple(kind for kind in kinds if values.get("kind", kind) == kind)


def _period(values: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    zone = check_zone(values.get("timezone", "UTC"))
    if "from" in values:
        period = parse_period(values["from"], values.get("to"), zone, now)
        return period.start, period.end
    if "to" in values:
        raise Rejected(Reason.missing_field, "is required with `to`", field="from")
    by_id = any(name in values for name in ("click_id", "order_id", "conversion_id"))
    return (_EARLIEST if by_id else now - _DEFAULT_PERIOD), now + _CLOCK_TOLERANCE


def parse_click_ref(click_id: str) -> ClickRef | None:
    """Decodes the link and time in a click id; None for any other text."""
    number = decode_base32(click_id)
    return None if number is None else unpack_click_number(number)
