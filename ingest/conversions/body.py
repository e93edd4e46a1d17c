"""Parses the body of a posted conversion: its fields, their rules, their aliases."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2s
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from linkjolt.click_ids import CLICK_ID_LENGTH
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

ALIASES = {
    "trackingCode": "tracking_code",
    "clickId": "click_id",
    "clickIds": "click_ids",
    "orderId": "order_id",
    "amount": "order_value",
    "orderValue": "order_value",
    "customerEmail": "customer_email",
    "customerId": "customer_id",
    "couponCode": "coupon_code",
    "campaignId": "campaign_id",
    "affiliateId": "affiliate_id",
}
METADATA_MAX_BYTES = 4_096
ITEMS_MAX = 200
CLICKS_MAX = 20
EVENTS = ("sale", "lead", "signup", "rebill")
_ORDER_EVENTS = ("sale", "rebill")
FUTURE_MAX_MS = 5 * 60_000
_EARLIEST_MS = 946_684_800_000  # 2000-01-01

_COMPOSITE = re.compile(rf"(.{{1,64}})_aff_([A-Za-z0-9]+)_cid_([0-9A-Z]{{{CLICK_ID_LENGTH}}})\Z")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}\Z")

# Control characters are invalid in names and break every list that shows them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TEXT_FIELDS = (
    *("tracking_code", "click_id", "campaign_id", "affiliate_id", "order_id", "customer_id"),
    *("coupon_code", "adv1", "adv2", "adv3", "adv4", "adv5"),
)
Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
Text128 = Annotated[str, Meta(min_length=1, max_length=128)]
Text256 = Annotated[str, Meta(max_length=256)]


class ConversionPost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversion to record; it names a click, a tracking code or a coupon."""

    tracking_code: Text128 | None = None
    click_id: Text128 | None = None
    campaign_id: Text64 | None = None
    affiliate_id: Text64 | None = None
    order_id: Text128 | None = None
    order_value: Decimal | None = None
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    event: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]{0,31}\Z")] = "sale"
    customer_email: Annotated[str, Meta(max_length=320)] | None = None
    customer_id: Text128 | None = None
    status: Literal["pending", "approved"] | None = None
    timestamp: Annotated[datetime, Meta(tz=True)] | None = None
    items: Annotated[list[dict[str, msgspec.Raw]], Meta(max_length=ITEMS_MAX)] | None = None
    coupon_code: Text128 | None = None
    metadata: dict[str, msgspec.Raw] | None = None
    adv1: Text256 = ""
    adv2: Text256 = ""
    adv3: Text256 = ""
    adv4: Text256 = ""
    adv5: Text256 = ""
    click_ids: Annotated[list[Text128], Meta(max_length=CLICKS_MAX)] | None = None


_read = msgspec.json.Decoder(ConversionPost).decode
_encode_canonical = msgspec.json.Encoder(order="deterministic").encode


def parse_post(body: bytes) -> ConversionPost:
    """Parses a posted JSON object; Rejected, naming the field as it was sent, for anything else."""
    try:
        post = _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Aliases, or an error: parse again at a quarter of the speed, to name the field.
        return _split_composite(parse_carefully(body))
    if b"[" in body or body.count(b"{") > 1:
        requests.check_depth(body)
    _check(post, body)
    return _split_composite(post)


def parse_carefully(body: bytes) -> ConversionPost:
    """As `parse_post`, with aliases, and with refusals that name the field as it was sent."""
    fields = requests.decode(body, dict[str, msgspec.Raw])
    sent_as: dict[str, str] = {}
    for name in fields:
        canonical = ALIASES.get(name, name)
        if canonical in sent_as:
            message = f"is given twice, also as {sent_as[canonical]}"
            raise Rejected(Reason.invalid_field, message, field=name)
        sent_as[canonical] = name
    try:
        post = requests.decode(_rename_aliases(fields), ConversionPost)
        _check(post, body)
    except Rejected as error:
        field = sent_as.get(error.field, error.field)
        raise Rejected(error.reason, error.message, field=field) from None
    return post


def _rename_aliases(fields: Mapping[str, msgspec.Raw]) -> bytes:
    # Composed of the raw values, so that 99.99 never passes through a float.
    pairs = [msgspec.json.encode(ALIASES.get(n, n)) + b":" + bytes(v) for n, v in fields.items()]
    return b"{" + b",".join(pairs) + b"}"


def _check(post: ConversionPost, body: bytes) -> None:
    # JSON escapes every control character except DEL.
    if b"\\" in body or b"\x7f" in body:
        _check_texts(post)
    if not (post.tracking_code or post.click_id or post.click_ids or post.coupon_code):
        message = "or click_id is required"
        raise Rejected(Reason.missing_field, message, field="tracking_code")
    if post.event in _ORDER_EVENTS:
        if post.order_id is None:
            raise Rejected(Reason.missing_field, "is required", field="order_id")
        if post.order_value is None:
            raise Rejected(Reason.missing_field, "is required", field="order_value")
    if post.customer_email is not None and not _EMAIL.match(post.customer_email.strip()):
        raise Rejected(Reason.invalid_field, "is not an e-mail address", field="customer_email")
    if post.items is not None or post.metadata is not None:
        _check_nested(post)


def _check_nested(post: ConversionPost) -> None:
    # Their members are still raw, and have not been validated.
    for field, value in (("items", post.items), ("metadata", post.metadata)):
        try:
            _decode_raw(value)
        except UnicodeDecodeError as error:
            raise Rejected(Reason.malformed_json, f"the body is not JSON: {error}") from None
        except msgspec.DecodeError as error:
            message = f"cannot be read: {error}".replace("`", "")
            raise Rejected(Reason.invalid_field, message, field=field) from None
    if post.metadata and len(encode_raw(post.metadata)) > METADATA_MAX_BYTES:
        message = f"is over {METADATA_MAX_BYTES} bytes"
        raise Rejected(Reason.invalid_field, message, field="metadata")


def _check_texts(post: ConversionPost) -> None:
    for name in _TEXT_FIELDS:
        if _CONTROL.search(getattr(post, name) or ""):
            raise Rejected(Reason.invalid_field, "has control characters", field=name)
    if any(_CONTROL.search(click_id) for click_id in post.click_ids or ()):
        raise Rejected(Reason.invalid_field, "has control characters", field="click_ids")


def _split_composite(post: ConversionPost) -> ConversionPost:
    """Splits `tc_X_aff_Y_cid_Z` into tracking code, affiliate and click id."""
    code = post.tracking_code or post.click_id or ""
    match = _COMPOSITE.match(code) if "_aff_" in code else None
    if not match:
        return post
    return msgspec.structs.replace(
        post,
        tracking_code=match[1],
        affiliate_id=post.affiliate_id or f"aff_{match[2]}",
        click_id=match[3],
    )


def click_ids(post: ConversionPost) -> list[str]:
    """Returns all click ids of a post."""
    return [*([post.click_id] if post.click_id else []), *(post.click_ids or ())]


def first_click_id(post: ConversionPost) -> str:
    """Returns a post's first click id, '' for none."""
    return post.click_id or (post.click_ids[0] if post.click_ids else "")


def encode_raw(value: object) -> str:
    """Encodes a value that may hold raw JSON as compact text; '' for None."""
    return "" if value is None else msgspec.json.encode(value).decode()


def conversion_time_ms(post: ConversionPost, now_ms: int) -> int:
    """Returns the conversion's instant in UTC milliseconds, at most 5 minutes after `now_ms`."""
    if post.timestamp is None:
        return now_ms
    time_ms = int(post.timestamp.timestamp() * 1000)
    if time_ms > now_ms + FUTURE_MAX_MS:
        raise Rejected(Reason.invalid_field, "is in the future", field="timestamp")
    if time_ms < _EARLIEST_MS:
        raise Rejected(Reason.invalid_field, "is before the year 2000", field="timestamp")
    return time_ms


def customer_hash(email: str | None, key: bytes) -> str:
    """Hashes an e-mail, trimmed and in lower case, with keyed BLAKE2s; only the hash is stored."""
    if email is None:
        return ""
    hashed = _keyed_hash(key).copy()
    hashed.update(email.strip().lower().encode())
    return hashed.hexdigest()


@lru_cache(maxsize=4)
def _keyed_hash(key: bytes) -> "blake2s":
    # Hashes the key's block once, not for every e-mail.
    return blake2s(key=key, digest_size=16)


def fingerprint(post: ConversionPost, order_value_minor: int, currency: str) -> str:
    """Hashes a post's content: equal for equal content, however its JSON is written."""
    email, timestamp = post.customer_email, post.timestamp
    canonical_fields = (
        post.tracking_code,
        post.click_id,
        post.campaign_id,
        post.affiliate_id,
        order_value_minor,
        currency,
        email.strip().lower() if email else "",
        post.customer_id,
        post.status,
        timestamp and timestamp.astimezone(UTC),
        post.items and _decode_raw(post.items),
        post.coupon_code,
        post.metadata and _decode_raw(post.metadata),
        (post.adv1, post.adv2, post.adv3, post.adv4, post.adv5),
    )
    if post.click_ids:
        # At the end, and only where there are any, so that stored fingerprints stay valid.
        canonical_fields = (*canonical_fields, post.click_ids)
    return blake2s(_encode_canonical(canonical_fields), digest_size=16).hexdigest()


def _decode_raw(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))
