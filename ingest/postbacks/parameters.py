"""A postback's parameters read as the conversion that they tell of; pure."""

import hmac
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Literal
from urllib.parse import parse_qsl, urlencode

import msgspec

from ingest.conversions.body import ConversionPost, parse_carefully
from ingest.postbacks.dialects import STATUSES, Dialect
from linkjolt.money import CURRENCIES, check_currency
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

RETURN_MAX_CHARACTERS = 256
_PARAMETERS_MAX = 100
_SIGNED_SECONDS = 300
# A macro that nobody filled in: networks send them as they stand in the saved URL.
_PLACEHOLDER = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|#[A-Za-z_]+#|REPLACE|\{\{[^{}]*\}\}")
_NO_EVENT = re.compile(r"[^a-z0-9]+")
_SIGNATURE = re.compile(rb"(?s)(.*)&sig=([0-9a-fA-F]{64})\Z")
Status = Literal["pending", "approved", "rejected"]


class Postback(msgspec.Struct, frozen=True):
    """What is to be recorded; `status` None leaves it to the campaign, `value_given` tells sums."""

    post: ConversionPost
    status: Status | None
    value_given: bool


class Signed(msgspec.Struct, frozen=True):
    """A query that is signed: by which key, when, and over what."""

    key: int
    at_seconds: int
    text: bytes
    signature: str


def read_pairs(query: bytes) -> dict[str, str]:
    """The parameters of a query or a form, empty ones and unfilled macros left out.

    Rejected where one is given twice with different values, or there are too many.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_PARAMETERS_MAX
        )
    except (UnicodeDecodeError, ValueError):
        message = f"must be ASCII, of at most {_PARAMETERS_MAX} parameters"
        raise Rejected(Reason.bad_request, message) from None
    found: dict[str, str] = {}
    for name, value in pairs:
        text = value.strip()
        if not text or _PLACEHOLDER.fullmatch(text):
            continue
        if found.setdefault(name, text) != text:
            raise Rejected(Reason.invalid_field, "is given twice", field=name[:64])
    return found


def read_postback(dialect: Dialect, given: Mapping[str, str], default_currency: str) -> Postback:
    """The postback; Rejected, naming the parameter as it was sent, for what it cannot mean.

    Without an order id the click is the order: a network tells of one conversion a click and
    event, and may tell it again. Without an event it is a sale, without an amount one of 0, so that
    a later postback of it, with an amount or a status alone, is of the same conversion.
    `default_currency` is in what minor units are where none is named.
    """
    sent_as: dict[str, str] = {}
    fields: dict[str, str] = {}
    for name, ours in dialect.names.items():
        if name in given and ours not in fields:
            fields[ours], sent_as[ours] = given[name], name
    status = _status(dialect, fields.pop("status", None), sent_as)
    fields["event"] = _event(dialect, fields.get("event"))
    if "currency" in fields:
        fields["currency"] = fields["currency"].upper()
    if "order_value" in fields:
        currency = fields.get("currency", default_currency)
        fields["order_value"] = _value(dialect, fields["order_value"], currency, sent_as)
    if "order_id" not in fields and "click_id" in fields:
        fields["order_id"] = fields["click_id"]
    value_given = "order_value" in fields
    fields.setdefault("order_value", "0")
    if status in ("pending", "approved"):
        fields["status"] = status
    try:
        post = parse_carefully(msgspec.json.encode(fields))
    except Rejected as error:
        field = sent_as.get(error.field, error.field)
        raise Rejected(error.reason, error.message, field=field) from None
    return Postback(post, status, value_given)


def _status(dialect: Dialect, word: str | None, sent_as: Mapping[str, str]) -> Status | None:
    if word is None:
        return None
    known = dialect.statuses.get(word.lower()) or STATUSES.get(word.lower())
    match known:
        case "pending" | "approved" | "rejected":
            return known
        case _:
            message = f"{word[:40]!r} is no status that is known"
            raise Rejected(Reason.invalid_field, message, field=sent_as["status"])


def _event(dialect: Dialect, word: str | None) -> str:
    event = _NO_EVENT.sub("_", (word or "").lower()).strip("_")
    return dialect.events.get(event, event) or "sale"


def _value(dialect: Dialect, text: str, currency: str, sent_as: Mapping[str, str]) -> str:
    """The amount in major units; a comma for the decimal point is read as one."""
    field = sent_as["order_value"]
    plain = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    if not dialect.minor_units:
        return plain
    check_currency(currency, sent_as.get("currency", "currency"))
    try:
        minor = Decimal(plain)
    except InvalidOperation:
        raise Rejected(Reason.invalid_field, "must be a whole number", field=field) from None
    if not minor.is_finite() or minor != minor.to_integral_value() or abs(minor) > 10**15:
        raise Rejected(Reason.invalid_field, "must be a whole number", field=field)
    return str(minor.scaleb(-CURRENCIES[currency]))


def returned_text(given: Mapping[str, str]) -> str:
    """The answer that a caller wants to read; `OK` unless it says another."""
    text = given.get("return", "OK")
    if len(text) > RETURN_MAX_CHARACTERS or not text.isprintable():
        message = f"must be at most {RETURN_MAX_CHARACTERS} printable characters"
        raise Rejected(Reason.invalid_field, message, field="return")
    return text


def json_pairs(body: bytes) -> bytes:
    """The fields of a JSON object as a query, for `read_pairs`; Rejected for other JSON."""
    pairs: list[tuple[str, str]] = []
    for name, raw in requests.decode(body, dict[str, msgspec.Raw]).items():
        text = bytes(raw)
        if text[:1] in b"[{":
            raise Rejected(Reason.invalid_field, "must be a text or a number", field=name[:64])
        if text != b"null":
            # A number stays as it is written: 9.90 never passes through a float.
            pairs.append((name, requests.decode(text, str) if text[:1] == b'"' else text.decode()))
    return urlencode(pairs).encode()


def read_signed(query: bytes) -> Signed | None:
    """A signed query taken apart; None where it is not signed. Rejected where it is half so."""
    if b"sig=" not in query:
        return None
    match = _SIGNATURE.fullmatch(query)
    given = dict(parse_qsl(match[1].decode("latin-1"))) if match else {}
    prefix, _, digits = given.get("key_id", "").partition("_")
    at = given.get("ts", "")
    sound = prefix == "key" and digits.isdecimal() and at.isdecimal() and len(digits + at) <= 20
    if match is None or not sound:
        message = "goes last, after key_id=key_... and ts=, in 64 hexadecimal digits"
        raise Rejected(Reason.unauthorized, message, field="sig")
    return Signed(int(digits), int(at), match[1], match[2].decode().lower())


def verify(signed: Signed, digest: str, now_seconds: float) -> None:
    """Rejected unless the query is signed, of late, by the key with this SHA-256 in hex."""
    wanted = hmac.new(digest.encode(), signed.text, sha256).hexdigest()
    if not hmac.compare_digest(wanted, signed.signature):
        raise Rejected(Reason.unauthorized, "is not by this key", field="sig")
    if abs(now_seconds - signed.at_seconds) > _SIGNED_SECONDS:
        raise Rejected(Reason.unauthorized, "is over 5 minutes off", field="ts")
