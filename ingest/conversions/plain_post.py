"""Parses a plain posted conversion at once: one whole request with key, length and body."""

import re
from typing import NamedTuple

# Anything larger goes through the application.
POST_MAX_BYTES = 8_000
_REQUEST_LINE = b"POST /v1/conversions HTTP/1.1\r\n"
_VALUE = rb"(?! )[ -~]*+(?<! )"
# Headers that change a request's meaning; the first four are read, and sent once each.
_NOT_PLAIN_HEADERS = (
    rb"host|authorization|content-type|content-length|transfer-encoding|expect|upgrade|connection"
    rb"|proxy-connection|content-encoding|idempotency-key"
)
_HEADER_LINES = (
    rb"(?(1)(?!)|(?i:authorization): [Bb]earer ([!-~]++))",
    rb"(?(2)(?!)|(?i:content-type): (application/json(?:;[ -~]*+(?<! ))?+))",
    rb"(?(3)(?!)|(?i:content-length): ([0-9]{1,4}+))",
    rb"(?(4)(?!)|(?i:host): ((?:[A-Za-z0-9._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?))",
    rb"(?!(?i:%s):)[A-Za-z0-9_-]++: %s" % (_NOT_PLAIN_HEADERS, _VALUE),
    rb"[Cc]onnection: [Kk]eep-[Aa]live",
)
# Stricter than the grammar (RFC 9112), like the pattern of plain clicks.
_match_head = re.compile(
    rb"%s(?>(?:%s)\r\n)++\r\n" % (re.escape(_REQUEST_LINE), b"|".join(_HEADER_LINES))
).fullmatch


# Others are read by the application.
_SCHEMES: tuple[set[bytes], ...] = (set(), {b"http"}, {b"https"})
# A sender's heads repeat, apart from the length of the body.
_CACHED_HEADS_MAX = 1_024
_CACHED_HEAD_MAX_BYTES = 1_024
_cached_heads: dict[bytes, tuple[str, int, bool]] = {}
_find_schemes = re.compile(rb"\r\n(?i:x-forwarded-proto): ([^\r]*)").findall


class PlainPost(NamedTuple):
    """An API key, and a body that begins like a JSON object.

    `over_https` as a header says; only a trusted proxy may say so.
    """

    secret: str
    body: bytes
    over_https: bool


def read_plain_post(data: bytes) -> PlainPost | None:
    """Parses `data` as exactly one plain request; None for anything else."""
    head, end, body = data.partition(b"\r\n\r\n")
    read = _cached_heads.get(head) or _read_head(head + end)
    if not read or read[1] != len(body) or not body.startswith(b"{"):
        return None
    return PlainPost(read[0], body, read[2])


def _read_head(head: bytes) -> tuple[str, int, bool] | None:
    """Returns the key, the body's length and whether https is declared; None for no plain head."""
    if len(head) > POST_MAX_BYTES or not head.startswith(_REQUEST_LINE):
        return None
    match = _match_head(head)
    secret, _, length, host = match.groups() if match else (b"", b"", b"", b"")
    schemes = set(_find_schemes(head))
    if not secret or not length or not host or schemes not in _SCHEMES:
        return None
    read = secret.decode(), int(length), schemes == {b"https"}
    if len(head) <= _CACHED_HEAD_MAX_BYTES:
        if len(_cached_heads) >= _CACHED_HEADS_MAX:
            _cached_heads.clear()
        _cached_heads[head[:-4]] = read
    return read
