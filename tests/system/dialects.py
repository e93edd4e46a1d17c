"""Declares the parameter names and statuses of some networks' postbacks."""

# By dialect: its parameters for click, order and amount, and its words for a status.
_WORDS = {"pending": "hold", "approved": "confirmed", "rejected": "declined"}
_KEITARO = {"pending": "lead", "approved": "sale", "rejected": "rejected"}
DIALECTS = {
    "keitaro": ("subid", "tid", "payout", _KEITARO),
    "voluum": ("cid", "txid", "payout", _WORDS),
    "tune": ("transaction_id", "adv_sub", "amount", _WORDS),
    "everflow": ("transaction_id", "order_id", "amount", _WORDS),
    "dub": ("clickId", "invoiceId", "amount", _WORDS),
}
