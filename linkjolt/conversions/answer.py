"""What a conversion is answered with: JSON written out, for making objects of it costs twice."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Literal

import msgspec

from linkjolt.events import Attributed, ConversionState, Status
from linkjolt.money import major_text
from linkjolt.redis_keys import is_test
from linkjolt.registry.entries import public_id

_encode = msgspec.json.Encoder().encode


class AttributionAnswer(msgspec.Struct, frozen=True):
    method: Attributed
    reason: str | None


class ConversionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What `answer` writes; its status is `queued` while the post waits for Redis."""

    conversion_id: str
    status: Status | Literal["queued"]
    event: str
    order_id: str | None
    affiliate_id: str | None
    campaign_id: str | None
    click_id: str | None
    order_value: Decimal
    commission_amount: Decimal
    currency: str
    attribution: AttributionAnswer
    duplicate: bool
    timestamp: datetime
    is_test: bool = False


def answer(of: ConversionState, *, duplicate: bool = False, status: str = "") -> bytes:
    """The answer to a post; amounts in major units.

    `status` stands in place of the conversion's own. Every text that a sender chose is encoded.
    """
    click_id = f'"{of.click_id}"' if of.click_id else "null"
    order_id = _encode(of.order_id).decode() if of.order_id else "null"
    reason = f'"{of.reason}"' if of.reason else "null"
    currency = of.currency
    return (
        f'{{"conversion_id":"{of.conversion_id}","status":"{status or of.status}",'
        f'"event":"{of.event}","order_id":{order_id},'
        f'{_earners(of.affiliate, of.campaign)},"click_id":{click_id},'
        f'"order_value":{major_text(of.order_value_minor, currency)},'
        f'"commission_amount":{major_text(of.commission_minor, currency)},'
        f'"currency":"{currency}",'
        f'"attribution":{{"method":"{of.attribution}","reason":{reason}}},'
        f'"duplicate":{"true" if duplicate else "false"},'
        f'"timestamp":{_instant(of.time_ms)}{_test(of.account)}}}'
    ).encode()


def _test(books: int) -> str:
    return ',"is_test":true' if is_test(books) else ""


@lru_cache(maxsize=4_096)
def _earners(affiliate: int, campaign: int) -> str:
    affiliate_id = f'"{public_id("affiliate", affiliate)}"' if affiliate else "null"
    campaign_id = f'"{public_id("campaign", campaign)}"' if campaign else "null"
    return f'"affiliate_id":{affiliate_id},"campaign_id":{campaign_id}'


@lru_cache(maxsize=256)
def _instant(time_ms: int) -> str:
    # Conversions come with the time at which they are taken: thousands share a millisecond.
    return _encode(datetime.fromtimestamp(time_ms / 1000, UTC)).decode()
