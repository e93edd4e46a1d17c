"""Parses a plain posted conversion at once: one whole request with key, length and body."""

import re
from typing import NamedTuple

# Anything larger goes through the application.
POST_MAX_BYTES = 8_000
_REQUEST_LINE = b"POST /v1/conversions HTTP/1.1\r\n"
_VALUE = rb"(?! )[ -~]*+(?<! )"
# Headers that change a request's meaning; the first four are read, once each.
_NOT_PLAIN_HEADERS = (
    rb"host|authorization|content-type|content-length|transfer-encoding|expect|upgrade|connection"
    rb"|proxy-connection|content-encoding|idempotency-key"
)
_HEADER_LINES = (
    rb"(?(1)(?!)|(?i:authorization): [Bb]earer ([!-~]++))",
    rb"(?(2)(?!)|(?i:content-type): (application/json(?:;[ -~]*+(?<! ))?+))",
    rb"(?(3)(?!)|(?i:content-length): ([0-9]{1,4}+))",
    rb"(?!(?i:%s):)[A-Za-z0-9_-]++: %s" % (_NOT_PLAIN_HEADERS, _VALUE),
    rb"[Cc]onnection: [Kk]eep-[Aa]live",
)
# Stricter than the grammar (RFC 9112), like the pattern of plain clicks.
# Nearly every client sends it first.
_HOST_LINE = rb"(?i:host): (?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\r\n"
_HEAD = re.compile(
    rb"%s%s(?>(?:%s)\r\n)++\r\n" % (re.escape(_REQUEST_LINE), _HOST_LINE, b"|".join(_HEADER_LINES))
)


class PlainPost(NamedTuple):
    """An API key, and a body that begins like a JSON object."""

    secret: str
    body: bytes


def read_plain_post(data: bytes) -> PlainPost | None:
    """Parses `data` as exactly one plain request; None for anything else."""
    head = (
        _HEAD.match(data)
        if len(data) <= POST_MAX_BYTES and data.startswith(_REQUEST_LINE)
        else None
    )
    if head is None:
        return None
    secret, _, length = head.groups()
    body = data[head.end() :]
    if not secret or not length or int(length) != len(body) or not body.startswith(b"{"):
        return None
    return PlainPost(secret.decode(), body)
