"""Parses lines of a web server's access log in combined format (Apache, nginx)."""

import re
from typing import Literal

import msgspec

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_LINE = re.compile(rf"(\S+) \S+ [^\[]*\[[^\]]*\] {_QUOTED} \d{{3}} (?:\d+|-) {_QUOTED} {_QUOTED}")
_REQUEST = re.compile(r"([A-Za-z]+) (\S.*?)(?: HTTP/\d(?:\.\d)?)?")
_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|(.))")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class LoggedRequest(msgspec.Struct, frozen=True):
    """A logged request and its sender; texts hold one character per byte (latin-1).

    `path` starts with `/` and is without the query. `referrer` and `user_agent` are '' where
    the log has `-`. Methods but HEAD count as GET: tracking links answer no other.
    """

    address: str
    method: Literal["GET", "HEAD"]
    path: str
    referrer: str
    user_agent: str


class MalformedLine(msgspec.Struct, frozen=True):
    """A line that holds no request, and why."""

    reason: str


def read_line(line: str) -> LoggedRequest | MalformedLine:
    """Parses one line, decoded as latin-1; anything may follow the user agent."""
    match = _LINE.match(line)
    if match is None:
        return MalformedLine("is not in the combined format" if line.strip() else "is empty")
    address, request, referrer, user_agent = match.groups()
    request_match = _REQUEST.fullmatch(_unescape(request))
    if request_match is None:
        return MalformedLine("holds no HTTP request")
    path = (
        _ORIGIN.sub("", request_match[2], count=1)
        if _ORIGIN.match(request_match[2])
        else request_match[2]
    )
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    if not path.startswith("/"):
        return MalformedLine("asks for no path")
    return LoggedRequest(
        address=address,
        method="HEAD" if request_match[1] == "HEAD" else "GET",
        path=path,
        referrer=_header(referrer),
        user_agent=_header(user_agent),
    )


def _header(logged: str) -> str:
    """Returns a header as it was sent; '' for `-`, which means none."""
    return "" if logged == "-" else _unescape(logged).strip(" ")


def _unescape(text: str) -> str:
    r"""Undoes `\"`, `\\`, `\xHH`; replaces control characters, which no header may hold."""
    plain = _ESCAPE.sub(_unescaped, text) if "\\" in text else text
    return _CONTROL.sub(" ", plain)


def _unescaped(escape: re.Match[str]) -> str:
    if escape[1]:
        return chr(int(escape[1], 16))
    return escape[2] if escape[2] in '"\\' else " "
