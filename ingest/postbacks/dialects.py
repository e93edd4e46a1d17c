"""How trackers and networks name what a postback says: each dialect as declared by its vendor.

A saved postback URL keeps working: their names are mapped to ours, their words for a status to
the three that there are, and what has no place here is ignored.
"""

import msgspec

_APPROVED = "approved approve confirmed confirm accepted accept success paid completed 1"
_PENDING = "pending hold new wait waiting created processing unconfirmed"
_REJECTED = (
    "rejected reject declined decline cancelled canceled cancel trash fraud chargeback"
    " refunded refund void voided invalid returned"
)
STATUSES: dict[str, str] = {
    word: status
    for status, words in (
        ("approved", _APPROVED),
        ("pending", _PENDING),
        ("rejected", _REJECTED),
    )
    for word in words.split()
}
# Ours, by which every dialect but the vendor's own names may be mixed in.
OWN: dict[str, str] = {
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
    """`names` maps the vendor's parameters to ours, `statuses` his words that others lack.

    `events` are his words for our events. `minor_units`: amounts are whole cents, or whatever the
    currency's least unit is. `page` is where the vendor declares it.
    """

    page: str
    names: dict[str, str]
    statuses: dict[str, str] = {}
    events: dict[str, str] = {}
    minor_units: bool = False


DIALECTS: dict[str, Dialect] = {
    "linkjolt": Dialect(page="docs/postbacks.md", names=OWN),
    "voluum": Dialect(
        page="https://doc.voluum.com/article/parameters-in-postback-urls",
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
        page="https://docs.keitaro.io/en/conversions/postback.html",
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
        page="https://docs.binom.org/postback-url.php",
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
        page="https://helpdesk.everflow.io/customer/accessing-editing-s2s-postback-urls",
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
        page="https://support.tune.com/hc/en-us/articles/4413247665431-Receiving-Conversions-via-Postback-URL",
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
        page="https://help.redtrack.io/knowledgebase/kb/conversion-tracking/supported-dynamic-parameters",
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
        page="https://dub.co/docs/api-reference/endpoint/track-sale",
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
