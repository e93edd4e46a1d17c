"""Reads the messages of a request that asks for an upgrade as if it did not (RFC 9110, 7.8).

httptools stops at the head of such a request and leaves its body unread, which would then be read
as the next request: https://github.com/MagicStack/httptools/issues/124. Java's HttpClient asks
for `h2c` with every first request over plain HTTP.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

import httptools


class MessageReader(Protocol):
    """The callbacks of a parser."""

    on_message_begin: Callable[[], None]
    on_url: Callable[[bytes], None]
    on_header: Callable[[bytes, bytes], None]
    on_headers_complete: Callable[[], None]
    on_body: Callable[[bytes], None]
    on_message_complete: Callable[[], None]


def body_framing(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns the header lines that frame a request's body, empty where there is none."""
    return b"".join(
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 "))
    )


def new_parser(reader: object) -> httptools.HttpRequestParser:
    """Makes a parser, as lenient as uvicorn's."""
    parser = httptools.HttpRequestParser(reader)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def parser_after_upgrade(reader: MessageReader, framing: bytes) -> httptools.HttpRequestParser:
    """Makes a parser for what follows the head of a request: its body, if any, then others."""
    if not framing:
        return new_parser(reader)
    messages = _MessagesAfterHead(reader)
    parser = new_parser(messages)
    parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n" % framing)
    messages.head_passed = True
    return parser


class _MessagesAfterHead:
    """Passes on a parser's callbacks, but for those of its first head."""

    def __init__(self, reader: MessageReader) -> None:
        self._reader = reader
        self.head_passed = False
        self.on_body = reader.on_body
        self.on_message_complete = reader.on_message_complete

    def on_message_begin(self) -> None:
        if self.head_passed:
            self._reader.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self.head_passed:
            self._reader.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.head_passed:
            self._reader.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self.head_passed:
            self._reader.on_headers_complete()
