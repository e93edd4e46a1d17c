"""Generates requests from a seed: well-formed ones, damaged ones, and random bytes."""

import random
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from loadtests.edge_pair import LINKS
from loadtests.wire import read_heads

_BYTES_MAX = 20_000
_CODES = [*LINKS, "tc_PLAIN", "tc_PLAIN", "tc_MACROS"]
_PATHS = ["/healthz", "/nothing", "/c/healthz", "/", "/c/", "//x", "/v1/links", "*", "/tc_PLAIN/x"]
_NAMES = [
    *("sub1", "sub2", "sub10", "source_id", "gclid", "cost", "utm_source", "click_id", "cid"),
    *("notrack", "a", "x", "größe", "", "a b", "A" * 40),
]
_VALUES = ["", "1", "spring", "a b", "ü", "\r\n", "\0", "😀", "%", "&=", "{click_id}", "v" * 600]
_QUOTE_SAFE = ("", "/:?@!$'()*,;~{}|^`<>\"\\[]")
_PAIRS = [
    *[quote(name) for name in _NAMES] * len(_VALUES),
    *[
        f"{quote(name, safe=safe)}={quote(value, safe=safe)}"
        for name in _NAMES
        for value in _VALUES
        for safe in _QUOTE_SAFE
    ],
]
_METHODS = ["GET"] * 12 + ["HEAD"] * 3 + ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"]
_VERSIONS = ["1.1"] * 20 + ["1.0", "1.0", "2.0", "0.9", "1.2"]
_HEADERS: dict[str, list[str]] = {
    "Host": ["edge", "edge:80", "", "other.example"],
    "User-Agent": [
        "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0",
        "curl/8.5.0",
        "",
        "ü",
        "a" * 1_100,
    ],
    "Referer": ["https://blog.example/post?x=1", "android-app://com.x", "", "r" * 1_100],
    "Accept": ["*/*", "text/html,application/xhtml+xml;q=0.9"],
    "Accept-Language": ["de-DE,de;q=0.9", "en", "*", ";q=1", "x" * 40, ""],
    "Accept-Encoding": ["gzip, deflate, br"],
    "X-Forwarded-For": [
        "198.51.100.7",
        "unknown",
        "203.0.113.9, 127.0.0.1",
        "[2001:db8::1]:80",
        ",",
        "",
    ],
    "CF-IPCountry": ["DE", "BR", "XXX", ""],
    "Sec-Purpose": ["prefetch", "prefetch;prerender", "x"],
    "Purpose": ["prefetch", "x"],
    "X-Moz": ["prefetch", "x"],
    "X-Purpose": ["preview", "x"],
    "Sec-Fetch-Mode": ["navigate"],
    "Sec-CH-UA": ['"Chromium";v="140"'],
    "Upgrade-Insecure-Requests": ["1"],
    "Cookie": ["a=b; c=d"],
    "Connection": ["keep-alive", "Keep-Alive", "close", "TE", "keep-alive, close", "Upgrade", ""],
    "Proxy-Connection": ["keep-alive", "close"],
    "Upgrade": ["websocket", "h2c"],
    "Expect": ["100-continue"],
    "Content-Length": ["0"],
    "X-Odd": ["\t", "a\tb", " a ", "a:b", "\xff"],
}
_COMMON = ["Host", "User-Agent", "Accept", "Accept-Language", "Referer", "X-Forwarded-For"]
_RARE = [name for name in _HEADERS if name not in _COMMON]


class SentSegments(msgspec.Struct, frozen=True):
    """Bytes sent in segments on one connection before its answers are read."""

    segments: tuple[bytes, ...]

    @property
    def content(self) -> bytes:
        return b"".join(self.segments)


def _joined(lines: Sequence[str]) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


class RequestGenerator:
    """Generates an endless sequence of requests that its seed determines."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def well_formed(self) -> SentSegments:
        """Makes one to four mostly grammatical requests, in one or more segments."""
        return self._cut(self._several())

    def any(self) -> SentSegments:
        """Makes well-formed requests, damaged ones, or noise."""
        kind = self._random.random()
        if kind < 0.4:
            return self.well_formed()
        if kind < 0.9:
            return self._cut(self._damage(self._several())[:_BYTES_MAX])
        return SentSegments((self._noise(200),))

    def conversation(self) -> list[SentSegments]:
        """Makes the sequence to send on one connection while it stays open."""
        return [self.any() for _ in range(self._random.choice((1, 1, 2, 4, 12)))]

    def _several(self) -> bytes:
        count = self._random.choice((1, 1, 1, 1, 2, 4))
        return b"".join(self._request() for _ in range(count))

    def _request(self) -> bytes:
        return self._plain() if self._chance(0.6) else self._odd()

    def _plain(self) -> bytes:
        """Makes a click as browsers send it, sometimes with one odd header."""
        pick = self._random.choice
        path = pick(("/", "/", "/c/")) + pick(_CODES) + self._query()
        names = [name for name in _COMMON if self._chance(0.5)] or ["Host"]
        lines = [f"{self._spelled(name)}: {_HEADERS[name][0]}" for name in names]
        if self._chance(0.2):
            name = pick(list(_HEADERS))
            lines.insert(self._random.randint(0, len(lines)), f"{name}: {pick(_HEADERS[name])}")
        return _joined([f"{pick(('GET', 'GET', 'HEAD'))} {path} HTTP/1.1", *lines])

    def _odd(self) -> bytes:
        pick = self._random.choice
        names = [name for name in _COMMON if self._chance(0.5)]
        names += [pick(_RARE) for _ in range(pick((0, 0, 0, 1, 1, 2, 3)))]
        self._random.shuffle(names)
        lines = [self._line(name, pick(_HEADERS[name])) for name in names]
        body = b""
        if self._chance(0.1):
            body, line = self._body()
            lines.insert(self._random.randint(0, len(lines)), line)
        return _joined([f"{pick(_METHODS)} {self._target()} HTTP/{pick(_VERSIONS)}", *lines]) + body

    def _target(self) -> str:
        if self._chance(0.1):
            return self._random.choice(_PATHS)
        path = self._random.choice(("/", "/", "/", "/c/")) + self._random.choice(_CODES)
        if self._chance(0.05):
            path = path.replace("_", "%5F")
        origin = "http://edge" if self._chance(0.03) else ""
        plus = self._random.choice(("+", "/", "%0a")) if self._chance(0.05) else ""
        return origin + path + plus + self._query()

    def _query(self) -> str:
        if self._chance(0.4):
            return ""
        count = 120 if self._chance(0.02) else self._random.randint(0, 4)
        pairs = "&".join(self._random.choices(_PAIRS, k=count))[:7_000]
        return f"?{pairs}#part" if self._chance(0.02) else f"?{pairs}"

    def _line(self, name: str, value: str) -> str:
        colon = self._random.choice((": ", ": ", ": ", ": ", ":", ":  ", ":\t"))
        return self._spelled(name) + colon + value

    def _spelled(self, name: str) -> str:
        return self._random.choice((name, name, name.lower(), name.upper(), name.swapcase()))

    def _body(self) -> tuple[bytes, str]:
        body = self._random.choice(
            (b"{}", b"", b"GET /tc_PLAIN HTTP/1.1\r\n\r\n", self._noise(300))
        )
        if self._chance(0.5):
            return body, f"Content-Length: {len(body)}"
        chunk = b"%x\r\n%s\r\n" % (len(body), body) if body else b""
        return chunk + b"0\r\n\r\n", "Transfer-Encoding: chunked"

    def _damage(self, data: bytes) -> bytes:
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            begin = self._random.randint(0, len(data))
            end = min(len(data), begin + self._random.choice((0, 1, 1, 1, 2, 9)))
            inside = data[begin:end]
            data = self._random.choice(
                (
                    data[:begin] + self._noise(3) + data[end:],
                    data[:begin] + data[end:],
                    data[:begin] + inside * 2 + data[end:],
                    data[:begin],
                    data[:begin]
                    + self._random.choice((b"\r\n", b"\n", b"\r", b" ", b":", b"\0"))
                    + data[end:],
                    data[:begin]
                    + bytes(byte ^ 1 << self._random.randrange(8) for byte in inside)
                    + data[end:],
                    data + self._request()[begin:],
                )
            )
        return data

    def _noise(self, size_max: int) -> bytes:
        return self._random.randbytes(self._random.randint(1, size_max))

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _cut(self, data: bytes) -> SentSegments:
        """Cuts bytes into segments whose timing does not affect the answers.

        An edge that has closed the connection refuses later segments, and its last answer may be
        lost: only a request that keeps the connection alive is also cut after its head.
        """
        heads = read_heads(data)
        if heads.end == "bad" or not self._chance(0.3):
            return SentSegments((data,))
        keeps_alive = heads.end == "whole" and heads.keeps_alive
        end = len(data) if keeps_alive or not heads.methods else data.find(b"\r\n\r\n") + 3
        cuts = sorted(self._random.randint(0, end) for _ in range(self._random.randint(1, 4)))
        pieces = zip([0, *cuts], [*cuts, len(data)], strict=True)
        return SentSegments(tuple(data[begin:end] for begin, end in pieces if begin < end))
