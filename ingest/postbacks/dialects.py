"""Declares the postback dialects of trackers and networks, as documented by each vendor.

Saved postback URLs keep working: vendors' names map to ours, their status words to our statuses,
their ids of orders and events to ours, and anything else is ignored.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import msgspec

# `ignored` records nothing.
Outcome = Literal["pending", "approved", "rejected", "refunded", "ignored"]
_APPROVED = "approved approve confirmed confirm accepted accept success paid completed 1"
_PENDING = "pending hold on_hold new wait waiting created processing unconfirmed"
_REJECTED = (
    "rejected reject declined decline cancelled canceled cancel trash fraud chargeback charge_back"
    " void voided invalid reversed reversal"
)
_REFUNDED = "refunded refund returned return partially_refunded partial_refund"
STATUS_BY_WORD: dict[str, Outcome] = {
    **dict.fromkeys(_APPROVED.split(), "approved"),
    **dict.fromkeys(_PENDING.split(), "pending"),
    **dict.fromkeys(_REJECTED.split(), "rejected"),
    **dict.fromkeys(_REFUNDED.split(), "refunded"),
}
# Our own parameters, the dialect `linkjolt`.
OWN_PARAMETERS: dict[str, str] = {
    "click_id": "click_id",
    "tracking_code": "tracking_code",
    "payout": "order_value",
    "amount": "order_value",
    "order_value": "order_value",
    "order_id": "order_id",
    "currency": "currency",
    "status": "status",
    "event": "event",
    "coupon_code": "coupon_code",
    "customer_id": "customer_id",
    "customer_email": "customer_email",
    "timestamp": "timestamp",
}
OWN_TEXTS: dict[str, str] = {f"adv{n}": f"adv{n}" for n in range(1, 6)}


class Dialect(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A vendor's names for parameters, and how it tells conversions of one click apart.

    `documentation` is the page they are taken from. Of several `names` of one field the first one
    with a value counts; `texts` are the advertiser's own. `click_orders` are names of order ids
    that are unique within their click only. `event_ids` name events of one order or click: of each
    group the first one with a value is joined to the order id, unless the value is one of
    `base_events`, in lower case; where `orders_are_whole`, only in place of an order id.
    `events` translate event types, '' being the vendor's default; where `free_events`, a type that
    the campaign does not declare is a sale. `status_lists` name parameters that list status words.
    `minor_units`: amounts are whole numbers of the currency's smallest unit. Where
    `leads_have_no_amount`, a call with neither amount, order nor status is a lead.
    """

    documentation: str
    names: Mapping[str, str]
    texts: Mapping[str, str] = {}
    statuses: Mapping[str, Outcome] = {}
    status_lists: Mapping[str, Outcome] = {}
    events: Mapping[str, str] = {}
    free_events: bool = True
    click_orders: tuple[str, ...] = ()
    event_ids: tuple[tuple[str, ...], ...] = ()
    base_events: tuple[str, ...] = ("0",)
    orders_are_whole: bool = False
    minor_units: bool = False
    leads_have_no_amount: bool = False

    @cached_property
    def name_of(self) -> dict[str, str]:
        """Maps each field to the first of its names."""
        return {field: name for name, field in reversed(tuple(self.names.items()))}

    @cached_property
    def parameters(self) -> frozenset[str]:
        """Names every parameter that is read."""
        event_ids = (name for group in self.event_ids for name in group)
        return frozenset((*self.names, *self.texts, *self.status_lists, *event_ids))


DIALECTS: dict[str, Dialect] = {
    "linkjolt": Dialect(
        documentation="docs/postbacks.md",
        names=OWN_PARAMETERS,
        texts=OWN_TEXTS,
        free_events=False,
    ),
    # Upselling: "unique within the scope of a clickid"; custom conversions: `et`.
    "voluum": Dialect(
        documentation="https://doc.voluum.com/en/upselling.html",
        names={
            "cid": "click_id",
            "payout": "order_value",
            "txid": "order_id",
            "currency": "currency",
            "et": "event",
            "status": "status",
        },
        texts={f"param{n}": f"adv{n}" for n in range(1, 6)},
        events={"conversion": "", "purchase": "sale"},
        click_orders=("txid",),
    ),
    # A `tid` is the serial number of an action of one click. The page's own examples have
    # `rejected=` and `ignore=`, too.
    "keitaro": Dialect(
        documentation="https://docs.keitaro.io/en/conversions-and-postback/postback.html",
        names={
            "subid": "click_id",
            "payout": "order_value",
            "revenue": "order_value",
            "tid": "order_id",
            "currency": "currency",
            "status": "status",
            "event": "event",
        },
        statuses={"lead": "pending", "sale": "approved", "rebill": "approved"},
        status_lists={
            "ignore_status": "ignored",
            "ignore": "ignored",
            "lead_status": "pending",
            "sale_status": "approved",
            "rejected_status": "rejected",
            "rejected": "rejected",
        },
        click_orders=("tid",),
    ),
    # Events are numbers that belong to a click: https://docs.binom.org/events-v2.php
    "binom": Dialect(
        documentation="https://docs.binom.org/postback-url.php",
        names={
            "cnv_id": "click_id",
            "clickid": "click_id",
            "payout": "order_value",
            "cnv_currency": "currency",
            "cnv_status": "status",
            "order_id": "order_id",
        },
        texts={"cnv_status2": "adv1"},
        event_ids=tuple((f"{word}{n}",) for word in ("event", "add_event") for n in range(1, 31)),
        base_events=(),
    ),
    # Post-conversion events: https://developers.everflow.io/sdk/conversion-tracking
    "everflow": Dialect(
        documentation="https://helpdesk.everflow.io/customer/accessing-editing-s2s-postback-urls",
        names={
            "transaction_id": "click_id",
            "amount": "order_value",
            "order_id": "order_id",
            "currency": "currency",
            "coupon_code": "coupon_code",
            "status": "status",
            "email": "customer_email",
            "user_id": "customer_id",
        },
        texts=OWN_TEXTS,
        event_ids=(("event_id", "adv_event_id"),),
    ),
    # A unique id is "global within your network"; an advertiser's sub id is any text. Goals:
    # https://support.tune.com/hc/en-us/articles/1500005263402-Offer-Goals
    "tune": Dialect(
        documentation="https://support.tune.com/hc/en-us/articles/4413247665431-Receiving-Conversions-via-Postback-URL",
        names={
            "transaction_id": "click_id",
            "amount": "order_value",
            "conversion_unique_id": "order_id",
            "adv_sub": "order_id",
            "currency": "currency",
            "promo_code": "coupon_code",
            "status": "status",
        },
        texts={"adv_sub": "adv1"} | {f"adv_sub{n}": f"adv{n}" for n in range(2, 6)},
        click_orders=("adv_sub",),
        event_ids=(("goal_id", "goal_ref", "goal_name"),),
    ),
    # `type` and `rdtk_event_id` tell conversions of one click apart:
    # https://help.redtrack.io/knowledgebase/kb/basic-setup-9785/offer-sources-brand-related-settings-9830/duplicate-postback-settings/
    "redtrack": Dialect(
        documentation="https://help.redtrack.io/knowledgebase/kb/conversion-tracking/supported-dynamic-parameters",
        names={
            "clickid": "click_id",
            "sum": "order_value",
            "currency": "currency",
            "type": "event",
            "status": "status",
            "order_id": "order_id",
            "rdtk_event_id": "order_id",
        },
        events={"conversion": "", "purchase": "sale"},
        click_orders=("rdtk_event_id",),
        event_ids=(("rdtk_event_id",),),
        base_events=(),
    ),
    # "Only one sale event can be recorded for a given invoice ID".
    "dub": Dialect(
        documentation="https://dub.co/docs/api-reference/endpoint/track-sale",
        names={
            "clickId": "click_id",
            "amount": "order_value",
            "currency": "currency",
            "invoiceId": "order_id",
            "customerExternalId": "customer_id",
            "externalId": "customer_id",
            "customerEmail": "customer_email",
            "status": "status",
        },
        texts={"eventName": "adv1"},
        event_ids=(("eventName",), ("leadEventName",)),
        base_events=("purchase",),
        orders_are_whole=True,
        minor_units=True,
        leads_have_no_amount=True,
    ),
}
