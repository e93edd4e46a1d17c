"""Parses plain request heads at once: a whole GET of a path that may be a tracking link's."""

import re
from collections.abc import Callable, Mapping, Sequence

from ingest.visitor_fields import with_address
from linkjolt.web.requests import is_host

# Anything larger goes through the router, which refuses it if it is too large.
HEAD_MAX_BYTES = 8_000
_CACHED_LINES_MAX = 4_096
_CACHED_LINE_MAX_CHARACTERS = 512
# Stricter than the grammar (RFC 9112, 5): where these match, uvicorn's parser reads the same.
_match_header = re.compile(r"([A-Za-z0-9_-]++): ((?! )[ -~]*+(?<! ))").fullmatch
_match_query = re.compile(r'[!"$-~]*+').fullmatch
# With one of these a request may have a body, or its answer may not be a redirect.
_NOT_PLAIN_HEADERS = frozenset(
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
_PROTO = "x-forwarded-proto"
# As proxies write it; in other spellings the application reads it.
HTTPS_LINES = frozenset(("X-Forwarded-Proto: https", "x-forwarded-proto: https"))
# Lines that differ with every visitor, or are private.
_UNCACHED = (
    "x-forwarded-for:",
    "cookie:",
    "authorization:",
    "cf-connecting-ip:",
    "x-real-ip:",
    "forwarded:",
)
# (bit, field JSON) of a line: bit 1 is always seen, so a line with it ends the fast path.
_NOT_PLAIN = (1, "")
_IGNORED = (0, "")


def read_head(data: bytes) -> tuple[str, str, list[str]] | None:
    """Returns the possible tracking code, the query and the header lines; None unless plain."""
    if not (data.startswith(b"GET /") and data.endswith(b"\r\n\r\n")):
        return None
    lines = data[5:-4].decode("latin-1").split("\r\n")
    target, _, version = lines[0].partition(" ")
    code, mark, query = target.partition("?")
    if version != "HTTP/1.1" or (mark and not _match_query(query)):
        return None
    del lines[0]
    return code.removeprefix("c/"), query, lines


class HeaderReader:
    """Reads the header lines of plain heads, and caches the result by line.

    Most lines repeat: visitors with the same browser differ in the referrer at most.
    """

    def __init__(
        self,
        header_readers: Mapping[str, Callable[[str], str]],
        client_ip_header: str = "x-forwarded-for",
    ) -> None:
        """`header_readers` map a lower-case header name to a function from its value to JSON.

        `client_ip_header` is the only one that may name the visitor's address.
        """
        self._header_readers = header_readers
        self._bits = {name: 2 << place for place, name in enumerate(header_readers)}
        self._client_ip = self._bits.get(client_ip_header, 0)
        self._host = 2 << len(header_readers)
        self._cache: dict[str, tuple[int, str]] = {}

    def visitor_json(self, lines: Sequence[str], peer_json: str) -> str | None:
        """Returns the visitor's JSON members; None for a line that is not plain or repeats one.

        None, too, without a host (RFC 9112, 3.2).

        `peer_json` holds the peer's address, used where no header names another.
        """
        cache, seen, fields_json = self._cache, 1, ""
        for line in lines:
            try:
                bit, field_json = cache[line]
            except KeyError:
                bit, field_json = self._parse_and_cache(line)
            if bit:
                if bit & seen:
                    return None
                seen |= bit
                fields_json += field_json
        if not seen & self._host:
            return None
        return (
            with_address(peer_json, fields_json)
            if seen & self._client_ip
            else peer_json + fields_json
        )

    def _parse_and_cache(self, line: str) -> tuple[int, str]:
        parsed = self._parse_line(line)
        if len(line) <= _CACHED_LINE_MAX_CHARACTERS and not line.lower().startswith(_UNCACHED):
            if len(self._cache) >= _CACHED_LINES_MAX:
                self._cache.clear()
            self._cache[line] = parsed
        return parsed

    def _parse_line(self, line: str) -> tuple[int, str]:
        match = _match_header(line)
        if match is None:
            return _NOT_PLAIN
        name, value = match[1].lower(), match[2]
        if name in _NOT_PLAIN_HEADERS:
            return _IGNORED if (name, value.lower()) == _KEEP_ALIVE else _NOT_PLAIN
        if name == "host":
            return (self._host, "") if is_host(value.encode()) else _NOT_PLAIN
        if name == _PROTO:
            return _IGNORED if self._ignores_scheme(line, value) else _NOT_PLAIN
        bit = self._bits.get(name)
        return (bit, self._header_readers[name](value)) if bit else _IGNORED

    def _ignores_scheme(self, line: str, scheme: str) -> bool:
        """Returns whether a request is plain though a line names the visitor's scheme."""
        return scheme == "http"


class HttpsHeaderReader(HeaderReader):
    """Reads the heads that a trusted proxy passes on from https; no other head is plain to it."""

    def visitor_json(self, lines: Sequence[str], peer_json: str) -> str | None:
        if HTTPS_LINES.isdisjoint(lines):
            return None
        return super().visitor_json(lines, peer_json)

    def _ignores_scheme(self, line: str, scheme: str) -> bool:
        return line in HTTPS_LINES


class NoHeaderReader(HeaderReader):
    """Takes no head as plain, where https is required: the application judges all of them."""

    def visitor_json(self, lines: Sequence[str], peer_json: str) -> str | None:
        return None
