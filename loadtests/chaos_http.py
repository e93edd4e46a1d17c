"""A client that costs little: HTTP/1.1 over one keep-alive connection, one request at a time."""

import asyncio
import re
from typing import cast
from urllib.parse import urlsplit

import msgspec

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LOCATION = re.compile(rb"\r\nlocation: *([^\r]*)", re.IGNORECASE)
_ANSWER_SECONDS = 20.0
_HEAD_END = b"\r\n\r\n"


class Answer(msgspec.Struct, frozen=True):
    """One response; `location` is empty where the header is missing."""

    status: int
    location: bytes
    body: bytes


class _Exchange(asyncio.Protocol):
    """Bytes to answers; a connection that ends fails whoever waits."""

    def __init__(self) -> None:
        self._got = bytearray()
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by inheritance.
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(_HEAD_END)
        if end < 0:
            return
        length = _LENGTH.search(self._got, 0, end + 2)
        begin = end + len(_HEAD_END)
        size = begin + (int(length[1]) if length else 0)
        if len(self._got) < size:
            return
        location = _LOCATION.search(self._got, 0, end + 2)
        body = bytes(self._got[begin:size])
        answer = Answer(int(self._got[9:12]), bytes(location[1]) if location else b"", body)
        del self._got[:size]
        if self.answer and not self.answer.done():
            self.answer.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self.answer and not self.answer.done():
            self.answer.set_exception(exc or ConnectionResetError("the connection ended"))


class Connection:
    """Connects when asked and after each loss."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._exchange: _Exchange | None = None

    async def ask(self, request: bytes) -> Answer:
        """The answer. OSError where none came: the request may have been executed."""
        loop = asyncio.get_running_loop()
        exchange = self._exchange
        if exchange is None or exchange.transport is None:
            _, exchange = await loop.create_connection(_Exchange, self._host, self._port)
            self._exchange = exchange
        if exchange.transport is None:
            raise ConnectionResetError("the connection ended")
        exchange.answer = loop.create_future()
        exchange.transport.write(request)
        late = loop.call_later(_ANSWER_SECONDS, exchange.transport.abort)
        try:
            return await exchange.answer
        finally:
            late.cancel()

    def close(self) -> None:
        if self._exchange and self._exchange.transport:
            self._exchange.transport.abort()
        self._exchange = None
