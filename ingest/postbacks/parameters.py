"""Parses a postback's parameters into a conversion; pure."""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

import msgspec

from ingest.conversions.body import ConversionPost, parse_carefully
from ingest.postbacks.amounts import read_amount, read_instant, read_minor_amount
from ingest.postbacks.dialects import STATUS_BY_WORD, Dialect, Outcome
from ingest.postbacks.macros import contains_macro, repeats_name
from ingest.postbacks.pairs import UNFILLED, has_value
from linkjolt.money import check_currency
from linkjolt.reasons import Reason, Rejected

SALE = "sale"
ORDER_ID_MAX_CHARACTERS = 128
_NOT_WORD_CHARACTERS = re.compile(r"[^a-z0-9]+")
_EVENT = re.compile(r"[a-z][a-z0-9_]{0,31}")
# Notes about what changes what is recorded.
_EVENT_UNDECLARED = "event_undeclared"
_NOTE_OF_UNFILLED = {
    "order_value": "payout_unfilled",
    "order_id": "order_id_unfilled",
    "click_id": "click_id_unfilled",
    "currency": "currency_unfilled",
    "status": "status_unfilled",
    "event": "event_unfilled",
}
# Fields of which two names have one meaning, so that two values contradict each other.
_SYNONYMS = ("order_value", "click_id")
Status = Literal["pending", "approved", "rejected"]


class Postback(msgspec.Struct, frozen=True):
    """A parsed postback; `status` None leaves the status to the campaign.

    `refunds`: the post's order value is to be refunded, all that is left unless `has_value`.
    `order_scope` `click`: the order id is unique within the click only. `ignored`: the sender wants
    nothing recorded. `event_type`: how the order id names the event if the campaign does not
    declare it. `minor_units`: the order value is in the smallest unit of the currency.
    `sent_as` maps fields to the names under which they were sent. `signature_digest` is equal only
    for the same signed call sent again, '' for an unsigned one. `notes` are words about the call.
    """

    post: ConversionPost
    status: Status | None
    has_value: bool
    refunds: bool = False
    order_scope: Literal["", "click"] = ""
    ignored: bool = False
    event_type: str = ""
    minor_units: bool = False
    sent_as: Mapping[str, str] = {}
    signature_digest: str = ""
    notes: tuple[str, ...] = ()

    def renamed(self, error: Rejected) -> Rejected:
        """Returns a refusal of the post under the name by which the call has the field."""
        field = self.sent_as.get(error.field, error.field)
        return Rejected(error.reason, error.message, field=field)


class _Given(msgspec.Struct):
    """The fields that a call has, under which names, and those that nobody filled in."""

    fields: dict[str, str] = {}
    sent_as: dict[str, str] = {}
    unfilled: set[str] = set()


def read_postback(
    dialect: Dialect, parameters: Mapping[str, str], signature_digest: str = ""
) -> Postback:
    """Parses a postback; Rejected, naming the parameter as it was sent, where it is invalid.

    Without an order id the click is the order: a network reports one conversion per click and
    event, perhaps repeatedly. The event defaults to a sale and the amount to 0, so that a later
    postback with only an amount or a status belongs to the same conversion.
    """
    given = _read_fields(dialect, parameters)
    _require_click(dialect, given)
    sent_as = dialect.name_of | given.sent_as
    outcome = _outcome(dialect, parameters, given)
    value = _read_value(dialect, given)
    refunds = outcome == "refunded" or value < 0
    status = None if refunds or outcome in ("refunded", "ignored") else outcome
    event, event_type, joined = _event(dialect, given)
    joined = (*_event_ids(dialect, parameters, given), *joined)
    given.fields |= {"event": event or SALE, "order_value": f"{abs(value):f}"}
    given.fields["status"] = status if status in ("pending", "approved") else ""
    post = _parse(given.fields, sent_as)
    postback = Postback(
        post,
        status,
        has_value="order_value" in given.sent_as and not (refunds and not value),
        refunds=refunds,
        order_scope="click" if given.sent_as.get("order_id") in dialect.click_orders else "",
        ignored=outcome == "ignored",
        event_type=event_type,
        minor_units=dialect.minor_units,
        sent_as=sent_as,
        signature_digest=signature_digest,
        notes=tuple([note for field, note in _NOTE_OF_UNFILLED.items() if field in given.unfilled]),
    )
    order_id = post.order_id if "order_id" in given.sent_as else post.click_id
    postback = _join_events(postback, order_id or "", *joined)
    return postback if event else as_undeclared(postback)


def as_undeclared(postback: Postback) -> Postback:
    """Makes a postback of an undeclared event type a pending sale, with the type in its order id.

    Rejected for one without an amount: a campaign would pay a flat commission for a page view.
    """
    post = postback.post
    takes_back = postback.refunds or postback.status == "rejected"
    if not (takes_back or (postback.has_value and post.order_value)):
        message = "is no event of the campaign, and has no amount: add it to the campaign's events"
        raise Rejected(Reason.invalid_field, message, field=postback.sent_as["event"])
    post = msgspec.structs.replace(post, event=SALE, status=post.status or "pending")
    postback = msgspec.structs.replace(
        postback, post=post, notes=(*postback.notes, _EVENT_UNDECLARED)
    )
    return _join_events(postback, post.order_id or "", postback.event_type)


def _join_events(postback: Postback, order_id: str, *events: str) -> Postback:
    """Sets the order id, with the events that it names: `1001/event_id=5`."""
    joined = "/".join((order_id, *events))
    if events and (len(joined) > ORDER_ID_MAX_CHARACTERS or not joined.isprintable()):
        message = f"must be printable, with the order id at most {ORDER_ID_MAX_CHARACTERS} long"
        field = events[-1].partition("=")[0]
        raise Rejected(Reason.invalid_field, message, field=field)
    post = msgspec.structs.replace(postback.post, order_id=joined or None)
    return msgspec.structs.replace(postback, post=post)


def _read_fields(dialect: Dialect, parameters: Mapping[str, str]) -> _Given:
    given = _Given()
    for name, field in dialect.names.items():
        text = parameters.get(name, "")
        # An empty amount or id is a macro without a value; an empty status is the default.
        is_empty = name in parameters and not text and field in ("order_value", "order_id")
        if is_empty or _is_unfilled(name, text):
            given.unfilled.add(field)
        elif text and field not in given.fields:
            given.fields[field], given.sent_as[field] = text, name
        elif text and field in _SYNONYMS and not _is_same(field, text, given.fields[field], name):
            message = f"contradicts {given.sent_as[field]}"
            raise Rejected(Reason.invalid_field, message, field=name)
    given.unfilled -= given.fields.keys()
    for name, field in dialect.texts.items():
        text = parameters.get(name, "")
        if has_value(text):
            given.fields[field], given.sent_as[field] = text, name
    return given


def _is_unfilled(name: str, text: str) -> bool:
    return text == UNFILLED or contains_macro(text) or repeats_name(name, text)


def _is_same(field: str, text: str, other: str, name: str) -> bool:
    if field == "order_value":
        return text == other or read_amount(text, name) == read_amount(other, name)
    return text.upper() == other.upper()


def _require_click(dialect: Dialect, given: _Given) -> None:
    # Our own dialect also takes codes and coupons.
    if "click_id" not in given.fields and "tracking_code" not in dialect.name_of:
        message = "is not filled in" if "click_id" in given.unfilled else "is required"
        raise Rejected(Reason.missing_field, message, field=dialect.name_of["click_id"])


def _parse(given: Mapping[str, str], sent_as: Mapping[str, str]) -> ConversionPost:
    """Parses the fields as a posted conversion; without an order id the click is the order."""
    fields = {field: text for field, text in given.items() if text}
    if "currency" in fields:
        fields["currency"] = fields["currency"].upper()
        check_currency(fields["currency"], sent_as["currency"])
    if "timestamp" in fields:
        fields["timestamp"] = read_instant(fields["timestamp"], sent_as["timestamp"])
    if "click_id" in fields:
        fields.setdefault("order_id", fields["click_id"])
    try:
        return parse_carefully(msgspec.json.encode(fields))
    except Rejected as error:
        field = sent_as.get(error.field, error.field)
        raise Rejected(error.reason, error.message, field=field) from None


def _outcome(dialect: Dialect, parameters: Mapping[str, str], given: _Given) -> Outcome | None:
    """Translates the status word, by the call's own lists of words before all others."""
    word = given.fields.get("status")
    if word is None:
        return None
    for name, outcome in dialect.status_lists.items():
        listed = parameters.get(name, "").split(",")
        if word.casefold() in [other.strip().casefold() for other in listed]:
            return outcome
    plain = _plain(word)
    outcome = dialect.statuses.get(plain) or STATUS_BY_WORD.get(plain)
    if outcome is None:
        message = f"{word[:40]!r} is no status that is known"
        raise Rejected(Reason.invalid_field, message, field=given.sent_as["status"])
    return outcome


def _read_value(dialect: Dialect, given: _Given) -> Decimal:
    text = given.fields.get("order_value")
    if text is None:
        return Decimal(0)
    read = read_minor_amount if dialect.minor_units else read_amount
    return read(text, given.sent_as["order_value"])


def _event(dialect: Dialect, given: _Given) -> tuple[str, str, tuple[str, ...]]:
    """Returns the event, its type if the campaign must declare it, and what the order id names.

    The event is '' where no campaign can declare it.
    """
    word = given.fields.get("event", "")
    plain = _plain(word)
    event = dialect.events.get(plain, plain) if word else ""
    if not event and (not word or plain in dialect.events):
        return ("lead" if _is_lead(dialect, given) else SALE), "", ()
    if not dialect.free_events:
        return event or word, "", ()
    event_type = f"{given.sent_as['event']}={word}"
    if event != plain:
        # An order's purchase is its sale; without an order it is one of the click's conversions.
        return event, "", () if "order_id" in given.fields else (event_type,)
    return event if _EVENT.fullmatch(event) else "", event_type, ()


def _is_lead(dialect: Dialect, given: _Given) -> bool:
    named = given.fields.keys() | given.unfilled
    return dialect.leads_have_no_amount and named.isdisjoint(("order_value", "order_id", "status"))


def _event_ids(dialect: Dialect, parameters: Mapping[str, str], given: _Given) -> tuple[str, ...]:
    """Returns the ids of events by which the vendor tells conversions apart, each with its name."""
    if dialect.orders_are_whole and "order_id" in given.fields:
        return ()
    found: list[str] = []
    for group in dialect.event_ids:
        for name in group:
            text = parameters.get(name, "")
            if _is_unfilled(name, text):
                given.unfilled.add("event")
            elif text and text.lower() not in dialect.base_events:
                if name != given.sent_as.get("order_id"):
                    found.append(f"{name}={text}")
                break
    return tuple(found)


def _plain(word: str) -> str:
    return _NOT_WORD_CHARACTERS.sub("_", word.lower()).strip("_")
