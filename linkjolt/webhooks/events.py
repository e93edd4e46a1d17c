"""Makes webhook events of the streams' lines, encodes their payloads and matches endpoints."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2s
from typing import Literal

import msgspec

from linkjolt.click_ids import decode_base32, unpack_click_number
from linkjolt.datasets import Dataset, is_test
from linkjolt.events import Adjustment, Click, Conversion, Effect
from linkjolt.money import to_major
from linkjolt.registry.entries import EntryKind, Webhook, public_id
from linkjolt.stream_lines import Fact
from linkjolt.web import requests

EventType = Literal[
    "conversion.created",
    "conversion.approved",
    "conversion.rejected",
    "conversion.refunded",
    "click.created",
    "test",
]
EVENT_TYPES: tuple[EventType, ...] = (
    "conversion.created",
    "conversion.approved",
    "conversion.rejected",
    "conversion.refunded",
    "click.created",
)
_ADJUSTMENT_EVENTS: dict[str, EventType] = {
    "approved": "conversion.approved",
    "rejected": "conversion.rejected",
    "refunded": "conversion.refunded",
}


class WebhookEvent(msgspec.Struct, frozen=True):
    """An event to deliver: `identity` is unique among its type, `value` in major units."""

    type: EventType
    identity: str
    account: Dataset
    campaign: int
    affiliate: int
    value: Decimal
    body: bytes


class _AdjustmentData(msgspec.Struct, frozen=True):
    adjustment_id: str
    order_value_change: Decimal
    commission_change: Decimal
    reason: str | None


class _ConversionData(msgspec.Struct, frozen=True, omit_defaults=True):
    """`order_value` and `commission_amount` are totals at that time, net of refunds.

    The first five are encoded first, in this order (API 5).
    """

    conversion_id: str
    affiliate_id: str | None
    commission_amount: Decimal
    order_value: Decimal
    timestamp: datetime
    currency: str
    status: str
    campaign_id: str | None
    order_id: str | None
    click_id: str | None
    conversion_event: str
    adjustment: _AdjustmentData | None = None
    is_test: bool = False


class _ClickData(msgspec.Struct, frozen=True):
    click_id: str
    affiliate_id: str
    campaign_id: str
    link_id: str
    timestamp: datetime
    sub1: str
    source_id: str
    external_id: str


class _EventPayload(msgspec.Struct, frozen=True):
    event: EventType
    data: object


def webhook_id(event: WebhookEvent, webhook: int) -> str:
    """Returns an id that is the same for every attempt of an event at an endpoint, and unique."""
    digest_input = f"{event.type}\n{event.account}\n{event.identity}\n{webhook}"
    return "msg_" + blake2s(digest_input.encode(), digest_size=16).hexdigest()


def is_subscribed(webhook: Webhook, event: WebhookEvent, event_ms: int) -> bool:
    """Returns whether an endpoint gets an event that was accepted at `event_ms`."""
    if event.type not in webhook.events or event.account != webhook.account:
        return False
    if webhook.deleted_at is not None or event_ms < int(webhook.created_at.timestamp() * 1000):
        return False
    if webhook.campaigns and event.campaign not in webhook.campaigns:
        return False
    if webhook.affiliates and event.affiliate not in webhook.affiliates:
        return False
    return webhook.min_value is None or event.value >= webhook.min_value


def event_of_fact(fact: Fact) -> WebhookEvent | None:
    """Returns the event of a line of the conversions' stream; None if it is not delivered."""
    if isinstance(fact, Adjustment):
        type_ = _ADJUSTMENT_EVENTS.get(fact.kind)
        return _adjusted_event(fact, type_) if type_ else None
    return None if fact.refused else _created_event(fact)


def _created_event(conversion: Conversion) -> WebhookEvent:
    value = to_major(conversion.order_value_minor, conversion.currency)
    data = _ConversionData(
        conversion_id=conversion.conversion_id,
        affiliate_id=_id_or_none("affiliate", conversion.affiliate),
        commission_amount=to_major(conversion.commission_minor, conversion.currency),
        order_value=value,
        timestamp=_to_datetime(conversion.time_ms),
        currency=conversion.currency,
        status=conversion.status,
        campaign_id=_id_or_none("campaign", conversion.campaign),
        order_id=conversion.order_id or None,
        click_id=conversion.click_id or None,
        conversion_event=conversion.event,
        is_test=is_test(conversion.account),
    )
    body = encode_payload("conversion.created", data)
    return WebhookEvent(
        "conversion.created",
        conversion.conversion_id,
        conversion.account,
        conversion.campaign,
        conversion.affiliate,
        value,
        body,
    )


def _adjusted_event(adjustment: Adjustment, type_: EventType) -> WebhookEvent:
    place, value = adjustment.place, to_major(adjustment.refundable_now, adjustment.currency)
    data = _ConversionData(
        conversion_id=adjustment.conversion_id,
        affiliate_id=_id_or_none("affiliate", place.affiliate),
        commission_amount=to_major(adjustment.commission_now, adjustment.currency),
        order_value=value,
        timestamp=_to_datetime(adjustment.adjusted_ms),
        currency=adjustment.currency,
        status=place.status,
        campaign_id=_id_or_none("campaign", place.campaign),
        order_id=adjustment.order_id or None,
        click_id=adjustment.click_id or None,
        conversion_event=adjustment.event,
        adjustment=_adjustment_data(adjustment),
        is_test=is_test(adjustment.account),
    )
    identity = f"{adjustment.conversion_id}\n{adjustment.adjustment_id}"
    body = encode_payload(type_, data)
    return WebhookEvent(
        type_, identity, adjustment.account, place.campaign, place.affiliate, value, body
    )


def _adjustment_data(adjustment: Adjustment) -> _AdjustmentData:
    effect, subtracted = adjustment.effect, adjustment.taken or Effect()
    order_value_minor = effect.order_value_minor - subtracted.order_value_minor
    commission_minor = effect.commission_minor - subtracted.commission_minor
    return _AdjustmentData(
        adjustment.adjustment_id,
        to_major(order_value_minor, adjustment.currency),
        to_major(commission_minor, adjustment.currency),
        adjustment.note or None,
    )


def _id_or_none(kind: EntryKind, number: int) -> str | None:
    return public_id(kind, number) if number else None


def click_event(click: Click) -> WebhookEvent | None:
    """Returns the event of a recorded click; None for HEAD requests and prefetches."""
    number = decode_base32(click.click_id)
    if click.kind or number is None:
        return None
    data = _ClickData(
        click_id=click.click_id,
        affiliate_id=public_id("affiliate", click.affiliate),
        campaign_id=public_id("campaign", click.campaign),
        link_id=public_id("link", click.link),
        timestamp=_to_datetime(unpack_click_number(number).time_ms),
        sub1=click.sub1,
        source_id=click.source_id,
        external_id=click.external_id,
    )
    return WebhookEvent(
        "click.created",
        click.click_id,
        click.account,
        click.campaign,
        click.affiliate,
        Decimal(0),
        encode_payload("click.created", data),
    )


def test_body(now: datetime) -> bytes:
    """Encodes a test event: the shape of `conversion.created` with values no conversion has."""
    data = _ConversionData(
        conversion_id="conv_test",
        affiliate_id="aff_0",
        commission_amount=Decimal("29.99"),
        order_value=Decimal("99.99"),
        timestamp=now.replace(microsecond=0),
        currency="USD",
        status="pending",
        campaign_id=None,
        order_id="test",
        click_id=None,
        conversion_event="sale",
        is_test=True,
    )
    return encode_payload("test", data)


def encode_payload(type_: EventType, data: object) -> bytes:
    """Encodes the body of a delivery."""
    return requests.encode(_EventPayload(type_, data))


def _to_datetime(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
