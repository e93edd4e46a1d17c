"""What a stream entry carries: clicks and conversions, one JSON line each, declared once."""

from typing import Literal

import msgspec

# The query parameters recorded on a click under their own names; all others go to `params`.
RECORDED = (
    *(f"sub{index}" for index in range(1, 11)),
    "source_id",
    "external_id",
    "creative_id",
    "coupon_code",
    "cost",
    "utm_source",
    "utm_medium",
    "utm_campaign",
    "utm_term",
    "utm_content",
    "gclid",
    "fbclid",
    "ttclid",
    "msclkid",
)


class Click(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request for a tracking link, as the edge saw it; its time is in the click id.

    `link`, `campaign`, `affiliate` are registry numbers. `ip` is the whole address: it lives
    only in the stream; the warehouse gets it truncated. `kind` says what is known to be no
    click: `head` and `prefetch`. `country` comes from a trusted proxy's header or is empty.
    """

    click_id: str
    account: int
    link: int
    campaign: int
    affiliate: int
    ip: str = ""
    user_agent: str = ""
    referrer: str = ""
    language: str = ""
    country: str = ""
    kind: Literal["", "head", "prefetch"] = ""
    sub1: str = ""
    sub2: str = ""
    sub3: str = ""
    sub4: str = ""
    sub5: str = ""
    sub6: str = ""
    sub7: str = ""
    sub8: str = ""
    sub9: str = ""
    sub10: str = ""
    source_id: str = ""
    external_id: str = ""
    creative_id: str = ""
    coupon_code: str = ""
    cost: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_term: str = ""
    utm_content: str = ""
    gclid: str = ""
    fbclid: str = ""
    ttclid: str = ""
    msclkid: str = ""
    params: dict[str, str] = {}


class Conversion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accepted conversion with all that was decided at the edge.

    Times are UTC milliseconds; amounts are minor units of `currency`. `campaign`, `affiliate`,
    `link` are registry numbers, 0 where unknown. `click_id` is the genuine click that earned it
    or would have (late); `given_click_id` what was posted when it was not genuine. `customer` is
    a keyed hash of the e-mail. `refused`: the post was answered while Redis was away, and its
    order turned out to be taken.
    """

    conversion_id: str
    account: int
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    status: Literal["pending", "approved"]
    attribution: Literal["click", "tracking_code", "none"]
    reason: str = ""
    order_id: str = ""
    campaign: int = 0
    affiliate: int = 0
    link: int = 0
    click_id: str = ""
    given_click_id: str = ""
    customer: str = ""
    customer_id: str = ""
    coupon_code: str = ""
    items: str = ""
    metadata: str = ""
    adv1: str = ""
    adv2: str = ""
    adv3: str = ""
    adv4: str = ""
    adv5: str = ""
    refused: Literal["", "duplicate", "conflict"] = ""


class ConversionState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversion's live state, kept with the reservation of its order in Redis."""

    conversion_id: str
    account: int
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    refundable_minor: int
    status: Literal["pending", "approved"]
    attribution: Literal["click", "tracking_code", "none"]
    reason: str = ""
    order_id: str = ""
    campaign: int = 0
    affiliate: int = 0
    click_id: str = ""
