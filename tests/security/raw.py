"""Sends bytes that no HTTP library sends, over blocking sockets."""

import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

_SECONDS = 10


def connect(url: str) -> socket.socket:
    """Connects to a listener."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=_SECONDS)


def exchange(url: str, *segments: bytes) -> bytes:
    """Sends segments and returns everything up to the end of the first answer's body."""
    with connect(url) as sock:
        for segment in segments:
            sock.sendall(segment)
        return read_answer(sock)


def let_read(url: str) -> None:
    """Waits until a listener has read what was sent before: it reads in the order of arrival."""
    assert exchange(url, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")


def read_answer(sock: socket.socket) -> bytes:
    """Reads one answer that has a Content-Length; what there is if the connection ends first."""
    got = b""
    while b"\r\n\r\n" not in got:
        if not (part := sock.recv(65_536)):
            return got
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
    length = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
    while len(body) < length:
        if not (part := sock.recv(65_536)):
            break
        body += part
    return head + b"\r\n\r\n" + body


@contextmanager
def idle_connections(url: str, count: int) -> Generator[list[socket.socket]]:
    """Opens connections that send nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(url)) for _ in range(count)]
