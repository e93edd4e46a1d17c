"""What the event log is asked for: query parameters checked and read, without any I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from linkjolt.click_ids import ClickRef, decode_base32, unverified
from linkjolt.reasons import Reason, Rejected
from reports.log.listing import (
    IDS,
    before_of,
    check_texts,
    check_words,
    limit_of,
    number_of,
    once,
    wants_csv,
)
from reports.period import check_zone, read_period
from reports.vocabulary import FORMATS, Format

Kind = Literal["click", "conversion"]
KINDS: tuple[Kind, ...] = ("click", "conversion")
VERDICTS = ("human", "duplicate", "suspect", "bot", "preview", "prefetch", "head")
_TEXTS = ("click_id", "order_id", "conversion_id", "link")
# Under these names the SQL has them, too.
FILTERS = ("click_id", "order_id", "conversion_id", "campaign", "affiliate", "verdict")
_OTHERS = ("kind", "verdict", "from", "to", "timezone", "limit", "cursor", "format")
PARAMETERS = (*_TEXTS, *IDS, *_OTHERS)
_BY_DEFAULT = timedelta(hours=24)
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
# Shops may be some minutes ahead of us (`ingest.conversions.body`).
_AHEAD = timedelta(minutes=10)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; '' and 0 let all pass, `link` is a tracking code. [start, end) in UTC.

    `whole`: all of it is wanted, not a page.
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
    whole: bool


def read_wanted(pairs: Sequence[tuple[str, str]], now: datetime) -> Wanted:
    """What the parameters ask for; Rejected, naming the one that does not fit.

    By an id the whole time is searched, else the last 24 hours, unless `from` says more.
    """
    given = once(pairs, PARAMETERS)
    check_words(given, {"kind": KINDS, "verdict": VERDICTS, "format": FORMATS})
    check_texts(given, _TEXTS)
    start, end = _period(given, now)
    form, whole = wants_csv(given)
    return Wanted(
        kinds=_kinds(given),
        start=start,
        end=end,
        click_id=_click_id(given),
        order_id=given.get("order_id", ""),
        conversion_id=given.get("conversion_id", ""),
        link=given.get("link", ""),
        campaign=number_of(given, "campaign_id"),
        affiliate=number_of(given, "affiliate_id"),
        verdict=given.get("verdict", ""),
        limit=limit_of(given),
        before=before_of(given),
        format=form,
        whole=whole,
    )


def _kinds(given: Mapping[str, str]) -> tuple[Kind, ...]:
    # A click has no order and is no conversion.
    of_conversions = "order_id" in given or "conversion_id" in given
    kinds = KINDS[1:] if of_conversions else KINDS
    return tuple(kind for kind in kinds if given.get("kind", kind) == kind)


def _click_id(given: Mapping[str, str]) -> str:
    """In upper case, as ids are stored."""
    text = given.get("click_id", "")
    return text.upper() if decode_base32(text.upper()) is not None else text


def _period(given: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    zone = check_zone(given.get("timezone", "UTC"))
    if "from" in given:
        period = read_period(given["from"], given.get("to"), zone, now)
        return period.start, period.end
    if "to" in given:
        raise Rejected(Reason.missing_field, "is required with `to`", field="from")
    by_id = any(name in given for name in ("click_id", "order_id", "conversion_id"))
    return (_ALWAYS if by_id else now - _BY_DEFAULT), now + _AHEAD


def click_place(click_id: str) -> ClickRef | None:
    """The link and time that an id carries; None for other texts."""
    number = decode_base32(click_id)
    return None if number is None else unverified(number)
