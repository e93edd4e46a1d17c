"""What a list of conversions is asked for: query parameters checked and read, without any I/O."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from linkjolt.errors import Reason, Rejected
from linkjolt.registry import Kind, read_id
from reports.period import read_period

# Under these names the SQL has them, too.
FILTERS = (
    *("order_id", "click_id", "event", "status", "attribution", "payout"),
    *("campaign", "affiliate"),
)
_WORDS: dict[str, tuple[str, ...]] = {
    "status": ("pending", "approved", "rejected"),
    "attribution": ("click", "tracking_code", "coupon", "manual", "none"),
    "payout": ("unpaid", "paid"),
}
_TEXTS = ("order_id", "click_id", "event")
_IDS: dict[str, Kind] = {"campaign_id": "campaign", "affiliate_id": "affiliate"}
_PAGING = ("from", "to", "limit", "cursor")
PARAMETERS = (*_WORDS, *_TEXTS, *_IDS, *_PAGING)
_LIMIT_MAX = 1_000
_TEXT_MAX = 128
_BY_DEFAULT = timedelta(days=30)
_ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
# Shops may be some minutes ahead of us (`ingest.conversion_post`).
_AHEAD = timedelta(minutes=10)
# Behind every conversion: before it is the newest.
_FIRST = (1 << 62, "")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked for; '' and 0 let all pass. [start, end) is of the conversion's time."""

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


def read_wanted(pairs: Sequence[tuple[str, str]], now: datetime) -> Wanted:
    """What the parameters ask for; Rejected, naming the one that does not fit.

    By order or click the whole time is searched, else the last 30 days, unless `from` says more.
    """
    given = _once(pairs)
    for name, words in _WORDS.items():
        if name in given and given[name] not in words:
            message = f"must be one of {', '.join(words)}"
            raise Rejected(Reason.invalid_field, message, field=name)
    for name in _TEXTS:
        if name in given and not 1 <= len(given[name]) <= _TEXT_MAX:
            message = f"must have 1 to {_TEXT_MAX} characters"
            raise Rejected(Reason.invalid_field, message, field=name)
    start, end = _period(given, now)
    return Wanted(
        start=start,
        end=end,
        order_id=given.get("order_id", ""),
        click_id=given.get("click_id", ""),
        event=given.get("event", ""),
        status=given.get("status", ""),
        attribution=given.get("attribution", ""),
        payout=given.get("payout", ""),
        campaign=_number("campaign_id", given.get("campaign_id")),
        affiliate=_number("affiliate_id", given.get("affiliate_id")),
        limit=_limit(given.get("limit", "100")),
        before=_before(given.get("cursor")),
    )


def _once(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            raise Rejected(Reason.unknown_field, "is not a known parameter", field=name[:64])
        if name in given:
            raise Rejected(Reason.invalid_field, "is given twice", field=name)
        given[name] = value
    return given


def _period(given: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    if "from" in given:
        period = read_period(given["from"], given.get("to"), "UTC", now)
        return period.start, period.end
    one = "order_id" in given or "click_id" in given
    end = now + _AHEAD
    if "to" in given:
        end = read_period("2000-01-01", given["to"], "UTC", now).end
    return (_ALWAYS if one else end - _BY_DEFAULT), end


def _number(name: str, text: str | None) -> int:
    if text is None:
        return 0
    number = read_id(_IDS[name], text)
    if number is None:
        raise Rejected(Reason.invalid_field, f"is no id of a {_IDS[name]}", field=name)
    return number


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _LIMIT_MAX):
        message = f"must be a number from 1 to {_LIMIT_MAX}"
        raise Rejected(Reason.invalid_field, message, field="limit")
    return int(text)


def _before(cursor: str | None) -> tuple[int, str]:
    if cursor is None:
        return _FIRST
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        ms, conversion_id = text.split(":", 1)
        if not (ms.isascii() and ms.isdigit() and len(ms) <= 15):
            raise ValueError
    except (binascii.Error, ValueError):
        message = "is not a cursor that this list answered"
        raise Rejected(Reason.invalid_field, message, field="cursor") from None
    return int(ms), conversion_id


def cursor_after(time_ms: int, conversion_id: str) -> str:
    """The opaque text that continues the list behind a conversion, whatever is new by then."""
    text = f"{time_ms}:{conversion_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
