"""The plainest of requests, read at once: a whole GET or HEAD of a path that may be a link's."""

import re

import msgspec

from ingest.clicks import Headers

# Anything larger goes the ordinary way, and is refused there if it is too large.
_MAX_BYTES = 8_000
# Stricter than the grammar (RFC 9112): where this matches, uvicorn's parser reads the same.
_HEAD = re.compile(
    rb"(GET|HEAD) /(?:c/)?([A-Za-z0-9_-]{1,64})(?:\?([!\"$-~]*+))? HTTP/1\.1\r\n"
    rb"(?>[A-Za-z0-9_-]++: (?! )[ -~]*+(?<! )\r\n)++\r\n"
)
# With one of these there may be more to a request than its head.
_MORE = (b"content-length", b"transfer-encoding", b"expect", b"upgrade")
_READ = (
    b"user-agent",
    b"referer",
    b"accept-language",
    b"x-forwarded-for",
    b"sec-purpose",
    b"purpose",
    b"x-moz",
    b"x-purpose",
    b"connection",
)


class PlainHead(msgspec.Struct, frozen=True):
    """A request without a body; `headers` are only those that a click may look at."""

    method: bytes
    code: str
    query: bytes
    headers: Headers


class PlainHeads:
    """Reads heads; `country_header` is in lower case."""

    def __init__(self, country_header: bytes) -> None:
        names = b"|".join(re.escape(name) for name in (*_MORE, *_READ, country_header) if name)
        self._headers = re.compile(rb"\n(%s): ([^\r]*)" % names, re.IGNORECASE).findall

    def read(self, data: bytes) -> PlainHead | None:
        """None for all that is not one whole head, or may be more than that."""
        if len(data) > _MAX_BYTES or not (head := _HEAD.fullmatch(data)):
            return None
        method, code, query = head.groups(b"")
        found: list[tuple[bytes, bytes]] = self._headers(data)
        headers = {name.lower(): value for name, value in reversed(found)}
        for name in _MORE:
            if name in headers:
                return None
        if headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return None
        return PlainHead(method, code.decode(), query, headers)
