"""Parses the parameters that the event log and the conversion list share."""

import base64
import binascii
from collections.abc import Mapping, Sequence

from linkjolt.click_ids import canonical_click_id
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import EntryKind, parse_public_id
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.web.posted_fields import normalize_identifier
from reports.vocabulary import Format

LIMIT_MAX = 1_000
# Parameters that are read in any spelling in which a shop may post them.
_IDENTIFIERS = ("click_id", "order_id")
TEXT_MAX = 128
_TIME_DIGITS_MAX = 15
# A place after every event, before which the newest comes.
LIST_START = (1 << 62, "")
# No affiliate has this number: links, of which there are more, have smaller ones.
_NO_AFFILIATE = (1 << 32) - 1
IDS: dict[str, EntryKind] = {"campaign_id": "campaign", "affiliate_id": "affiliate"}


def unique_parameters(
    parameters: Sequence[tuple[str, str]], known: Sequence[str]
) -> dict[str, str]:
    """Maps parameters by name; Rejected for an unknown or a repeated one.

    Identifiers are spelled as they are stored.
    """
    values: dict[str, str] = {}
    for name, value in parameters:
        if name not in known:
            raise Rejected(Reason.unknown_field, "is not a known parameter", field=name[:64])
        if name in values:
            raise Rejected(Reason.invalid_field, "is given twice", field=name)
        values[name] = normalize_identifier(value) if name in _IDENTIFIERS else value
    if "click_id" in values:
        values["click_id"] = canonical_click_id(values["click_id"])
    return values


def check_choices(values: Mapping[str, str], choices: Mapping[str, Sequence[str]]) -> None:
    """Raises Rejected unless each parameter has one of its choices."""
    for name, known in choices.items():
        if name in values and values[name] not in known:
            message = f"must be one of {', '.join(known)}"
            raise Rejected(Reason.invalid_field, message, field=name)


def check_texts(values: Mapping[str, str], names: Sequence[str]) -> None:
    """Raises Rejected unless each parameter has 1 to TEXT_MAX characters."""
    for name in names:
        if name in values and not 1 <= len(values[name]) <= TEXT_MAX:
            message = f"must have 1 to {TEXT_MAX} characters"
            raise Rejected(Reason.invalid_field, message, field=name)


def parse_registry_number(values: Mapping[str, str], name: str) -> int:
    """Parses the registry number in a public id; 0 if the parameter is absent."""
    if name not in values:
        return 0
    number = parse_public_id(IDS[name], values[name])
    if number is None or number >= 1 << 32:
        raise Rejected(Reason.invalid_field, f"is no id of a {IDS[name]}", field=name)
    return number


def parse_limit(values: Mapping[str, str]) -> int:
    limit = parse_whole_number(values.get("limit", "100"))
    if limit is None or not 1 <= limit <= LIMIT_MAX:
        message = f"must be a number from 1 to {LIMIT_MAX}"
        raise Rejected(Reason.invalid_field, message, field="limit")
    return limit


def parse_cursor(values: Mapping[str, str]) -> tuple[int, str]:
    """Parses the cursor: time in milliseconds and id of the event before the page."""
    if "cursor" not in values:
        return LIST_START
    cursor = values["cursor"]
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        text = ""
    digits, colon, event_id = text.partition(":")
    time_ms = parse_whole_number(digits, _TIME_DIGITS_MAX)
    if time_ms is None or not colon:
        message = "is not a cursor that this list answered"
        raise Rejected(Reason.invalid_field, message, field="cursor")
    return time_ms, event_id


def parse_format(values: Mapping[str, str]) -> tuple[Format, bool]:
    """Parses the format, and whether to return every row: as CSV, without limit or cursor."""
    output_format: Format = "csv" if values.get("format") == "csv" else "json"
    return (
        output_format,
        output_format == "csv" and "limit" not in values and "cursor" not in values,
    )


def narrowed_affiliate(asked: int, bound: int) -> int:
    """Returns the affiliate to list for a key that is bound to one, if it is (0: to none)."""
    if not bound:
        return asked
    return bound if asked in (0, bound) else _NO_AFFILIATE


def make_cursor(time_ms: int, event_id: str) -> str:
    """Encodes the opaque cursor of the page after an event; newer events do not shift it."""
    text = f"{time_ms}:{event_id}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
