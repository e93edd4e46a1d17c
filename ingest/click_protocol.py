"""The fast path of a click: answered by the HTTP protocol itself, with no scope, task or cycle.

It takes what is simply a click on a link in memory; everything else goes the ordinary way through
the application, which gives the same answers (`tests/conformance`).
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from ingest.clicks import depart, headers_read, visit_of
from ingest.edge import Edge
from ingest.plain_head import MAX_BYTES, plain_heads
from ingest.redirect import closed_to
from linkjolt import web
from linkjolt.http_protocol import BoundedProtocol

_ANSWER = (
    b"cache-control: no-store\r\nx-robots-tag: noindex\r\nlocation: %s\r\n"
    b"content-length: 0\r\nx-request-id: %s\r\n%s\r\n"
)


class _NoEvent:
    def set(self) -> None:
        """Nobody waits for it."""


class _Exchange:
    """A click under way, as uvicorn looks at a request under way: what follows it queues up."""

    __slots__ = (
        "disconnected",
        "keep_alive",
        "location",
        "message_event",
        "more_body",
        "response_complete",
    )

    def __init__(self) -> None:
        self.location = ""
        self.keep_alive = True
        self.response_complete = True
        self.disconnected = False
        self.more_body = False
        self.message_event = _NoEvent()


class Departures:
    """What an edge's connections share: they answer all clicks of a frame when it is on disk."""

    def __init__(self, edge: Edge) -> None:
        self.edge = edge
        self.match = plain_heads(headers_read(edge)).fullmatch
        self._kept: asyncio.Future[None] | None = None
        self._leaving: list[ClickProtocol] = []
        self._defaults: list[tuple[bytes, bytes]] = []
        self._begin = b""

    def add(self, kept: asyncio.Future[None] | None, protocol: "ClickProtocol") -> None:
        """Has `protocol` answer as soon as its click is kept."""
        if kept is None or kept.done():
            protocol.answer(self._begin_of(protocol))
            return
        if kept is not self._kept:
            self._kept = kept
            self._leaving = []
            kept.add_done_callback(partial(self._leave, self._leaving))
        self._leaving.append(protocol)

    def _leave(self, leaving: "list[ClickProtocol]", _: asyncio.Future[None]) -> None:
        begin = self._begin_of(leaving[0])
        for protocol in leaving:
            protocol.answer(begin)

    def _begin_of(self, protocol: "ClickProtocol") -> bytes:
        """Status line and the headers that uvicorn sets; it makes new ones once a second."""
        defaults = protocol.server_state.default_headers
        if defaults is not self._defaults:
            self._defaults = defaults
            lines = b"".join([b"%s: %s\r\n" % line for line in defaults])
            self._begin = b"HTTP/1.1 302 Found\r\n" + lines
        return self._begin


class ClickProtocol(BoundedProtocol):
    """One connection of an edge."""

    def __init__(
        self,
        departures: Departures,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._departures = departures
        self._exchange = _Exchange()
        self.cycle = cast(RequestResponseCycle, self._exchange)
        self._parsing = False  # The parser is inside a message.
        self._answered_at = 0.0

    def connection_lost(self, exc: Exception | None) -> None:
        # Also where another request is in line behind the click.
        self._exchange.disconnected = True
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        between = self.cycle.response_complete and not self._parsing
        if not between or self.flow.write_paused or not self._depart(data):
            super().data_received(data)

    def on_message_begin(self) -> None:
        self._parsing = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        self._parsing = False
        super().on_message_complete()

    def _depart(self, data: bytes) -> bool:
        """True where this is a whole click on an open link in memory, which is under way now."""
        departures = self._departures
        head = departures.match(data) if len(data) <= MAX_BYTES else None
        if head is None:
            return False
        method, code, query, *values = head.groups(b"")
        route = departures.edge.directory.route_now(code.decode())
        if route is None or closed_to(route):
            return False
        if self._head_timer is not None:
            self._head_came()
        peer = self.client[0] if self.client else ""
        visit = visit_of(departures.edge, peer, method, query, values)
        departure = depart(departures.edge, route, visit)
        exchange = self._exchange
        exchange.location = departure.location
        exchange.response_complete = False
        self.cycle = cast(RequestResponseCycle, exchange)
        departures.add(departure.kept, self)
        return True

    def answer(self, begin: bytes) -> None:
        """Sends the visitor on, if he is still there; `begin` is how every answer begins."""
        exchange = self._exchange
        exchange.response_complete = True
        if exchange.disconnected:
            return
        last = b"" if exchange.keep_alive else b"connection: close\r\n"
        rest = (exchange.location.encode(), web.new_request_id().encode(), last)
        self.transport.write(begin + _ANSWER % rest)
        if not exchange.keep_alive:
            self.transport.close()
        elif self.pipeline or self.flow.read_paused:
            self.on_response_complete()
        else:
            self._rest()

    def _rest(self) -> None:
        # One timer for many answers; setting one for each costs as much as making the answer.
        self._answered_at = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._rest_for(self.timeout_keep_alive)

    def _rest_for(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Ends a connection that was idle for the whole time, else looks again later."""
        rest_seconds = self._answered_at + self.timeout_keep_alive - self.loop.time()
        if self.idle and rest_seconds <= 0:
            super().timeout_keep_alive_handler()
        else:
            self._rest_for(max(rest_seconds, 1.0))


def click_protocol(edge: Edge) -> Callable[..., BoundedProtocol]:
    """What makes an edge's connections; without fast clicks all of them take the ordinary way."""
    if not edge.settings.fast_clicks:
        return BoundedProtocol
    return partial(ClickProtocol, Departures(edge))
