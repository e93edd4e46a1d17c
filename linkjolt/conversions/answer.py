"""Writes the answer to a posted conversion as JSON text, for making objects of it costs twice."""

from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Literal

import msgspec

from linkjolt.datasets import is_test
from linkjolt.events import AttributionMethod, ConversionState, ConversionStatus
from linkjolt.money import format_major
from linkjolt.registry.entries import public_id
from linkjolt.web.forms import Instant

_encode = msgspec.json.Encoder().encode


class AttributionAnswer(msgspec.Struct, frozen=True):
    """How the conversion was attributed, or the reason why it was not."""

    method: AttributionMethod
    reason: str | None


class ConversionAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The conversion as posted; its status is `queued` while the post waits for Redis.

    `order_value` is gross, `net_value` what is left of it after adjustments.
    """

    conversion_id: str
    status: ConversionStatus | Literal["queued"]
    event: str
    order_id: str | None
    affiliate_id: str | None
    campaign_id: str | None
    click_id: str | None
    order_value: Decimal
    net_value: Decimal
    commission_amount: Decimal
    commission_reason: str | None
    currency: str
    attribution: AttributionAnswer
    duplicate: bool
    timestamp: Instant
    is_test: bool = False


# For the document: the answer to the first post of an order.
EXAMPLE: dict[str, Any] = {
    "conversion_id": "conv_06EZ3GQ8N4T5W1Y7B2C9D0F6H8",
    "status": "pending",
    "event": "sale",
    "order_id": "order_12345",
    "affiliate_id": "aff_1",
    "campaign_id": "cmp_1",
    "click_id": None,
    "order_value": 99.99,
    "net_value": 99.99,
    "commission_amount": 29.99,
    "commission_reason": None,
    "currency": "USD",
    "attribution": {"method": "tracking_code", "reason": None},
    "duplicate": False,
    "timestamp": "2026-05-04T10:00:00Z",
}


def answer(of: ConversionState, *, duplicate: bool = False, status: str = "") -> bytes:
    """The answer to a post; amounts in major units.

    `status` stands in place of the conversion's own. Every text that a sender chose is encoded.
    """
    click_id = f'"{of.click_id}"' if of.click_id else "null"
    order_id = _encode(of.order_id).decode() if of.order_id else "null"
    currency = of.currency
    mark = ',"is_test":true' if is_test(of.account) else ""
    value = net_value = format_major(of.order_value_minor, currency)
    if of.refundable_minor != of.order_value_minor or of.status == "rejected":
        net_value = format_major(_net_minor(of), currency)
    return (
        f'{{"conversion_id":"{of.conversion_id}","status":"{status or of.status}",'
        f'"event":"{of.event}","order_id":{order_id},'
        f'{_earners(of.affiliate, of.campaign)},"click_id":{click_id},'
        f'"order_value":{value},"net_value":{net_value},'
        f'"commission_amount":{format_major(of.commission_minor, currency)},'
        f"{_terms(of.commission_reason, currency, of.attribution, of.reason)},"
        f'"duplicate":{"true" if duplicate else "false"},'
        f'"timestamp":{_instant(of.time_ms)}{mark}}}'
    ).encode()


def _net_minor(of: ConversionState) -> int:
    return 0 if of.status == "rejected" else of.refundable_minor


@lru_cache(maxsize=4_096)
def _earners(affiliate: int, campaign: int) -> str:
    affiliate_id = f'"{public_id("affiliate", affiliate)}"' if affiliate else "null"
    campaign_id = f'"{public_id("campaign", campaign)}"' if campaign else "null"
    return f'"affiliate_id":{affiliate_id},"campaign_id":{campaign_id}'


@lru_cache(maxsize=4_096)
def _terms(commission_reason: str, currency: str, method: AttributionMethod, reason: str) -> str:
    # All are words of ours, in few combinations: composing them costs twice a look-up.
    unpaid = f'"{commission_reason}"' if commission_reason else "null"
    because = f'"{reason}"' if reason else "null"
    return (
        f'"commission_reason":{unpaid},"currency":"{currency}",'
        f'"attribution":{{"method":"{method}","reason":{because}}}'
    )


@lru_cache(maxsize=256)
def _instant(time_ms: int) -> str:
    # Conversions come with the time at which they are taken: thousands share a millisecond.
    return _encode(datetime.fromtimestamp(time_ms / 1000, UTC)).decode()
