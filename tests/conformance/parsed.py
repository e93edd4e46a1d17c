"""Parses bytes with the HTTP parser that uvicorn uses."""

from collections.abc import Mapping

import httptools


class Parsed:
    """The HTTP parser's callbacks, and the values they received."""

    def __init__(self, data: bytes) -> None:
        self.url = self.body = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.begun = self.complete = 0
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1

    def first(self) -> Mapping[bytes, bytes]:
        """Returns the first line of each header."""
        return dict(reversed(self.headers))
