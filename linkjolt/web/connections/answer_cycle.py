"""Writes the answers of the application: head and body in one write where the length is known."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

_Headers = Iterable[tuple[bytes, bytes]]
# RFC 9110, 6.4.1: their answers have no body, and so none that is chunked.
_WITHOUT_BODY = (204, 304)


class AnswerCycle(RequestResponseCycle):
    """A request on a connection and its answer, as uvicorn's, which writes twice.

    `default_lines` returns the header lines of every answer.
    """

    def __init__(
        self, connection: HttpToolsProtocol, default_lines: Callable[[], bytes], *, keep_alive: bool
    ) -> None:
        super().__init__(
            connection.scope,
            connection.transport,
            connection.flow,
            connection.logger,
            connection.access_logger,
            False,
            [],
            asyncio.Event(),
            connection.expect_100_continue,
            keep_alive,
            connection.on_response_complete,
        )
        self._default_lines = default_lines
        # The head of an answer whose body follows at once.
        self._unwritten_head = b""

    async def receive(self) -> ASGIReceiveEvent:
        is_over = self.disconnected or self.response_complete or self.waiting_for_100_continue
        if self.more_body or is_over or not self.body:
            return await super().receive()
        # Nearly always the whole body has arrived: nothing is waited for.
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: ASGISendEvent) -> None:
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        if self.response_complete:
            raise RuntimeError(f"{message['type']} after a whole answer")
        answer: Any = message
        if not self.response_started:
            self._start(answer["status"], answer.get("headers", ()))
        else:
            self._write(answer.get("body", b""), is_last=not answer.get("more_body", False))

    def _start(self, status: int, headers: _Headers) -> None:
        head = _lines(headers)
        self.response_started = True
        self.waiting_for_100_continue = False
        closing = False
        for name, value in headers:
            if name == b"content-length":
                self.expected_content_length = int(value)
                self.chunked_encoding = False
            elif name == b"connection" and value == b"close":
                closing = True
        if closing:
            self.keep_alive = False
        elif not self.keep_alive:
            head += b"connection: close\r\n"
        if self.chunked_encoding is None and status not in _WITHOUT_BODY and not self._is_head:
            self.chunked_encoding = True
            head += b"transfer-encoding: chunked\r\n"
        head = b"%b%b%b\r\n" % (STATUS_LINE[status], self._default_lines(), head)
        if self.chunked_encoding:
            # What is streamed may be long in coming.
            self.transport.write(head)
        else:
            self._unwritten_head = head

    @property
    def _is_head(self) -> bool:
        return self.scope["method"] == "HEAD"

    def _write(self, body: bytes, *, is_last: bool) -> None:
        if self._is_head:
            self.expected_content_length, body = 0, b""
        elif self.chunked_encoding:
            body = _chunk(body, is_last=is_last)
        else:
            self.expected_content_length -= len(body)
            if self.expected_content_length < 0 or (is_last and self.expected_content_length):
                raise RuntimeError("the body is longer or shorter than its Content-Length")
        if written := self._unwritten_head + body:
            self._unwritten_head = b""
            self.transport.write(written)
        if is_last:
            self._end()

    def _end(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def _lines(headers: _Headers) -> bytes:
    """Returns headers as lines; RuntimeError where one would break into two."""
    lines = [b"%b: %b\r\n" % header for header in headers]
    text = b"".join(lines)
    if not text.count(b"\n") == text.count(b"\r") == len(lines) or b"\0" in text:
        raise RuntimeError("a header has a line break")
    return text


def _chunk(body: bytes, *, is_last: bool) -> bytes:
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    return chunk + b"0\r\n\r\n" if is_last else chunk
