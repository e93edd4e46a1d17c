"""Declares the parameter names and statuses of the networks' postbacks."""

from typing import NamedTuple

_WORDS = {"pending": "hold", "approved": "confirmed", "rejected": "declined"}
_KEITARO = {"pending": "lead", "approved": "sale", "rejected": "rejected"}


class Dialect(NamedTuple):
    """A dialect's parameters, its words for our statuses, and whether amounts are minor units."""

    click: str
    order: str
    amount: str
    currency: str = "currency"
    status: str = "status"
    words: dict[str, str] = _WORDS
    minor_units: bool = False


DIALECTS = {
    "linkjolt": Dialect("click_id", "order_id", "payout"),
    "keitaro": Dialect("subid", "tid", "payout", words=_KEITARO),
    "voluum": Dialect("cid", "txid", "payout"),
    "binom": Dialect("cnv_id", "order_id", "payout", "cnv_currency", "cnv_status"),
    "tune": Dialect("transaction_id", "adv_sub", "amount"),
    "everflow": Dialect("transaction_id", "order_id", "amount"),
    "redtrack": Dialect("clickid", "order_id", "sum"),
    "dub": Dialect("clickId", "invoiceId", "amount", minor_units=True),
}
