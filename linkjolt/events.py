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
    click: `head` and `prefetch`. `country` and `region` come from a
    trusted proxy's headers or are empty.
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
    region: str = ""


Status = Literal["pending", "approved", "rejected"]
Payout = Literal["unpaid", "paid"]
Attributed = Literal["click", "tracking_code", "coupon", "manual", "none"]
Adjusted = Literal["approved", "rejected", "refunded", "restated", "attributed", "paid", "unpaid"]


class Conversion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accepted conversion with all that was decided at the edge.

    Times are UTC milliseconds; amounts are minor units of `currency`. `campaign`, `affiliate`,
    `link` are registry numbers, 0 where unknown. `click_id` is the genuine click that earned it
    or would have (late); `given_click_id` what was posted when it was not genuine. `customer` is
    a keyed hash of the e-mail. `refused`: the post was answered while Redis was away, and its
    order turned out to be taken. `rule` is the version of the campaign's commission that paid it,
    0 where none did; `commission_reason` says why not. `order_free`: another conversion may have
    the same order.
    """

    conversion_id: str
    account: int
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    status: Literal["pending", "approved"]
    attribution: Attributed
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
    rule: int = 0
    commission_reason: str = ""
    order_free: bool = False
    refused: Literal["", "duplicate", "conflict"] = ""


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a fact adds to the sums, signed: counts, and minor units of its currency."""

    conversions: int = 0
    pending: int = 0
    approved: int = 0
    rejected: int = 0
    order_value_minor: int = 0
    commission_minor: int = 0


class Place(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Under what a conversion counts: who earns, by what, with which status."""

    status: Status
    attribution: Attributed
    campaign: int = 0
    affiliate: int = 0
    link: int = 0


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A later fact about a conversion, a line of the conversions' stream (it begins with this id).

    `effect` counts under `place`. Where the place is another than before, `left` is the former one,
    from which `taken` goes; both together say what has changed. `time_ms` is the conversion's,
    `adjusted_ms` that of the fact. The amounts `..._now` are what the conversion comes to:
    its order value before refunds, what of it is not refunded, and the commission.
    `author` is the public id of an API key, `note` the reason that was given.
    """

    adjustment_id: str
    conversion_id: str
    account: int
    kind: Adjusted
    event: str
    time_ms: int
    adjusted_ms: int
    currency: str
    place: Place
    effect: Effect
    left: Place | None = None
    taken: Effect | None = None
    order_value_now: int = 0
    refundable_now: int = 0
    commission_now: int = 0
    payout: Payout = "unpaid"
    rule: int = 0
    order_id: str = ""
    click_id: str = ""
    author: str = ""
    note: str = ""


# How the line of an adjustment begins, and no conversion's does.
ADJUSTMENT_MARK = b'{"adjustment_id":'


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment as the conversion's state keeps it; `digest` tells repeats from others.

    The amounts are by how much order value (refunds count against it) and commission changed.
    """

    adjustment_id: str
    kind: Adjusted
    digest: str
    adjusted_ms: int
    status: Status
    order_value_minor: int = 0
    commission_minor: int = 0
    author: str = ""
    note: str = ""


class ConversionState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A conversion's live state, kept with the reservation of its order in Redis.

    `order_value_minor` is before refunds, `refundable_minor` what is left of it. `first` is the
    state before the first adjustment: what a repeat of the post is answered by.
    """

    conversion_id: str
    account: int
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    refundable_minor: int
    status: Status
    attribution: Attributed
    reason: str = ""
    order_id: str = ""
    campaign: int = 0
    affiliate: int = 0
    click_id: str = ""
    link: int = 0
    rule: int = 0
    commission_reason: str = ""
    payout: Payout = "unpaid"
    history: tuple[HistoryEntry, ...] = ()
    first: "ConversionState | None" = None
