"""The fast path of a click: answered by the HTTP protocol itself, with no scope, task or cycle.

It takes what is simply a click on a link in memory; everything else goes the ordinary way through
the application, which gives the same answers (`tests/conformance`).
"""

import asyncio
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from ingest.clicks.http import depart
from ingest.clicks.request_head import MAX_BYTES, HeaderLines, read_head
from ingest.edge import Edge
from ingest.publishing.publishers import FRAME_CLICKS_MAX
from linkjolt.web import requests
from linkjolt.web.bounded_protocol import BoundedProtocol

_ALIKE = "cache-control: no-store\r\nx-robots-tag: noindex\r\nlocation: "
# Of a connection's last answer.
LAST_LINE = "connection: close\r\n"


class _NoEvent:
    def set(self) -> None:
        """Nobody waits for it."""


class _Exchange:
    """A click under way, as uvicorn looks at a request under way: what follows it queues up."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "more_body", "response_complete")

    def __init__(self) -> None:
        self.keep_alive = True
        self.response_complete = True
        self.disconnected = False
        self.more_body = False
        self.message_event = _NoEvent()


class Departures:
    """What an edge's connections share: all clicks of a frame are answered when it is on disk."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        # Connections with something to read. One after the other they take a tenth less than each
        # between two calls of the kernel.
        self.came: list[ClickProtocol] = []
        self.direct = HeaderLines(edge.visits.direct)
        self._proxied = HeaderLines(edge.visits.proxied)
        self._route_now = edge.directory.route_now
        # Of the clicks of this turn, where each leads and what is published of it.
        self._leaving: list[tuple[ClickProtocol, str]] = []
        self._lines: list[str] = []
        self._defaults: list[tuple[bytes, bytes]] = []
        self._begin = ""

    def read(self) -> None:
        """Reads what came in this turn so far."""
        came, self.came = self.came, []
        try:
            for protocol in came:
                protocol.read()
        finally:
            self._publish()

    def take(self, protocol: "ClickProtocol", data: bytes) -> bool:
        """True where this is a whole click on an open link in memory, which is under way now."""
        head = read_head(data)
        if head is None:
            return False
        code, query, lines = head
        route = self._route_now(code)
        if route is None or route.closed:
            return False
        told = protocol.lines.told(lines, protocol.ip)
        if told is None:
            return False
        protocol.begin()
        location, line = depart(self._edge, route, query, told)
        if line:
            self._leaving.append((protocol, location))
            self._lines.append(line)
        else:
            self._leave([(protocol, location)])
        return True

    def connected(self, client: tuple[str, int] | None) -> tuple[str, HeaderLines]:
        """What a connection's other end tells: its address, and how its headers are read."""
        ip, proxied = self._edge.visits.peer(client)
        return ip, self._proxied if proxied else self.direct

    def _publish(self) -> None:
        """What was taken in this turn leaves when it is on disk."""
        lines, leaving = self._lines, self._leaving
        self._lines, self._leaving = [], []
        for begin in range(0, len(lines), FRAME_CLICKS_MAX):
            end = begin + FRAME_CLICKS_MAX
            kept = self._edge.clicks.publish(*lines[begin:end])
            if kept.done():
                self._leave(leaving[begin:end])
            else:
                kept.add_done_callback(partial(self._leave, leaving[begin:end]))

    def _leave(
        self, leaving: "list[tuple[ClickProtocol, str]]", _: asyncio.Future[None] | None = None
    ) -> None:
        first = leaving[0][0]
        begin, now, new_id = self._begin_of(first), first.loop.time(), requests.new_request_id
        for protocol, location in leaving:
            last = "" if protocol.exchange.keep_alive else LAST_LINE
            answer = (
                f"{begin}{location}\r\ncontent-length: 0\r\nx-request-id: {new_id()}\r\n{last}\r\n"
            )
            protocol.finish(answer.encode(), now)

    def _begin_of(self, protocol: "ClickProtocol") -> str:
        """What all answers begin with; uvicorn makes its own headers anew once a second."""
        defaults = protocol.server_state.default_headers
        if defaults is not self._defaults:
            self._defaults = defaults
            lines = b"".join([b"%s: %s\r\n" % line for line in defaults]).decode("latin-1")
            self._begin = f"HTTP/1.1 302 Found\r\n{lines}{_ALIKE}"
        return self._begin


class ClickProtocol(BoundedProtocol):
    """One connection of an edge."""

    __slots__ = ("_answered_at", "_came", "_departures", "_parsing", "exchange", "ip", "lines")

    def __init__(
        self,
        departures: Departures,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.ip = ""  # The other end's address, told.
        self.lines = departures.direct
        self._departures = departures
        self.exchange = self.cycle = cast(RequestResponseCycle, _Exchange())
        self._came = b""  # Not read yet: anything else that happens waits for it.
        self._parsing = False  # The parser is inside a message.
        self._answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.ip, self.lines = self._departures.connected(self.client)

    def connection_lost(self, exc: Exception | None) -> None:
        self._catch_up()
        # Also where another request is in line behind the click.
        self.exchange.disconnected = True
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self._catch_up()
        super().eof_received()

    def shutdown(self) -> None:
        self._catch_up()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        departures = self._departures
        if self._came:
            departures.read()
        self._came = data
        if not departures.came:
            # Reads when the loop has gathered all that came in this turn.
            self.loop.call_soon(departures.read)
        departures.came.append(self)

    def _catch_up(self) -> None:
        if self._came:
            self._departures.read()

    def on_message_begin(self) -> None:
        self._parsing = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._parsing = False
        super().on_message_complete()

    def read(self) -> None:
        """Takes what came as a whole, else the ordinary way."""
        data, self._came = self._came, b""
        free = self.cycle.response_complete and not self._parsing and not self.flow.write_paused
        if (
            not free
            or len(data) > MAX_BYTES
            or not (self._departures.take(self, data) or self.takes(data))
        ):
            super().data_received(data)

    def takes(self, data: bytes) -> bool:
        """True where this is another whole request that is answered here, and under way now."""
        return False

    def begin(self) -> None:
        """From now on until `finish` a request is under way; what follows it queues up."""
        if self._head_timer is not None:
            self._head_came()
        self.exchange.response_complete = False
        self.cycle = self.exchange

    def finish(self, answer: bytes, now: float) -> None:
        """Writes an answer, if somebody is still there, and goes on with what is in line."""
        exchange = self.exchange
        exchange.response_complete = True
        if exchange.disconnected:
            return
        self.transport.write(answer)
        if not exchange.keep_alive:
            self.transport.close()
        elif self.pipeline or self.flow.read_paused:
            self.on_response_complete()
        else:
            # One timer for many answers: setting one for each costs as much as making the answer.
            self._answered_at = now
            if self.timeout_keep_alive_task is None:
                self._rest_for(self.timeout_keep_alive)

    def _rest_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Ends a connection that was idle for the whole time, else looks again later."""
        self._catch_up()
        rest_seconds = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self.idle and rest_seconds <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._rest_for(max(rest_seconds, 1.0))
