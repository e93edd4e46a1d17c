"""The plainest of requests, read at once: a whole GET of a path that may be a tracking link's."""

import re
from collections.abc import Callable, Iterable, Mapping

from ingest.visitor_fields import FORWARDED, with_address

# Anything larger goes the ordinary way, and is refused there if it is too large.
MAX_BYTES = 8_000
_LINES_KEPT = 4_096
_LINE_KEPT_MAX = 512
# Stricter than the grammar (RFC 9112, 5): where these match, uvicorn's parser reads the same.
_header = re.compile(r"([A-Za-z0-9_-]++): ((?! )[ -~]*+(?<! ))").fullmatch
_query = re.compile(r'[!"$-~]*+').fullmatch
# With one of these there may be more to a request than its head, or the answer is no redirect.
_ORDINARY = frozenset(
    (
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
)
_KEEP_ALIVE = ("connection", "keep-alive")
# What is another one with every visitor, or nobody else's.
_UNKEPT = ("x-forwarded-for:", "cookie:", "authorization:")
# Of the bits that headers have: what is no plain line is like one that was there before.
_ODD = (1, "")
_IGNORED = (0, "")


def read_head(data: bytes) -> tuple[str, str, list[str]] | None:
    """What may be a tracking code, the query, and the lines of headers of a plain head."""
    if not (data.startswith(b"GET /") and data.endswith(b"\r\n\r\n")):
        return None
    lines = data[5:-4].decode("latin-1").split("\r\n")
    target, _, version = lines[0].partition(" ")
    code, mark, query = target.partition("?")
    if version != "HTTP/1.1" or (mark and not _query(query)):
        return None
    del lines[0]
    return code.removeprefix("c/"), query, lines


class HeaderLines:
    """Reads the lines of plain heads; of those it saw before it knows what they tell.

    Most lines of a head are one of few: a browser's visitors differ in the referrer, at most.
    """

    def __init__(self, telling: Mapping[str, Callable[[str], str]]) -> None:
        """`telling` says what a header tells, by its lower-case name."""
        self._telling = telling
        self._bits = {name: 2 << place for place, name in enumerate(telling)}
        # Only this one may tell an address.
        self._forwarded = self._bits.get(FORWARDED, 0)
        self._kept: dict[str, tuple[int, str]] = {}

    def told(self, lines: Iterable[str], ip: str) -> str | None:
        """What all lines tell; None where one is not plain, or tells what another one did.

        `ip` is what the other end's address tells, for where no other one is told.
        """
        kept, seen, said = self._kept, 1, ""
        for line in lines:
            try:
                bit, tells = kept[line]
            except KeyError:
                bit, tells = self._look(line)
            if bit:
                if bit & seen:
                    return None
                seen |= bit
                said += tells
        return with_address(ip, said) if seen & self._forwarded else ip + said

    def _look(self, line: str) -> tuple[int, str]:
        known = self._read(line)
        if len(line) <= _LINE_KEPT_MAX and not line.lower().startswith(_UNKEPT):
            if len(self._kept) >= _LINES_KEPT:
                self._kept.clear()
            self._kept[line] = known
        return known

    def _read(self, line: str) -> tuple[int, str]:
        found = _header(line)
        if found is None:
            return _ODD
        name, value = found[1].lower(), found[2]
        if name in _ORDINARY:
            return _IGNORED if (name, value.lower()) == _KEEP_ALIVE else _ODD
        bit = self._bits.get(name)
        return (bit, self._telling[name](value)) if bit else _IGNORED
