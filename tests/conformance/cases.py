"""Builds requests as bytes, with the answers and clicks expected of both edges."""

import msgspec

from tests.conformance.both import Both

FIREFOX = "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


class Case(msgspec.Struct, frozen=True):
    """Segments, each sent when the one before was read, and the expected statuses.

    `ended`: the edge then closes the connection. `clicks` is how many are stored.
    """

    name: str
    segments: tuple[bytes, ...]
    statuses: tuple[int, ...]
    clicks: int = 0
    ended: bool = False


def request(target: str, *lines: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Builds a head; a character is a byte (Latin-1)."""
    head = [f"{method} {target} HTTP/{version}", "Host: edge", *lines, "", ""]
    return "\r\n".join(head).encode("latin-1")


def post(body: bytes, *lines: str, target: str = "/v1/conversions") -> bytes:
    """Builds a POST with its body."""
    return request(target, *lines, f"Content-Length: {len(body)}", method="POST") + body


def cut(sent: bytes, size: int) -> list[bytes]:
    """Cuts bytes into segments of at most `size`."""
    return [sent[at : at + size] for at in range(0, len(sent), size)]


CLICK_PATH = "/tc_PLAIN"
CLICK = request(CLICK_PATH, FIREFOX)


def redirected(name: str, *segments: bytes, ended: bool = False) -> Case:
    """Expects one recorded click."""
    return Case(name, segments, (302,), 1, ended)


def answered(name: str, status: int, *segments: bytes, ended: bool = False) -> Case:
    """Expects one answer, and nothing recorded."""
    return Case(name, segments, (status,), 0, ended)


async def check(both: Both, case: Case) -> None:
    answer = await both.ask(*case.segments)
    assert answer.statuses == case.statuses
    assert len(answer.clicks) == case.clicks
    assert answer.ended == case.ended
