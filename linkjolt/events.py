"""Declares the events that stream entries carry: clicks and conversions, one JSON line each."""

from typing import Literal

import msgspec

from linkjolt.datasets import Dataset

# The query parameters recorded on a click under their own names; all others go to `params`.
RECORDED_PARAMETERS = (
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
    """A request for a tracking link as the edge received it; its time is in the click id.

    `link`, `campaign` and `affiliate` are registry numbers. `ip` is the whole address: it exists
    only in the stream, for the warehouse gets it truncated. `kind` marks requests that are known
    not to be clicks: `head` and `prefetch`. `country` and `region` are taken from the headers of
    a trusted proxy, or are empty.
    """

    click_id: str
    account: Dataset
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


ConversionStatus = Literal["pending", "approved", "rejected"]
PayoutStatus = Literal["unpaid", "paid"]
# By an earlier conversion of the order or of the customer, too.
AttributionMethod = Literal[
    "click", "tracking_code", "coupon", "manual", "none", "order", "customer"
]
AdjustmentKind = Literal[
    "approved",
    "rejected",
    "refunded",
    "reinstated",
    "restated",
    "attributed",
    "paid",
    "unpaid",
    "superseded",
]
# By whose authority a conversion was made: an API key of the account, a key bound to a campaign, a
# signed postback, or nobody's (the pixel).
Hand = Literal["key", "bound", "signed", "pixel"]
_STRENGTHS: dict[Hand, int] = {"pixel": 0, "signed": 1, "bound": 2, "key": 3}
# Among which conversions an order id is unique: all of the account, those of its campaign, those of
# its click, or the unverified ones of its click.
OrderScope = Literal["", "campaign", "click", "pixel"]


def is_stronger(hand: Hand, other: Hand) -> bool:
    """Returns whether an authority outranks the one by which a conversion was made."""
    return _STRENGTHS[hand] > _STRENGTHS[other]


class Conversion(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """An accepted conversion with everything that was decided at the edge.

    Times are UTC milliseconds, amounts minor units of `currency`. `campaign`, `affiliate` and
    `link` are registry numbers, 0 where unknown. `click_id` is the genuine click that earned it,
    or would have if it were not too late; `given_click_id` is the posted one if it is not genuine.
    `customer` is a keyed hash of the e-mail address. `refused` is set where the post was answered
    while Redis was unavailable and its order was found to be taken later. `rule` is the version of
    the campaign's commission that paid, 0 if none did; `commission_reason` says why none did.
    `order_free`: other conversions may have the same order. An unverified conversion counts for
    nothing, and earns nothing, until it is verified. `notes` are words about the post, `rate` is
    the one by which the commission's amounts were converted.
    """

    conversion_id: str
    account: Dataset
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    status: Literal["pending", "approved"]
    attribution: AttributionMethod
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
    hand: Hand = "key"
    verified: bool = True
    order_scope: OrderScope = ""
    notes: tuple[str, ...] = ()
    rate: str = ""
    order_shared: bool = False

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Returns the notes, with that of an order that another campaign has, too."""
        return _all_notes(self)


class Effect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The signed change a fact makes to the sums: counts, and minor units of its currency."""

    conversions: int = 0
    pending: int = 0
    approved: int = 0
    rejected: int = 0
    order_value_minor: int = 0
    commission_minor: int = 0
    unverified: int = 0
    clawback_minor: int = 0


class FactDimensions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The dimensions under which a conversion is counted, with its status."""

    status: ConversionStatus
    attribution: AttributionMethod
    campaign: int = 0
    affiliate: int = 0
    link: int = 0


class Adjustment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A later change of a conversion: a line of the conversions' stream, beginning with its id.

    `effect` counts under `place`. If the dimensions changed, `left` are the former ones, from
    which `taken` is subtracted; both together are the change. `time_ms` is the time of the
    conversion, `adjusted_ms` that of the adjustment. The amounts `..._now` are totals after it:
    the order value before refunds, the part of it that is not refunded, and the commission.
    `author` is the public id of an API key or OAuth client, `note` the reason that was given.
    `gross_change_minor` is the change of the order value before refunds, `created_value_minor` that
    value at creation. `sequence` counts the conversion's facts, its creation being 1. `rate` is the
    one by which the commission's amounts were converted.
    """

    adjustment_id: str
    conversion_id: str
    account: Dataset
    kind: AdjustmentKind
    event: str
    time_ms: int
    adjusted_ms: int
    currency: str
    place: FactDimensions
    effect: Effect
    left: FactDimensions | None = None
    taken: Effect | None = None
    order_value_now: int = 0
    refundable_now: int = 0
    commission_now: int = 0
    payout: PayoutStatus = "unpaid"
    rule: int = 0
    order_id: str = ""
    click_id: str = ""
    author: str = ""
    note: str = ""
    sequence: int = 0
    created_value_minor: int | None = None
    gross_change_minor: int = 0
    verified: bool = True
    verifies: bool = False
    rate: str = ""


# The beginning of every adjustment's line, and of no conversion's.
ADJUSTMENT_PREFIX = b'{"adjustment_id":'


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An adjustment as the conversion's state keeps it; `digest` identifies repeats.

    The amounts are the changes of the order value (refunds reduce it) and of the commission. `hand`
    is that of its author, None where an earlier release recorded it.
    """

    adjustment_id: str
    kind: AdjustmentKind
    digest: str
    adjusted_ms: int
    status: ConversionStatus
    order_value_minor: int = 0
    commission_minor: int = 0
    author: str = ""
    note: str = ""
    hand: Hand | None = None


class ConversionState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A conversion's live state, kept in Redis with the reservation of its order.

    `order_value_minor` is before refunds, `refundable_minor` the rest after them. `first` is the
    state before the first adjustment: it answers a repeated post. `paid_minor` is the commission
    as it was when it was paid (None: unknown, where an earlier release recorded that).
    `stated_ms` is the latest timestamp that a sender gave with an order value, 0 if none did.
    """

    conversion_id: str
    account: Dataset
    event: str
    time_ms: int
    currency: str
    order_value_minor: int
    commission_minor: int
    refundable_minor: int
    status: ConversionStatus
    attribution: AttributionMethod
    reason: str = ""
    order_id: str = ""
    campaign: int = 0
    affiliate: int = 0
    click_id: str = ""
    link: int = 0
    rule: int = 0
    commission_reason: str = ""
    payout: PayoutStatus = "unpaid"
    history: tuple[HistoryEntry, ...] = ()
    first: "ConversionState | None" = None
    hand: Hand = "key"
    verified: bool = True
    order_scope: OrderScope = ""
    notes: tuple[str, ...] = ()
    rate: str = ""
    paid_minor: int | None = None
    order_shared: bool = False
    stated_ms: int = 0

    @property
    def all_notes(self) -> tuple[str, ...]:
        """Returns the notes, as `Conversion.all_notes`."""
        return _all_notes(self)

    @property
    def created_value_minor(self) -> int:
        """Returns the order value as it was posted first."""
        return (self.first or self).order_value_minor


def _all_notes(of: Conversion | ConversionState) -> tuple[str, ...]:
    return (*of.notes, "order_in_two_campaigns") if of.order_shared else of.notes
