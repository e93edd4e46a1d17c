"""The plainest of requests, read at once: a whole GET or HEAD of a path that may be a link's."""

import re

# Anything larger goes the ordinary way, and is refused there if it is too large.
MAX_BYTES = 8_000
_VALUE = r"(?! )[ -~]*+(?<! )"
# What a click tells of itself, and JSON takes as it is.
_TOLD = r"(?! )[ !#-\[\]-~]*+(?<! )"
# With one of these there may be more to a request than its head, or the answer is no redirect.
_ORDINARY = (
    "content-length",
    "transfer-encoding",
    "expect",
    "upgrade",
    "connection",
    "proxy-connection",
    "purpose",
    "sec-purpose",
    "x-moz",
)
# What most browsers send, so that it need not be told from the ones above: a quarter of the cost.
_COMMON = (
    r"(?:[Hh]ost|[Aa]ccept(?:-[Ee]ncoding)?|[Uu]pgrade-[Ii]nsecure-[Rr]equests"
    r"|[Ss]ec-(?:[Ff]etch|[Cc][Hh]-[Uu][Aa])[A-Za-z-]*+): "
)
_FIRST_HEADER = 4  # Groups before are method, code and query.


def plain_heads(headers: tuple[str, ...]) -> re.Pattern[str]:
    """A pattern for a whole plain request: groups are method, code, query, the headers' values.

    `headers` are lower-case names. The pattern is stricter than the grammar (RFC 9112) and takes
    none of them twice: where it matches, uvicorn's parser reads the same.
    """
    others = "|".join(map(_any_case, (*_ORDINARY, *headers)))
    # Whichever begins with another letter is passed over at once.
    lines = [
        _COMMON + _VALUE,
        *[_once(name, group) for group, name in enumerate(headers, _FIRST_HEADER)],
        r"[Cc]onnection: [Kk]eep-[Aa]live",
        rf"(?!(?:{others}):)[A-Za-z0-9_-]++: {_VALUE}",
    ]
    return re.compile(
        r"(GET|HEAD) /(?:c/)?([A-Za-z0-9_-]{1,64})(?:\?([!\"$-~]*+))? HTTP/1\.1\r\n"
        rf"(?:(?:{'|'.join(lines)})\r\n)++\r\n"
    )


def _once(name: str, group: int) -> str:
    return rf"{_any_case(name)}: (?({group})(?!)|({_TOLD}))"


def _any_case(name: str) -> str:
    """A name in any case; cheaper than a pattern that ignores case as a whole."""
    spelled = [f"[{c.upper()}{c}]" if c.isalpha() else re.escape(c) for c in name]
    return "".join(spelled) or r"(?!)"  # No line has the empty name.
