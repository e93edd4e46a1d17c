"""The plainest of requests, read at once: a whole GET or HEAD of a path that may be a link's."""

import re

# Anything larger goes the ordinary way, and is refused there if it is too large.
MAX_BYTES = 8_000
_VALUE = rb"(?! )[ -~]*+(?<! )"
# With one of these there may be more to a request than its head, or the answer is no redirect.
_ORDINARY = (
    b"content-length",
    b"transfer-encoding",
    b"expect",
    b"upgrade",
    b"connection",
    b"proxy-connection",
    b"purpose",
    b"sec-purpose",
    b"x-moz",
)
# What most browsers send, so that it need not be told from the ones above: a quarter of the cost.
_COMMON = (
    rb"(?:[Hh]ost|[Aa]ccept(?:-[Ee]ncoding)?|[Uu]pgrade-[Ii]nsecure-[Rr]equests"
    rb"|[Ss]ec-(?:[Ff]etch|[Cc][Hh]-[Uu][Aa])[A-Za-z-]*+): "
)
_FIRST_HEADER = 4  # Groups before are method, code and query.


def plain_heads(headers: tuple[bytes, ...]) -> re.Pattern[bytes]:
    """A pattern for a whole plain request: groups are method, code, query, the headers' values.

    `headers` are lower-case names. The pattern is stricter than the grammar (RFC 9112) and takes
    none of them twice: where it matches, uvicorn's parser reads the same.
    """
    others = b"|".join(map(_any_case, (*_ORDINARY, *headers)))
    lines = [
        *[_once(name, group) for group, name in enumerate(headers, _FIRST_HEADER)],
        _COMMON + _VALUE,
        rb"(?!(?:%s):)[A-Za-z0-9_-]++: %s" % (others, _VALUE),
        rb"[Cc]onnection: [Kk]eep-[Aa]live",
    ]
    return re.compile(
        rb"(GET|HEAD) /(?:c/)?([A-Za-z0-9_-]{1,64})(?:\?([!\"$-~]*+))? HTTP/1\.1\r\n"
        rb"(?>(?:%s)\r\n)++\r\n" % b"|".join(lines)
    )


def _once(name: bytes, group: int) -> bytes:
    return rb"(?(%d)(?!)|%s: (%s))" % (group, _any_case(name), _VALUE)


def _any_case(name: bytes) -> bytes:
    """A name in any case; cheaper than a pattern that ignores case as a whole."""
    letters = [bytes([byte]) for byte in name]
    spelled = [b"[%s%s]" % (c.upper(), c) if c.isalpha() else re.escape(c) for c in letters]
    return b"".join(spelled) or rb"(?!)"  # No line has the empty name.
