"""Parses the body of a posted conversion: its fields, their rules, their aliases."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from linkjolt.click_ids import CLICK_ID_LENGTH, canonical_click_id
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import posted_fields, requests
from linkjolt.web.json_structure import check_depth

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
_VALUE_EVENTS = ("sale", "rebill")
_NAME_SHOWN_MAX = 64
_BACKSLASH, _DELETE = 0x5C, 0x7F
FUTURE_MAX_MS = 5 * 60_000
_EARLIEST_MS = 946_684_800_000  # 2000-01-01

_COMPOSITE = re.compile(rf"(.{{1,64}})_aff_([A-Za-z0-9]+)_cid_([0-9A-Za-z]{{{CLICK_ID_LENGTH}}})\Z")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\x7f]{1,64}@[^@\s\x00-\x1f\x7f]{1,255}\Z")
_is_plain_email = re.compile(r"[!-?A-~]{1,64}+@[!-?A-~]{1,255}+").fullmatch
_is_plain_amount = re.compile(r"[0-9]+(?:\.[0-9]+)?").fullmatch
_is_upper = re.compile("[0-9A-HJKMNP-Z]+").fullmatch

# Control characters are invalid in names and break every list that shows them.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_IDENTIFIERS = (
    *("tracking_code", "click_id", "campaign_id", "affiliate_id"),
    *("order_id", "customer_id", "coupon_code"),
)
_ADVERTISER_TEXTS = ("adv1", "adv2", "adv3", "adv4", "adv5")
_READERS: dict[str, posted_fields.Reader] = {
    **dict.fromkeys(_IDENTIFIERS, posted_fields.read_identifier),
    **dict.fromkeys(_ADVERTISER_TEXTS, posted_fields.read_text),
    "click_id": posted_fields.read_click_id,
    "click_ids": posted_fields.read_click_ids,
    "order_value": posted_fields.read_amount,
    "currency": posted_fields.read_upper_case,
    "event": posted_fields.read_optional,
    "status": posted_fields.read_optional,
    "customer_email": posted_fields.read_identifier,
    "timestamp": posted_fields.read_instant,
    "items": posted_fields.read_members,
    "metadata": posted_fields.read_members,
}
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

    @property
    def notes(self) -> tuple[str, ...]:
        """Returns words for the sender about what was not taken as it was posted."""
        return ()


class NotedPost(ConversionPost, frozen=True, kw_only=True):
    """A post with notes. No sender can set them: it is not decoded."""

    noted: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        return self.noted


def with_notes(post: ConversionPost, notes: Sequence[str]) -> ConversionPost:
    """Adds notes to a post."""
    if not notes:
        return post
    fields = {name: getattr(post, name) for name in ConversionPost.__struct_fields__}
    return NotedPost(**fields, noted=(*post.notes, *notes))


_read = msgspec.json.Decoder(ConversionPost).decode
_read_values = msgspec.json.Decoder(dict[str, Any]).decode
_read_names = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def parse_post(body: bytes) -> ConversionPost:
    """Parses a posted JSON object; Rejected, naming the field as it was sent, for anything else."""
    try:
        post = _read(body)
        values = _read_values(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Aliases, values in other spellings, or an error: parse again at a quarter of the speed.
        return parse_carefully(body)
    # Mostly each colon is a name's, and no name is repeated.
    if body.count(b":") != len(values):
        check_depth(body)
        if not requests.has_every_name(values, body):
            requests.check_repeated_names(body)
    is_ascii = _BACKSLASH not in body and _DELETE not in body and body.isascii()
    if not _is_plain(post, values) or not (is_ascii or _has_plain_texts(post)):
        return parse_carefully(body)
    _check(post)
    return (
        _split_composite(post) if "_aff_" in (post.tracking_code or post.click_id or "") else post
    )


def _has_plain_texts(post: ConversionPost) -> bool:
    identifiers = [getattr(post, name) or "" for name in _IDENTIFIERS]
    texts = f"{post.adv1}{post.adv2}{post.adv3}{post.adv4}{post.adv5}"
    return "".join(identifiers).isascii() and f"{texts}{''.join(identifiers)}".isprintable()


def _is_plain(post: ConversionPost, values: Mapping[str, object]) -> bool:
    """Returns False where `parse_carefully` might read another value, if all texts are ASCII."""
    order_id, code, click_id = post.order_id, post.tracking_code, post.click_id
    customer_id, coupon, currency = post.customer_id, post.coupon_code, post.currency
    campaign, affiliate, email = post.campaign_id, post.affiliate_id, post.customer_email
    amount = values.get("order_value")
    # Written out: a loop takes twice the time.
    return (
        (order_id is None or order_id.strip() == order_id)
        and (code is None or code.strip() == code)
        and (email is None or _is_plain_email(email) is not None)
        and (type(amount) is not str or _is_plain_amount(amount) is not None)
        and (click_id is None or _is_plain_click_id(click_id))
        and (currency is None or currency.strip().upper() == currency)
        and (customer_id is None or customer_id.strip() == customer_id)
        and (coupon is None or coupon.strip() == coupon)
        and (campaign is None or campaign.strip() == campaign)
        and (affiliate is None or affiliate.strip() == affiliate)
        and (post.items is None or bool(post.items))
        and (post.metadata is None or bool(post.metadata))
        and post.click_ids is None
    )


def _is_plain_click_id(text: str) -> bool:
    is_upper = len(text) != CLICK_ID_LENGTH or _is_upper(text) is not None
    return is_upper and text.strip() == text


def parse_carefully(body: bytes) -> ConversionPost:
    """As `parse_post`, for every spelling of names and values that shops send."""
    check_depth(body)
    fields = requests.decode_value(body, dict[str, msgspec.Raw])
    requests.check_repeated_names(body)
    sent_as: dict[str, str] = {}
    for name in fields:
        canonical = ALIASES.get(name, name)
        if canonical in sent_as:
            message = f"is given twice, also as {sent_as[canonical]}"
            raise Rejected(Reason.invalid_field, message, field=name)
        sent_as[canonical] = name
    try:
        post = _read_fields({ALIASES.get(name, name): raw for name, raw in fields.items()})
    except Rejected as error:
        raise _renamed(error, sent_as) from None
    return _split_composite(post)


def _read_fields(fields: Mapping[str, msgspec.Raw]) -> ConversionPost:
    values = posted_fields.read_values(fields, _READERS)
    email = values.get("customer_email", b"")
    if email[:1] == b'"' and not _EMAIL.match(requests.decode_value(email, str)):
        # A sale is worth more than an address that nobody checked.
        del values["customer_email"]
    else:
        email = b""
    post = requests.decode_value(posted_fields.join_values(values), ConversionPost)
    _check_texts(post)
    _check(post)
    return with_notes(post, ["customer_email_ignored"]) if email else post


def named_as_sent(error: Rejected, body: bytes) -> Rejected:
    """Returns a refusal of a post under the alias by which its body names the field."""
    try:
        names = _read_names(body.removeprefix(requests.BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return error
    return _renamed(error, {ALIASES.get(name, name): name for name in names})


def _renamed(error: Rejected, sent_as: Mapping[str, str]) -> Rejected:
    name = re.split(r"[.\[]", error.field, maxsplit=1)[0]
    field = sent_as.get(name, name) + error.field.removeprefix(name)
    return Rejected(error.reason, error.message, field=field)


def _check(post: ConversionPost) -> None:
    if not (
        post.tracking_code
        or post.click_id
        or post.click_ids
        or post.coupon_code
        # The order's or the customer's earlier conversion may have an affiliate.
        or post.customer_id
        or post.customer_email
        or (post.event == "rebill" and post.order_id)
    ):
        message = "or click_id is required"
        raise Rejected(Reason.missing_field, message, field="tracking_code")
    if post.event in _VALUE_EVENTS:
        if post.order_id is None:
            _check_needs_no_order(post)
        if post.order_value is None:
            raise Rejected(Reason.missing_field, "is required", field="order_value")
    if post.items is not None or post.metadata is not None:
        _check_nested(post)


def _check_needs_no_order(post: ConversionPost) -> None:
    if post.event == "sale":
        raise Rejected(Reason.missing_field, "is required", field="order_id")
    if not (post.customer_id or post.customer_email or post.click_id or post.click_ids):
        message = "or customer_id or click_id is required"
        raise Rejected(Reason.missing_field, message, field="order_id")


def _check_nested(post: ConversionPost) -> None:
    if post.metadata and len(msgspec.json.encode(post.metadata)) > METADATA_MAX_BYTES:
        message = f"is over {METADATA_MAX_BYTES} bytes"
        raise Rejected(Reason.invalid_field, message, field="metadata")
    # Their members are still raw, and have not been validated.
    try:
        decode_raw((post.items, post.metadata))
    except UnicodeDecodeError as error:
        raise Rejected(Reason.malformed_json, f"the body is not JSON: {error}") from None
    except msgspec.DecodeError:
        _refuse_unreadable_member(post)


def _refuse_unreadable_member(post: ConversionPost) -> None:
    objects = [(f"items[{index}]", item) for index, item in enumerate(post.items or ())]
    for path, members in [*objects, ("metadata", post.metadata or {})]:
        for name, value in members.items():
            try:
                decode_raw(value)
            except msgspec.DecodeError as error:
                message = f"cannot be read: {error}".replace("`", "")
                field = f"{path}.{name[:_NAME_SHOWN_MAX]}"
                raise Rejected(Reason.invalid_field, message, field=field) from None


def _check_texts(post: ConversionPost) -> None:
    for name in (*_IDENTIFIERS, *_ADVERTISER_TEXTS):
        text: str | None = getattr(post, name)
        if text and _CONTROL.search(text):
            raise Rejected(Reason.invalid_field, "has control characters", field=name)
    if any(_CONTROL.search(click_id) for click_id in post.click_ids or ()):
        raise Rejected(Reason.invalid_field, "has control characters", field="click_ids")


def _split_composite(post: ConversionPost) -> ConversionPost:
    """Splits `tc_X_aff_Y_cid_Z` into tracking code, affiliate and click id."""
    match = _COMPOSITE.match(post.tracking_code or post.click_id or "")
    if not match:
        return post
    return msgspec.structs.replace(
        post,
        tracking_code=match[1],
        affiliate_id=post.affiliate_id or f"aff_{match[2]}",
        click_id=canonical_click_id(match[3]),
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


def is_customer(post: ConversionPost, email: str) -> bool:
    """Returns whether an address, in lower case, is the customer's."""
    return email == (post.customer_email or "").strip().lower()


def decode_raw(value: object) -> object:
    """Decodes a value that may hold raw JSON."""
    return msgspec.json.decode(msgspec.json.encode(value))
