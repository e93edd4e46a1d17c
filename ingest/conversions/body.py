"""The body of a posted conversion: its fields, their rules, their aliases."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2s
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from linkjolt.click_ids import LENGTH
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

_COMPOSITE = re.compile(rf"(.{{1,64}})_aff_([A-Za-z0-9]+)_cid_([0-9A-Z]{{{LENGTH}}})\Z")
_EMAIL = re.compile(r"[^@\s]{1,64}@[^@\s]{1,255}\Z")

# They have no place in a name and break every list they are shown in.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TEXTS = (
    *("tracking_code", "click_id", "campaign_id", "affiliate_id", "order_id", "customer_id"),
    *("coupon_code", "adv1", "adv2", "adv3", "adv4", "adv5"),
)
Text64 = Annotated[str, Meta(min_length=1, max_length=64)]
Text128 = Annotated[str, Meta(min_length=1, max_length=128)]
Text256 = Annotated[str, Meta(max_length=256)]


class ConversionPost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A conversion as a merchant posts it; API 2 gives the rules."""

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
_encode_said = msgspec.json.Encoder(order="deterministic").encode


def parse_post(body: bytes) -> ConversionPost:
    """A posted JSON object; Rejected, naming the field as it was sent, for anything else."""
    try:
        post = _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Aliases among the names, or something wrong: a quarter of the speed, and it says what.
        return _split_composite(parse_carefully(body))
    if b"[" in body or body.count(b"{") > 1:
        requests.check_depth(body)
    _check(post, body)
    return _split_composite(post)


def parse_carefully(body: bytes) -> ConversionPost:
    """As `parse_post`, for whatever is posted: aliases, and refusals that name what was sent."""
    fields = requests.decode(body, dict[str, msgspec.Raw])
    sent_as: dict[str, str] = {}
    for name in fields:
        canonical = ALIASES.get(name, name)
        if canonical in sent_as:
            message = f"is given twice, also as {sent_as[canonical]}"
            raise Rejected(Reason.invalid_field, message, field=name)
        sent_as[canonical] = name
    try:
        post = requests.decode(_renamed(fields), ConversionPost)
        _check(post, body)
    except Rejected as error:
        field = sent_as.get(error.field, error.field)
        raise Rejected(error.reason, error.message, field=field) from None
    return post


def _renamed(fields: Mapping[str, msgspec.Raw]) -> bytes:
    # Put together from the raw values, so that 99.99 never passes through a float.
    pairs = [msgspec.json.encode(ALIASES.get(n, n)) + b":" + bytes(v) for n, v in fields.items()]
    return b"{" + b",".join(pairs) + b"}"


def _check(post: ConversionPost, body: bytes) -> None:
    # JSON holds a control character as an escape, but for the last of them.
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
    # Their parts are kept as they came: nothing has looked into them yet.
    for field, value in (("items", post.items), ("metadata", post.metadata)):
        try:
            _plain(value)
        except UnicodeDecodeError as error:
            raise Rejected(Reason.malformed_json, f"is not JSON: {error}") from None
        except msgspec.DecodeError as error:
            message = f"cannot be read: {error}".replace("`", "")
            raise Rejected(Reason.invalid_field, message, field=field) from None
    if post.metadata and len(encode_raw(post.metadata)) > METADATA_MAX_BYTES:
        message = f"is over {METADATA_MAX_BYTES} bytes"
        raise Rejected(Reason.invalid_field, message, field="metadata")


def _check_texts(post: ConversionPost) -> None:
    for name in _TEXTS:
        if _CONTROL.search(getattr(post, name) or ""):
            raise Rejected(Reason.invalid_field, "has control characters", field=name)
    if any(_CONTROL.search(click_id) for click_id in post.click_ids or ()):
        raise Rejected(Reason.invalid_field, "has control characters", field="click_ids")


def _split_composite(post: ConversionPost) -> ConversionPost:
    """`tc_X_aff_Y_cid_Z` taken apart into tracking code, affiliate and click id."""
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
    """All clicks that a post names."""
    return [*([post.click_id] if post.click_id else []), *(post.click_ids or ())]


def first_click_id(post: ConversionPost) -> str:
    """The first of them, '' for none."""
    return post.click_id or (post.click_ids[0] if post.click_ids else "")


def encode_raw(value: object) -> str:
    """Compact JSON text of a value that may hold raw parts; '' for None."""
    return "" if value is None else msgspec.json.encode(value).decode()


def time_of(post: ConversionPost, now_ms: int) -> int:
    """When the conversion happened, UTC milliseconds; not after `now_ms` by over 5 minutes."""
    if post.timestamp is None:
        return now_ms
    time_ms = int(post.timestamp.timestamp() * 1000)
    if time_ms > now_ms + FUTURE_MAX_MS:
        raise Rejected(Reason.invalid_field, "is in the future", field="timestamp")
    if time_ms < _EARLIEST_MS:
        raise Rejected(Reason.invalid_field, "is before the year 2000", field="timestamp")
    return time_ms


def customer_hash(email: str | None, key: bytes) -> str:
    """Keyed BLAKE2s of the e-mail, trimmed and in lower case: all that is kept of it."""
    if email is None:
        return ""
    hashed = _keyed(key).copy()
    hashed.update(email.strip().lower().encode())
    return hashed.hexdigest()


@lru_cache(maxsize=4)
def _keyed(key: bytes) -> "blake2s":
    # The key's block is hashed once, not for every e-mail.
    return blake2s(key=key, digest_size=16)


def fingerprint(post: ConversionPost, order_value_minor: int, currency: str) -> str:
    """Equal for posts that say the same, however their JSON is written."""
    email, at = post.customer_email, post.timestamp
    said = (
        post.tracking_code,
        post.click_id,
        post.campaign_id,
        post.affiliate_id,
        order_value_minor,
        currency,
        email.strip().lower() if email else "",
        post.customer_id,
        post.status,
        at and at.astimezone(UTC),
        post.items and _plain(post.items),
        post.coupon_code,
        post.metadata and _plain(post.metadata),
        (post.adv1, post.adv2, post.adv3, post.adv4, post.adv5),
    )
    if post.click_ids:
        # At the end, and only where there are any: a kept fingerprint stays what it was.
        said = (*said, post.click_ids)
    return blake2s(_encode_said(said), digest_size=16).hexdigest()


def _plain(value: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(value))
