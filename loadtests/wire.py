"""Sends exact bytes over HTTP/1.1 connections and returns the raw answers."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Literal, cast

import httptools
import msgspec

from linkjolt.web.connections.upgrades import body_framing, new_parser, parser_after_upgrade

_ANSWER_SECONDS = 10.0
_READ_BYTES = 1 << 18
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)", re.IGNORECASE)
_CLOSES = re.compile(rb"\r\nconnection: close\r\n", re.IGNORECASE)
# Parts in which two runs of one program differ: times, the ids of requests, clicks and
# conversions, their address.
_VOLATILE = (
    (re.compile(rb"(?m)^date: [^\r]*\r$"), b"date: D\r"),
    (re.compile(rb"(?m)^x-request-id: [0-9a-f]{16}\r$"), b"x-request-id: I\r"),
    (re.compile(rb'"request_id":"[0-9a-f]{16}"'), b'"request_id":"I"'),
    (re.compile(rb"[0-9A-HJKMNP-TV-Z]{26}"), b"C"),
    (re.compile(rb"http://127\.0\.0\.1:\d+/"), b"http://E/"),
    (re.compile(rb"(?<=&t=)\d{10}(?=[#&\r])"), b"T"),
)


def normalised(answers: bytes) -> bytes:
    """Replaces the parts of answers that differ between any two requests."""
    for pattern, shown in _VOLATILE:
        answers = pattern.sub(shown, answers)
    return answers


class ParsedHeads(msgspec.Struct, frozen=True):
    """Bytes as an HTTP parser sees them: the methods of their complete heads, and their end.

    `whole`: they end with a message. `part`: they end inside a message. `bad`: they are not HTTP.
    `keeps_alive`: no request closes the connection.
    """

    methods: tuple[bytes, ...]
    end: Literal["whole", "part", "bad"]
    keeps_alive: bool = True


class _ParserCallbacks:
    """Callbacks of httptools' parser."""

    def __init__(self) -> None:
        self.inside = False
        self.keeps_alive = True
        self.methods: list[bytes] = []
        self.parser = new_parser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._framing = b""

    def on_message_begin(self) -> None:
        self.inside = True
        self._headers = []

    def on_url(self, _: bytes) -> None: ...

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.methods.append(self.parser.get_method())
        self.keeps_alive &= (
            self.parser.get_http_version() == "1.1" and self.parser.should_keep_alive()
        )
        if self.parser.should_upgrade():
            self._framing = body_framing(self._headers)

    def on_body(self, _: bytes) -> None: ...

    def on_message_complete(self) -> None:
        self.inside = self._framing != b""

    def feed(self, sent: bytes) -> None:
        """Parses bytes, those behind an upgrade that nobody makes, too."""
        while sent:
            try:
                return self.parser.feed_data(sent)
            except httptools.HttpParserUpgrade as upgrade:
                sent = sent[upgrade.args[0] :]
                self.parser = parser_after_upgrade(self, self._framing)
                self._framing = b""
        return None


def read_heads(sent: bytes) -> ParsedHeads:
    """Parses heads as an edge does on a fresh connection."""
    callbacks = _ParserCallbacks()
    try:
        callbacks.feed(sent)
    except httptools.HttpParserError:
        return ParsedHeads(tuple(callbacks.methods), "bad", callbacks.keeps_alive)
    return ParsedHeads(
        tuple(callbacks.methods), "part" if callbacks.inside else "whole", callbacks.keeps_alive
    )


class Answers(msgspec.Struct, frozen=True):
    """Raw answers, and the statuses of the complete ones without interim ones (1xx).

    `last_closes`: the last answer has `Connection: close`. `ended`: the server closed.
    `silent`: an answer that was due did not arrive in time. `was_reset`: the connection was
    reset, so that bytes not read yet may be lost.
    """

    raw: bytes
    statuses: tuple[int, ...] = ()
    last_closes: bool = False
    ended: bool = False
    silent: bool = False
    was_reset: bool = False


def read_answers(raw: bytes, methods: Sequence[bytes]) -> Answers:
    """Parses the complete answers in `raw` to requests with these methods."""
    at, statuses, closes = 0, list[int](), False
    while status := _STATUS.match(raw, at):
        end = raw.find(b"\r\n\r\n", at)
        if end < 0:
            break
        head = raw[at : end + 4]
        length = _LENGTH.search(head)
        at = end + 4
        if length and methods[len(statuses) : len(statuses) + 1] != (b"HEAD",):
            at += int(length[1])
        if at > len(raw):
            break
        if int(status[1]) >= 200:
            statuses.append(int(status[1]))
            closes = bool(_CLOSES.search(head))
    return Answers(raw, tuple(statuses), closes)


class Wire:
    """One connection to a server on this machine."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.was_reset = False

    @staticmethod
    @asynccontextmanager
    async def open(port: int) -> "AsyncGenerator[Wire]":
        """Opens a connection for the duration of the block."""
        wire = Wire(*await asyncio.open_connection("127.0.0.1", port))
        try:
            yield wire
        finally:
            wire.writer.close()
            with suppress(OSError):
                await wire.writer.wait_closed()

    def send(self, data: bytes) -> None:
        """Sends in one segment, if the socket's buffer is empty and large enough."""
        # uvloop raises this for a connection that the server has closed; `read` finds the end.
        with suppress(RuntimeError):
            self.writer.write(data)

    async def read(self, heads: ParsedHeads, seconds: float = _ANSWER_SECONDS) -> Answers:
        """Waits for one answer per head, or for the connection's end if that is due.

        If the heads end inside a message, the sending side is closed so that the server gives up,
        but only after all complete requests were answered: they would be lost otherwise.
        """
        raw = b""
        answers = Answers(raw)
        half_closed = False
        try:
            async with asyncio.timeout(seconds):
                while True:
                    if len(answers.statuses) >= len(heads.methods) and not half_closed:
                        if heads.end == "whole" and not answers.last_closes:
                            return answers
                        if heads.end == "part":
                            self.writer.write_eof()
                            half_closed = True
                    data = await self._receive()
                    if not data:
                        return msgspec.structs.replace(
                            answers, ended=True, was_reset=self.was_reset
                        )
                    raw += data
                    answers = read_answers(raw, heads.methods)
        except TimeoutError:
            return msgspec.structs.replace(answers, silent=True)

    async def _receive(self) -> bytes:
        try:
            return await self.reader.read(_READ_BYTES)
        except (ConnectionResetError, BrokenPipeError):
            self.was_reset = True
            return b""

    async def ask(self, data: bytes) -> Answers:
        """Sends bytes and reads their answers."""
        self.send(data)
        return await self.read(read_heads(data))

    def reset(self) -> None:
        """Resets the connection; bytes that the server has not read are lost."""
        connection = cast(socket.socket, self.writer.get_extra_info("socket"))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
