"""What webhooks tell of: events made of the streams' lines, their payloads, who wants them."""

from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2s
from typing import Literal

import msgspec

from linkjolt.click_ids import decode_base32, unverified
from linkjolt.events import Adjustment, Click, Conversion
from linkjolt.money import to_major
from linkjolt.redis_keys import is_test
from linkjolt.registry.entries import Webhook, public_id
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
EVENTS: tuple[EventType, ...] = (
    "conversion.created",
    "conversion.approved",
    "conversion.rejected",
    "conversion.refunded",
    "click.created",
)
_OF_ADJUSTMENT: dict[str, EventType] = {
    "approved": "conversion.approved",
    "rejected": "conversion.rejected",
    "refunded": "conversion.refunded",
}


class Event(msgspec.Struct, frozen=True):
    """Something to tell of: `identity` is its own among those of its type, `value` major units."""

    type: EventType
    identity: str
    account: int
    campaign: int
    affiliate: int
    value: Decimal
    body: bytes


class _Adjusted(msgspec.Struct, frozen=True):
    adjustment_id: str
    order_value_change: Decimal
    commission_change: Decimal
    reason: str | None


class _ConversionData(msgspec.Struct, frozen=True, omit_defaults=True):
    """`order_value` and `commission_amount` are what the conversion comes to then, net of refunds.

    The first five stand first, in this order (API 5).
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
    adjustment: _Adjusted | None = None
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


class _Payload(msgspec.Struct, frozen=True):
    event: EventType
    data: object


def webhook_id(event: Event, webhook: int) -> str:
    """The same for every try of an event at an endpoint, and for no other."""
    of = f"{event.type}\n{event.account}\n{event.identity}\n{webhook}"
    return "msg_" + blake2s(of.encode(), digest_size=16).hexdigest()


def wants(webhook: Webhook, event: Event, event_ms: int) -> bool:
    """Whether an endpoint is to hear of an event that was accepted at `event_ms`."""
    if event.type not in webhook.events or event.account != webhook.account:
        return False
    if webhook.deleted_at is not None or event_ms < int(webhook.created_at.timestamp() * 1000):
        return False
    if webhook.campaigns and event.campaign not in webhook.campaigns:
        return False
    if webhook.affiliates and event.affiliate not in webhook.affiliates:
        return False
    return webhook.min_value is None or event.value >= webhook.min_value


def event_of(fact: Fact) -> Event | None:
    """The event of a line of the conversions' stream; None for one that is told of to nobody."""
    if isinstance(fact, Adjustment):
        type_ = _OF_ADJUSTMENT.get(fact.kind)
        return _adjusted(fact, type_) if type_ else None
    return None if fact.refused else _created(fact)


def _created(of: Conversion) -> Event:
    value = to_major(of.order_value_minor, of.currency)
    data = _ConversionData(
        conversion_id=of.conversion_id,
        affiliate_id=public_id("affiliate", of.affiliate) if of.affiliate else None,
        commission_amount=to_major(of.commission_minor, of.currency),
        order_value=value,
        timestamp=_at(of.time_ms),
        currency=of.currency,
        status=of.status,
        campaign_id=public_id("campaign", of.campaign) if of.campaign else None,
        order_id=of.order_id or None,
        click_id=of.click_id or None,
        conversion_event=of.event,
        is_test=is_test(of.account),
    )
    body = payload("conversion.created", data)
    return Event(
        "conversion.created",
        of.conversion_id,
        of.account,
        of.campaign,
        of.affiliate,
        value,
        body,
    )


def _adjusted(of: Adjustment, type_: EventType) -> Event:
    value = to_major(of.refundable_now, of.currency)
    before = of.taken
    data = _ConversionData(
        conversion_id=of.conversion_id,
        affiliate_id=public_id("affiliate", of.place.affiliate) if of.place.affiliate else None,
        commission_amount=to_major(of.commission_now, of.currency),
        order_value=value,
        timestamp=_at(of.adjusted_ms),
        currency=of.currency,
        status=of.place.status,
        campaign_id=public_id("campaign", of.place.campaign) if of.place.campaign else None,
        order_id=of.order_id or None,
        click_id=of.click_id or None,
        conversion_event=of.event,
        adjustment=_Adjusted(
            of.adjustment_id,
            to_major(
                of.effect.order_value_minor - (before.order_value_minor if before else 0),
                of.currency,
            ),
            to_major(
                of.effect.commission_minor - (before.commission_minor if before else 0),
                of.currency,
            ),
            of.note or None,
        ),
        is_test=is_test(of.account),
    )
    identity = f"{of.conversion_id}\n{of.adjustment_id}"
    body = payload(type_, data)
    return Event(type_, identity, of.account, of.place.campaign, of.place.affiliate, value, body)


def click_event(click: Click) -> Event | None:
    """The event of a recorded click; None for one that is no visit of a person's choice."""
    number = decode_base32(click.click_id)
    if click.kind or number is None:
        return None
    data = _ClickData(
        click_id=click.click_id,
        affiliate_id=public_id("affiliate", click.affiliate),
        campaign_id=public_id("campaign", click.campaign),
        link_id=public_id("link", click.link),
        timestamp=_at(unverified(number).time_ms),
        sub1=click.sub1,
        source_id=click.source_id,
        external_id=click.external_id,
    )
    return Event(
        "click.created",
        click.click_id,
        click.account,
        click.campaign,
        click.affiliate,
        Decimal(0),
        payload("click.created", data),
    )


def test_body(now: datetime) -> bytes:
    """The payload of a test: the shape of `conversion.created`, with what no conversion has."""
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
    return payload("test", data)


def payload(type_: EventType, data: object) -> bytes:
    """The body of a delivery."""
    return requests.encode(_Payload(type_, data))


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
