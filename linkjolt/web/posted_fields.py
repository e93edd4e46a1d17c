"""Reads the fields of posted JSON as shops write them, and rewrites them as our types expect.

Empty values are absent, whole numbers serve as texts, identifiers have one spelling, and amounts
only digits that every language reads as the same number. A reader takes a value's JSON and returns
the JSON to decode instead: ABSENT for none, the value itself where the type is to refuse it.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TypeVar
from unicodedata import normalize

import msgspec

from linkjolt.click_ids import canonical_click_id
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

Reader = Callable[[bytes], bytes]
T = TypeVar("T")
ABSENT = b""
_EMPTY = (b"null", b'""')
_WHOLE_NUMBER = re.compile(rb"-?[0-9]+")
# Anything longer is refused for its length, and normalizing costs more than its length.
_NORMALIZED_MAX = 1_024
# A text that needs no normalizing: ASCII without escapes, and without spaces at its ends.
_PLAIN_TEXT = re.compile(rb'"[!#-\[\]-~]+(?: +[!#-\[\]-~]+)*"')
_INVISIBLE = re.compile("[\u200b\u2060\ufeff]")
_SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace()]
# Joiners mean something inside a text (Persian, Hindi, emoji), but nothing at its ends.
_EDGES = "".join(_SPACES) + "\u200b\u200c\u200d\u2060\ufeff"
# Any other spelling that Python reads (1_000, full-width digits) is another number elsewhere.
_AMOUNT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,18})?")
_LEAP_SECOND = re.compile(r"([0-9-]{10}[Tt ][0-9]{2}:[0-9]{2}):60(?:\.[0-9]+)?([Zz]|[+-][0-9:]+)")


def normalize_identifier(text: str) -> str:
    """Returns an identifier in its one spelling: trimmed, NFC, without invisible characters."""
    if text.isascii() or len(text) > _NORMALIZED_MAX:
        return text.strip()
    return normalize("NFC", _INVISIBLE.sub("", text)).strip(_EDGES)


def read_text(value: bytes) -> bytes:
    """Reads a text, or a whole number as one."""
    if value[:1] != b'"' and _WHOLE_NUMBER.fullmatch(value):
        return b'"%b"' % value
    return ABSENT if value in _EMPTY else value


def read_optional(value: bytes) -> bytes:
    """Reads any value but an empty one."""
    return ABSENT if value in _EMPTY else value


def read_identifier(value: bytes) -> bytes:
    """Reads an identifier as a text in its one spelling."""
    if _PLAIN_TEXT.fullmatch(value):
        return value
    return _edit_text(read_text(value), normalize_identifier)


def read_click_id(value: bytes) -> bytes:
    """Reads an identifier that is or contains a click id, in any letter case."""
    return _edit_text(read_text(value), _normalize_click_id)


def read_upper_case(value: bytes) -> bytes:
    """Reads a code in any letter case."""
    return _edit_text(read_optional(value), lambda text: text.strip().upper())


def read_instant(value: bytes) -> bytes:
    """Reads an RFC 3339 instant; a leap second is the end of the second before it."""
    return _edit_text(read_optional(value), _replace_leap_second)


def read_amount(value: bytes) -> bytes:
    """Reads a number, or a text that is one; Rejected for any other text."""
    value = _edit_text(read_optional(value), str.strip)
    if value[:1] == b'"' and not _AMOUNT.fullmatch(value[1:-1].decode()):
        message = "must be a number like 1234.50, of the digits 0 to 9 without separators"
        raise Rejected(Reason.invalid_field, message)
    return value


def read_members(value: bytes) -> bytes:
    """Reads an array or an object; an empty one, of either kind, is absent."""
    is_empty = value[:1] in (b"[", b"{") and not value[1:-1].strip()
    return ABSENT if is_empty or value in _EMPTY else value


def read_click_ids(value: bytes) -> bytes:
    """Reads an array of click ids, without its empty entries."""
    value = read_members(value)
    if value[:1] != b"[":
        return value
    entries = requests.decode_value(value, list[msgspec.Raw])
    found = [read_click_id(bytes(entry)) for entry in entries]
    return read_members(b"[%b]" % b",".join([entry for entry in found if entry]))


def read_values(
    fields: Mapping[str, msgspec.Raw], readers: Mapping[str, Reader]
) -> dict[str, bytes]:
    """Reads the fields that are not absent; Rejected, naming the field, where a reader refuses."""
    values: dict[str, bytes] = {}
    for name, raw in fields.items():
        value, reader = bytes(raw), readers.get(name)
        if reader is not None:
            try:
                value = reader(value)
            except Rejected as error:
                raise Rejected(error.reason, error.message, field=name) from None
        if value != ABSENT:
            values[name] = value
    return values


def join_values(values: Mapping[str, bytes]) -> bytes:
    """Composes a JSON object, so that 99.99 never passes through a float."""
    pairs = [b"%b:%b" % (msgspec.json.encode(name), value) for name, value in values.items()]
    return b"{%b}" % b",".join(pairs)


def decode_form(body: bytes, kind: type[T], readers: Mapping[str, Reader]) -> T:
    """Decodes a JSON object whose fields are read so; Rejected, naming the field, for others."""
    fields = requests.decode(body, dict[str, msgspec.Raw])
    return requests.decode_value(join_values(read_values(fields, readers)), kind)


def _edit_text(value: bytes, edit: Callable[[str], str]) -> bytes:
    """Edits a JSON text; other values, and texts that are not valid, stay as they are."""
    if value[:1] != b'"':
        return value
    try:
        text = msgspec.json.decode(value, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return value
    edited = edit(text)
    return msgspec.json.encode(edited) if edited else ABSENT


def _normalize_click_id(text: str) -> str:
    return canonical_click_id(normalize_identifier(text))


def _replace_leap_second(text: str) -> str:
    text = text.strip()
    found = _LEAP_SECOND.fullmatch(text)
    if found is None:
        return text
    earlier = f"{found[1]}:59.999{found[2]}"
    try:
        instant = msgspec.convert(earlier, datetime).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return text
    # Leap seconds end days of UTC.
    return earlier if (instant.hour, instant.minute) == (23, 59) else text
