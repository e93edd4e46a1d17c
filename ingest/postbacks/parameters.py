"""Parses a postback's parameters into a conversion; pure."""

import hmac
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from hashlib import sha256
from typing import Literal
from urllib.parse import parse_qsl, urlencode

import msgspec

from ingest.conversions.body import ConversionPost, parse_carefully
from ingest.postbacks.dialects import STATUS_BY_WORD, Dialect
from linkjolt.money import CURRENCIES, check_currency
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

RETURN_MAX_CHARACTERS = 256
_PARAMETERS_MAX = 100
_SIGNED_SECONDS = 300
# Unfilled macros: networks send them exactly as written in the saved URL.
_PLACEHOLDER = re.compile(r"\{[^{}]*\}|\[[^\[\]]*\]|#[A-Za-z_]+#|REPLACE|\{\{[^{}]*\}\}")
_NOT_EVENT_CHARACTERS = re.compile(r"[^a-z0-9]+")
_SIGNATURE = re.compile(rb"(?s)(.*)&sig=([0-9a-fA-F]{64})\Z")
Status = Literal["pending", "approved", "rejected"]


class Postback(msgspec.Struct, frozen=True):
    """A parsed postback; `status` None leaves the status to the campaign."""

    post: ConversionPost
    status: Status | None
    has_value: bool


class SignedQuery(msgspec.Struct, frozen=True):
    """A signed query: the key's number, the instant in seconds, the signed bytes."""

    key_number: int
    signed_at: int
    signed_bytes: bytes
    signature: str


def read_parameters(query: bytes) -> dict[str, str]:
    """Parses the parameters of a query or form, without empty ones and unfilled macros.

    Rejected for two different values of one parameter, or for too many parameters.
    """
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_PARAMETERS_MAX
        )
    except (UnicodeDecodeError, ValueError):
        message = f"must be ASCII, of at most {_PARAMETERS_MAX} parameters"
        raise Rejected(Reason.bad_request, message) from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
        text = value.strip()
        if not text or _PLACEHOLDER.fullmatch(text):
            continue
        if parameters.setdefault(name, text) != text:
            raise Rejected(Reason.invalid_field, "is given twice", field=name[:64])
    return parameters


def read_postback(
    dialect: Dialect, parameters: Mapping[str, str], default_currency: str
) -> Postback:
    """Parses a postback; Rejected, naming the parameter as it was sent, where it is invalid.

    Without an order id the click is the order: a network reports one conversion per click and
    event, perhaps repeatedly. The event defaults to a sale and the amount to 0, so that a later
    postback with only an amount or a status belongs to the same conversion.
    `default_currency` decides minor units where no currency is named.
    """
    sent_as: dict[str, str] = {}
    fields: dict[str, str] = {}
    for name, field in dialect.names.items():
        if name in parameters and field not in fields:
            fields[field], sent_as[field] = parameters[name], name
    status = _status(dialect, fields.pop("status", None), sent_as)
    fields["event"] = _event(dialect, fields.get("event"))
    if "currency" in fields:
        fields["currency"] = fields["currency"].upper()
    if "order_value" in fields:
        currency = fields.get("currency", default_currency)
        fields["order_value"] = _order_value(dialect, fields["order_value"], currency, sent_as)
    if "order_id" not in fields and "click_id" in fields:
        fields["order_id"] = fields["click_id"]
    has_value = "order_value" in fields
    fields.setdefault("order_value", "0")
    if status in ("pending", "approved"):
        fields["status"] = status
    try:
        post = parse_carefully(msgspec.json.encode(fields))
    except Rejected as error:
        field = sent_as.get(error.field, error.field)
        raise Rejected(error.reason, error.message, field=field) from None
    return Postback(post, status, has_value)


def _status(dialect: Dialect, word: str | None, sent_as: Mapping[str, str]) -> Status | None:
    if word is None:
        return None
    status = dialect.statuses.get(word.lower()) or STATUS_BY_WORD.get(word.lower())
    match status:
        case "pending" | "approved" | "rejected":
            return status
        case _:
            message = f"{word[:40]!r} is no status that is known"
            raise Rejected(Reason.invalid_field, message, field=sent_as["status"])


def _event(dialect: Dialect, word: str | None) -> str:
    event = _NOT_EVENT_CHARACTERS.sub("_", (word or "").lower()).strip("_")
    return dialect.events.get(event, event) or "sale"


def _order_value(dialect: Dialect, text: str, currency: str, sent_as: Mapping[str, str]) -> str:
    """Converts an amount to major units; accepts a comma as the decimal point."""
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


def requested_answer(parameters: Mapping[str, str]) -> str:
    """Returns the answer that the caller asks for, `OK` by default."""
    text = parameters.get("return", "OK")
    if len(text) > RETURN_MAX_CHARACTERS or not text.isprintable():
        message = f"must be at most {RETURN_MAX_CHARACTERS} printable characters"
        raise Rejected(Reason.invalid_field, message, field="return")
    return text


def json_to_query(body: bytes) -> bytes:
    """Encodes a JSON object as a query for `read_parameters`; Rejected for other JSON."""
    pairs: list[tuple[str, str]] = []
    for name, raw in requests.decode(body, dict[str, msgspec.Raw]).items():
        text = bytes(raw)
        if text[:1] in b"[{":
            raise Rejected(Reason.invalid_field, "must be a text or a number", field=name[:64])
        if text != b"null":
            # A number keeps its digits: 9.90 never passes through a float.
            pairs.append((name, requests.decode(text, str) if text[:1] == b'"' else text.decode()))
    return urlencode(pairs).encode()


def read_signed_query(query: bytes) -> SignedQuery | None:
    """Parses a signed query; None where it is unsigned, Rejected where it is malformed."""
    if b"sig=" not in query:
        return None
    match = _SIGNATURE.fullmatch(query)
    parameters = dict(parse_qsl(match[1].decode("latin-1"))) if match else {}
    prefix, _, digits = parameters.get("key_id", "").partition("_")
    signed_at = parameters.get("ts", "")
    is_valid = (
        prefix == "key"
        and digits.isdecimal()
        and signed_at.isdecimal()
        and len(digits + signed_at) <= 20
    )
    if match is None or not is_valid:
        message = "goes last, after key_id=key_... and ts=, in 64 hexadecimal digits"
        raise Rejected(Reason.unauthorized, message, field="sig")
    return SignedQuery(int(digits), int(signed_at), match[1], match[2].decode().lower())


def verify_signature(signed: SignedQuery, digest: str, now_seconds: float) -> None:
    """Verifies a recent signature by the key with this SHA-256 in hex; else Rejected."""
    expected = hmac.new(digest.encode(), signed.signed_bytes, sha256).hexdigest()
    if not hmac.compare_digest(expected, signed.signature):
        raise Rejected(Reason.unauthorized, "is not by this key", field="sig")
    if abs(now_seconds - signed.signed_at) > _SIGNED_SECONDS:
        raise Rejected(Reason.unauthorized, "is over 5 minutes off", field="ts")
