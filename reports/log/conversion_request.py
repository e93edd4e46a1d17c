"""What a list of conversions is asked for: query parameters checked and read, without any I/O."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

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

# Under these names the SQL has them, too.
FILTERS = (
    *("order_id", "click_id", "event", "status", "attribution", "payout"),
    *("campaign", "affiliate"),
)
_WORDS: dict[str, tuple[str, ...]] = {
    "status": ("pending", "approved", "rejected"),
    "attribution": ("click", "tracking_code", "coupon", "manual", "none"),
    "payout": ("unpaid", "paid"),
    "format": FORMATS,
}
_TEXTS = ("order_id", "click_id", "event")
_PAGING = ("from", "to", "timezone", "limit", "cursor")
PARAMETERS = (*_WORDS, *_TEXTS, *IDS, *_PAGING)
_BY_DEFAULT = timedelta(days=30)
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
# Shops may be some minutes ahead of us (`ingest.conversions.body`).
_AHEAD = timedelta(minutes=10)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; '' and 0 let all pass. [start, end) is of the conversion's time.

    `whole`: all of it is wanted, not a page.
    """

    start: datetime
    end: datetime
    order_id: str
    click_id: str
    event: str
    status: str
    attribution: str
    payout: str
    campaign: int
    affiliate: int
    limit: int
    before: tuple[int, str]
    format: Format
    whole: bool


def read_wanted(pairs: Sequence[tuple[str, str]], now: datetime) -> Wanted:
    """What the parameters ask for; Rejected, naming the one that does not fit.

    By order or click the whole time is searched, else the last 30 days, unless `from` says more.
    """
    given = once(pairs, PARAMETERS)
    check_words(given, _WORDS)
    check_texts(given, _TEXTS)
    start, end = _period(given, now)
    form, whole = wants_csv(given)
    return Wanted(
        start=start,
        end=end,
        order_id=given.get("order_id", ""),
        click_id=given.get("click_id", ""),
        event=given.get("event", ""),
        status=given.get("status", ""),
        attribution=given.get("attribution", ""),
        payout=given.get("payout", ""),
        campaign=number_of(given, "campaign_id"),
        affiliate=number_of(given, "affiliate_id"),
        limit=limit_of(given),
        before=before_of(given),
        format=form,
        whole=whole,
    )


def _period(given: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    zone = check_zone(given.get("timezone", "UTC"))
    if "from" in given:
        period = read_period(given["from"], given.get("to"), zone, now)
        return period.start, period.end
    one = "order_id" in given or "click_id" in given
    end = now + _AHEAD
    if "to" in given:
        end = read_period("2000-01-01", given["to"], zone, now).end
    return (_ALWAYS if one else end - _BY_DEFAULT), end
