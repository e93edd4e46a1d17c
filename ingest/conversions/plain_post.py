"""The plainest posted conversion, read at once: one whole request with its key, length and body."""

import re
from typing import NamedTuple

# Anything larger goes the ordinary way.
MAX_BYTES = 8_000
_BEGIN = b"POST /v1/conversions HTTP/1.1\r\n"
_VALUE = rb"(?! )[ -~]*+(?<! )"
# With one of these there is more to the request; the first three are read, once each.
_OTHERS = (
    rb"authorization|content-type|content-length|transfer-encoding|expect|upgrade|connection"
    rb"|proxy-connection|idempotency-key"
)
_LINES = (
    rb"(?(1)(?!)|(?i:authorization): [Bb]earer ([!-~]++))",
    rb"(?(2)(?!)|(?i:content-type): (application/json(?:;[ -~]*+(?<! ))?+))",
    rb"(?(3)(?!)|(?i:content-length): ([0-9]{1,4}+))",
    rb"(?!(?i:%s):)[A-Za-z0-9_-]++: %s" % (_OTHERS, _VALUE),
    rb"[Cc]onnection: [Kk]eep-[Aa]live",
)
# Stricter than the grammar (RFC 9112), as the pattern of plain clicks is.
_HEAD = re.compile(rb"%s(?>(?:%s)\r\n)++\r\n" % (re.escape(_BEGIN), b"|".join(_LINES)))


class PlainPost(NamedTuple):
    """An API key and the JSON object, or what begins like one, that came under it."""

    secret: str
    body: bytes


def read_plain_post(data: bytes) -> PlainPost | None:
    """The request that `data` is, and nothing else; None for all that is not so plain."""
    head = _HEAD.match(data) if len(data) <= MAX_BYTES and data.startswith(_BEGIN) else None
    if head is None:
        return None
    secret, _, length = head.groups()
    body = data[head.end() :]
    if not secret or not length or int(length) != len(body) or not body.startswith(b"{"):
        return None
    return PlainPost(secret.decode(), body)
