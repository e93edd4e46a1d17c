"""Makes webhook events of the streams' lines, encodes their payloads and matches endpoints."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2s
from typing import Literal, get_args

import msgspec

from linkjolt.click_ids import decode_base32, unpack_click_number
from linkjolt.datasets import Dataset, is_test
from linkjolt.events import (
    Adjustment,
    AdjustmentKind,
    Click,
    Conversion,
    ConversionStatus,
    Effect,
    PayoutStatus,
)
from linkjolt.money import to_major
from linkjolt.registry.entries import EntryKind, Webhook, public_id
from linkjolt.stream_lines import Fact
from linkjolt.web import requests

EventType = Literal[
    "conversion.created",
    "conversion.approved",
    "conversion.rejected",
    "conversion.refunded",
    "conversion.reinstated",
    "conversion.restated",
    "conversion.attributed",
    "conversion.paid",
    "conversion.unpaid",
    "click.created",
    "test",
]
EVENT_TYPES: tuple[EventType, ...] = tuple(one for one in get_args(EventType) if one != "test")
_ADJUSTMENT_EVENTS: dict[AdjustmentKind, EventType] = {
    "approved": "conversion.approved",
    "rejected": "conversion.rejected",
    # Another conversion has its order: this one counts no more.
    "superseded": "conversion.rejected",
    "refunded": "conversion.refunded",
    "reinstated": "conversion.reinstated",
    "restated": "conversion.restated",
    "attributed": "conversion.attributed",
    "paid": "conversion.paid",
    "unpaid": "conversion.unpaid",
}


class WebhookEvent(msgspec.Struct, frozen=True):
    """An event to deliver: `identity` is unique among its type.

    `campaigns` and `affiliates` are those that it concerns: of a conversion that changes hands, the
    former and the new one. `value` is the order value at creation, in major units.
    """

    type: EventType
    identity: str
    account: Dataset
    campaigns: frozenset[int]
    affiliates: frozenset[int]
    value: Decimal
    body: bytes


class _AdjustmentData(msgspec.Struct, frozen=True, kw_only=True):
    adjustment_id: str
    order_value_change: Decimal
    net_value_change: Decimal
    commission_change: Decimal
    reason: str | None


class _ConversionData(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The conversion after the event; `order_value` is before refunds, `net_value` after them.

    The first five are encoded first, in this order (API 5). `sequence` counts the events of one
    conversion, from 1 for its creation; null where an earlier release recorded the adjustment.
    """

    conversion_id: str
    affiliate_id: str | None
    commission_amount: Decimal
    order_value: Decimal
    timestamp: datetime
    currency: str
    status: ConversionStatus
    campaign_id: str | None
    order_id: str | None
    click_id: str | None
    conversion_event: str
    net_value: Decimal
    payout: PayoutStatus
    sequence: int | None
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
    if webhook.campaigns and event.campaigns.isdisjoint(webhook.campaigns):
        return False
    if webhook.affiliates and event.affiliates.isdisjoint(webhook.affiliates):
        return False
    return webhook.min_value is None or event.value >= webhook.min_value


def events_of_fact(fact: Fact) -> Sequence[WebhookEvent]:
    """Returns the events of a line of the conversions' stream, in order; often none or one.

    An unverified conversion has none. Whatever verifies it is also its creation.
    """
    if not fact.verified:
        return ()
    if isinstance(fact, Conversion):
        return () if fact.refused else (_created_event(fact),)
    created = (_created_late_event(fact),) if fact.verifies else ()
    type_ = _ADJUSTMENT_EVENTS.get(fact.kind)
    return (*created, _adjusted_event(fact, type_)) if type_ else created


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
        net_value=value,
        payout="unpaid",
        sequence=1,
        is_test=is_test(conversion.account),
    )
    return WebhookEvent(
        "conversion.created",
        conversion.conversion_id,
        conversion.account,
        frozenset({conversion.campaign}),
        frozenset({conversion.affiliate}),
        value,
        encode_payload("conversion.created", data),
    )


def _created_late_event(adjustment: Adjustment) -> WebhookEvent:
    """Makes the creation of a conversion that this adjustment verified."""
    data = msgspec.structs.replace(
        _adjusted_data(adjustment),
        timestamp=_to_datetime(adjustment.time_ms),
        sequence=1,
        adjustment=None,
    )
    return msgspec.structs.replace(
        _adjusted_event(adjustment, "conversion.created"),
        identity=adjustment.conversion_id,
        body=encode_payload("conversion.created", data),
    )


def _adjusted_event(adjustment: Adjustment, type_: EventType) -> WebhookEvent:
    created_minor = adjustment.created_value_minor
    if created_minor is None:
        # Recorded by an earlier release.
        created_minor = adjustment.order_value_now
    places = [place for place in (adjustment.left, adjustment.place) if place]
    return WebhookEvent(
        type_,
        f"{adjustment.conversion_id}\n{adjustment.adjustment_id}",
        adjustment.account,
        frozenset(place.campaign for place in places),
        frozenset(place.affiliate for place in places),
        to_major(created_minor, adjustment.currency),
        encode_payload(type_, _adjusted_data(adjustment)),
    )


def _adjusted_data(adjustment: Adjustment) -> _ConversionData:
    place, currency = adjustment.place, adjustment.currency
    net_minor = 0 if place.status == "rejected" else adjustment.refundable_now
    return _ConversionData(
        conversion_id=adjustment.conversion_id,
        affiliate_id=_id_or_none("affiliate", place.affiliate),
        commission_amount=to_major(adjustment.commission_now, currency),
        order_value=to_major(adjustment.order_value_now, currency),
        timestamp=_to_datetime(adjustment.adjusted_ms),
        currency=currency,
        status=place.status,
        campaign_id=_id_or_none("campaign", place.campaign),
        order_id=adjustment.order_id or None,
        click_id=adjustment.click_id or None,
        conversion_event=adjustment.event,
        net_value=to_major(net_minor, currency),
        payout=adjustment.payout,
        sequence=adjustment.sequence or None,
        adjustment=_adjustment_data(adjustment),
        is_test=is_test(adjustment.account),
    )


def _adjustment_data(adjustment: Adjustment) -> _AdjustmentData:
    effect, subtracted = adjustment.effect, adjustment.taken or Effect()
    net_minor = effect.order_value_minor - subtracted.order_value_minor
    commission_minor = effect.commission_minor - subtracted.commission_minor
    gross_minor = adjustment.gross_change_minor
    if not adjustment.sequence and adjustment.kind == "restated":
        # An earlier release recorded no change of the gross value: nothing else changes it.
        gross_minor = net_minor
    return _AdjustmentData(
        adjustment_id=adjustment.adjustment_id,
        order_value_change=to_major(gross_minor, adjustment.currency),
        net_value_change=to_major(net_minor, adjustment.currency),
        commission_change=to_major(commission_minor, adjustment.currency),
        reason=adjustment.note or None,
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
        frozenset({click.campaign}),
        frozenset({click.affiliate}),
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
        net_value=Decimal("99.99"),
        payout="unpaid",
        sequence=1,
        is_test=True,
    )
    return encode_payload("test", data)


def encode_payload(type_: EventType, data: object) -> bytes:
    """Encodes the body of a delivery."""
    return requests.encode(_EventPayload(type_, data))


def _to_datetime(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
