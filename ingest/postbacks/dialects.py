"""Declares the postback dialects of trackers and networks, as documented by each vendor.

Saved postback URLs keep working: vendors' names map to ours, their status words to our three
statuses, and anything else is ignored.
"""

import msgspec

_APPROVED = "approved approve confirmed confirm accepted accept success paid completed 1"
_PENDING = "pending hold new wait waiting created processing unconfirmed"
_REJECTED = (
    "rejected reject declined decline cancelled canceled cancel trash fraud chargeback"
    " refunded refund void voided invalid returned"
)
STATUS_BY_WORD: dict[str, str] = {
    word: status
    for status, words in (
        ("approved", _APPROVED),
        ("pending", _PENDING),
        ("rejected", _REJECTED),
    )
    for word in words.split()
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
    "adv1": "adv1",
    "adv2": "adv2",
    "adv3": "adv3",
    "adv4": "adv4",
    "adv5": "adv5",
}


class Dialect(msgspec.Struct, frozen=True):
    """A vendor's names for parameters, and its additional words for statuses and events.

    `documentation` is the page they are taken from. `minor_units`: amounts are whole numbers of
    the currency's smallest unit.
    """

    documentation: str
    names: dict[str, str]
    statuses: dict[str, str] = {}
    events: dict[str, str] = {}
    minor_units: bool = False


DIALECTS: dict[str, Dialect] = {
    "linkjolt": Dialect(documentation="docs/postbacks.md", names=OWN_PARAMETERS),
    "voluum": Dialect(
        documentation="https://doc.voluum.com/article/parameters-in-postback-urls",
        names={
            "cid": "click_id",
            "payout": "order_value",
            "txid": "order_id",
            "currency": "currency",
            "et": "event",
            "status": "status",
            **{f"param{n}": f"adv{n}" for n in range(1, 6)},
        },
    ),
    "keitaro": Dialect(
        documentation="https://docs.keitaro.io/en/conversions/postback.html",
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
    ),
    "binom": Dialect(
        documentation="https://docs.binom.org/postback-url.php",
        names={
            "cnv_id": "click_id",
            "clickid": "click_id",
            "payout": "order_value",
            "cnv_currency": "currency",
            "cnv_status": "status",
            "cnv_status2": "adv1",
            "order_id": "order_id",
        },
    ),
    "everflow": Dialect(
        documentation="https://helpdesk.everflow.io/customer/accessing-editing-s2s-postback-urls",
        names={
            "transaction_id": "click_id",
            "amount": "order_value",
            "order_id": "order_id",
            "currency": "currency",
            "coupon_code": "coupon_code",
            "status": "status",
            **{f"adv{n}": f"adv{n}" for n in range(1, 6)},
        },
    ),
    "tune": Dialect(
        documentation="https://support.tune.com/hc/en-us/articles/4413247665431-Receiving-Conversions-via-Postback-URL",
        names={
            "transaction_id": "click_id",
            "amount": "order_value",
            "adv_sub": "order_id",
            "currency": "currency",
            "promo_code": "coupon_code",
            "status": "status",
            **{f"adv_sub{n}": f"adv{n}" for n in range(2, 6)},
        },
    ),
    "redtrack": Dialect(
        documentation="https://help.redtrack.io/knowledgebase/kb/conversion-tracking/supported-dynamic-parameters",
        names={
            "clickid": "click_id",
            "sum": "order_value",
            "currency": "currency",
            "type": "event",
            "status": "status",
            "order_id": "order_id",
        },
        events={"conversion": "", "purchase": "sale"},
    ),
    "dub": Dialect(
        documentation="https://dub.co/docs/api-reference/endpoint/track-sale",
        names={
            "clickId": "click_id",
            "amount": "order_value",
            "currency": "currency",
            "invoiceId": "order_id",
            "eventName": "adv1",
            "customerExternalId": "customer_id",
            "status": "status",
        },
        minor_units=True,
    ),
}
