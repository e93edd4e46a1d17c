"""The fast path of a click: answered by the HTTP protocol itself, with no scope, task or cycle.

It takes what is simply a click on a link in memory; everything else goes the ordinary way through
the application, which gives the same answers (`tests/conformance`).
"""

import asyncio
import re
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from ingest.clicks import depart, headers_read, peer_address, visit_of
from ingest.edge import Edge
from ingest.plain_head import MAX_BYTES, plain_heads
from linkjolt import web
from linkjolt.http_protocol import BoundedProtocol
from linkjolt.registry import Route

_ALIKE = "cache-control: no-store\r\nx-robots-tag: noindex\r\nlocation: "


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
        self.edge = edge
        names = tuple(name.decode() for name in headers_read(edge))
        self.match = plain_heads(names).fullmatch
        self.route_now = edge.directory.route_now
        self._came: list[ClickProtocol] = []
        self._kept: asyncio.Future[None] | None = None
        self._leaving: list[tuple[ClickProtocol, str]] = []
        self._defaults: list[tuple[bytes, bytes]] = []
        self._begin = ""

    def come(self, protocol: "ClickProtocol") -> None:
        """Has `protocol` read what came to it when the loop has gathered all of this turn.

        One after the other they take a tenth less than each between two calls of the kernel.
        """
        if not self._came:
            protocol.loop.call_soon(self.read)
        self._came.append(protocol)

    def read(self) -> None:
        """Reads what came in this turn so far."""
        came, self._came = self._came, []
        for protocol in came:
            protocol.read()

    def depart(self, protocol: "ClickProtocol", route: Route, head: re.Match[str]) -> None:
        """Has `protocol` answer as soon as its click is kept."""
        method, _, query, *values = head.groups("")
        visit = visit_of(self.edge, protocol.peer, method, query, values, plain=True)
        location, kept = depart(self.edge, route, visit)
        if kept is not self._kept or kept is None:
            if kept is None or kept.done():
                protocol.answer(self._begin_of(protocol), location, protocol.loop.time())
                return
            self._kept = kept
            self._leaving = []
            kept.add_done_callback(partial(self._leave, self._leaving))
        self._leaving.append((protocol, location))

    def _leave(self, leaving: "list[tuple[ClickProtocol, str]]", _: asyncio.Future[None]) -> None:
        first = leaving[0][0]
        begin, now = self._begin_of(first), first.loop.time()
        for protocol, location in leaving:
            protocol.answer(begin, location, now)

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

    __slots__ = ("_answered_at", "_came", "_departures", "_exchange", "_parsing", "peer")

    def __init__(
        self,
        departures: Departures,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.peer = ""
        self._departures = departures
        self._exchange = _Exchange()
        self.cycle = cast(RequestResponseCycle, self._exchange)
        self._came = b""  # Not read yet: anything else that happens waits for it.
        self._parsing = False  # The parser is inside a message.
        self._answered_at = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.peer = peer_address(self.client)

    def connection_lost(self, exc: Exception | None) -> None:
        self._catch_up()
        # Also where another request is in line behind the click.
        self._exchange.disconnected = True
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self._catch_up()
        super().eof_received()

    def shutdown(self) -> None:
        self._catch_up()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        if self._came:
            self._departures.read()
        self._came = data
        self._departures.come(self)

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
        if not free or len(data) > MAX_BYTES or not (self._departs(data) or self.takes(data)):
            super().data_received(data)

    def takes(self, data: bytes) -> bool:
        """True where this is another whole request that is answered here, and under way now."""
        return False

    def _departs(self, data: bytes) -> bool:
        """True where this is a whole click on an open link in memory, which is under way now."""
        departures = self._departures
        head = departures.match(data.decode("latin-1"))
        route = departures.route_now(head[2]) if head else None
        if head is None or route is None or route.closed:
            return False
        self.begin()
        departures.depart(self, route, head)
        return True

    def begin(self) -> None:
        """From now on until `finish` a request is under way; what follows it queues up."""
        if self._head_timer is not None:
            self._head_came()
        self._exchange.response_complete = False
        self.cycle = cast(RequestResponseCycle, self._exchange)

    def answer(self, begin: str, location: str, now: float) -> None:
        """Sends the visitor on; `begin` is how every answer begins."""
        head = (
            f"{begin}{location}\r\ncontent-length: 0\r\n"
            f"x-request-id: {web.new_request_id()}\r\n{self.last_line()}\r\n"
        )
        self.finish(head.encode(), now)

    def last_line(self) -> str:
        """The last header line, where this is the connection's last answer."""
        return "" if self._exchange.keep_alive else "connection: close\r\n"

    def finish(self, answer: bytes, now: float) -> None:
        """Writes an answer, if somebody is still there, and goes on with what is in line."""
        exchange = self._exchange
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
