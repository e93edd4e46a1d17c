"""Reads the parameters of a postback from its query and its body; pure."""

from collections.abc import Container, Iterator, Mapping
from urllib.parse import unquote_to_bytes, urlencode

import msgspec

from ingest.postbacks.macros import contains_undecoded_macro, is_unfilled
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

RETURN_MAX_CHARACTERS = 256
_PARAMETERS_MAX = 100
_NAME_SHOWN_MAX = 64
# The value of a parameter whose macro nobody filled in.
UNFILLED = "{}"
# Left of an ampersand that was escaped for HTML.
_ESCAPED_AMPERSAND = "amp;"


def read_parameters(*queries: bytes) -> dict[str, str]:
    """Reads the parameters of a query and of a body that is written as one.

    UNFILLED for unfilled macros, '' for what is empty. Rejected for two different values of one
    parameter, so that a body never overrides the query.
    """
    parameters: dict[str, str] = {}
    for query in queries:
        for name, text in _pairs(query):
            existing = parameters.get(name, "")
            if has_value(existing) and has_value(text) and existing != text:
                raise Rejected(Reason.invalid_field, "is given twice", field=name[:_NAME_SHOWN_MAX])
            parameters[name] = max((existing, text), key=lambda one: (has_value(one), one))
    return parameters


def has_value(text: str) -> bool:
    """Returns False for a parameter that is empty or not filled in."""
    return text not in ("", UNFILLED)


def _pairs(query: bytes) -> Iterator[tuple[str, str]]:
    parts = [part for part in query.split(b"&") if part]
    if not query.isascii() or len(parts) > _PARAMETERS_MAX:
        message = f"must be ASCII, of at most {_PARAMETERS_MAX} parameters"
        raise Rejected(Reason.bad_request, message)
    for part in parts:
        name, _, value = part.decode().partition("=")
        yield _name(name), _text(value)


def _name(raw: str) -> str:
    name = _decode(raw)
    while name[: len(_ESCAPED_AMPERSAND)].lower() == _ESCAPED_AMPERSAND:
        name = name[len(_ESCAPED_AMPERSAND) :]
    return name


def _text(raw: str) -> str:
    text = _decode(raw).strip()
    return UNFILLED if is_unfilled(text) or contains_undecoded_macro(raw) else text


def _decode(raw: str) -> str:
    encoded = unquote_to_bytes(raw.replace("+", " "))
    try:
        return encoded.decode()
    except UnicodeDecodeError:
        # Two texts in an old encoding must not become one.
        return encoded.decode("latin-1")


def json_to_query(body: bytes, names: Container[str]) -> bytes:
    """Encodes a JSON object as a query for `read_parameters`; Rejected for other JSON.

    Arrays and objects are ignored, as is every parameter that is not among the names.
    """
    pairs: list[tuple[str, str]] = []
    for name, raw in requests.decode(body, dict[str, msgspec.Raw]).items():
        text = bytes(raw)
        if text[:1] in b"[{":
            if name in names:
                message = "must be a text or a number"
                raise Rejected(Reason.invalid_field, message, field=name[:_NAME_SHOWN_MAX])
        elif text != b"null":
            # A number keeps its digits: 9.90 never passes through a float.
            pairs.append((name, requests.decode(text, str) if text[:1] == b'"' else text.decode()))
    return urlencode(pairs).encode()


def requested_answer(parameters: Mapping[str, str]) -> str:
    """Returns the answer that the caller asks for, `OK` by default."""
    text = parameters.get("return", "")
    if not has_value(text):
        return "OK"
    if len(text) > RETURN_MAX_CHARACTERS or not text.isprintable():
        message = f"must be at most {RETURN_MAX_CHARACTERS} printable characters"
        raise Rejected(Reason.invalid_field, message, field="return")
    return text
