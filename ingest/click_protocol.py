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

from ingest.clicks import Departure, depart_now, headers_of
from ingest.edge import Edge
from linkjolt import web
from linkjolt.http_protocol import BoundedProtocol

_METHODS = {b"GET": "GET", b"HEAD": "HEAD"}
# With any of these there may be more to a request than its head.
_ORDINARY = frozenset({b"content-length", b"transfer-encoding", b"expect", b"upgrade"})
_ANSWER = (
    b"HTTP/1.1 302 Found\r\n%scache-control: no-store\r\nx-robots-tag: noindex\r\n"
    b"location: %s\r\ncontent-length: 0\r\nx-request-id: %s\r\n%s\r\n"
)


class _NoEvent:
    def set(self) -> None:
        """Nobody waits for it."""


_NO_EVENT = _NoEvent()


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

    def __init__(self, location: str, keep_alive: bool) -> None:
        self.location = location
        self.keep_alive = keep_alive
        self.response_complete = False
        self.disconnected = False
        self.more_body = False
        self.message_event = _NO_EVENT


class Departures:
    """Answers all clicks of one frame together, when it is on disk."""

    def __init__(self) -> None:
        self._kept: asyncio.Future[None] | None = None
        self._leaving: list[Callable[[], None]] = []

    def add(self, kept: asyncio.Future[None], leave: Callable[[], None]) -> None:
        """Calls `leave` when `kept` is done."""
        if kept is not self._kept:
            self._kept = kept
            self._leaving = []
            kept.add_done_callback(partial(_leave, self._leaving))
        self._leaving.append(leave)


def _leave(leaving: list[Callable[[], None]], _: asyncio.Future[None]) -> None:
    for leave in leaving:
        leave()


class ClickProtocol(BoundedProtocol):
    """One connection of an edge."""

    def __init__(
        self,
        edge: Edge,
        departures: Departures,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._edge = edge
        self._departures = departures

    def on_message_begin(self) -> None:
        # The scope waits until it is known to be needed.
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        if departure := self._departure():
            self._in_head = False
            self._take(departure)
            return
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url = url
        self.headers.extend(headers)
        self.expect_100_continue = expect
        super().on_headers_complete()

    def _departure(self) -> Departure | None:
        parser = self.parser
        # Not asked of a connection that is gone.
        assert parser
        method = _METHODS.get(parser.get_method())
        if method is None or b"#" in self.url or parser.get_http_version() != "1.1":
            return None
        if not self.idle or self.flow.write_paused:
            return None
        headers = headers_of(self.headers)
        if not _ORDINARY.isdisjoint(headers) or self._over_bounds():
            return None
        path, _, query = self.url.partition(b"?")
        peer = self.client[0] if self.client else ""
        return depart_now(self._edge, method, path.decode("latin-1"), query, headers, peer)

    def _over_bounds(self) -> bool:
        if len(self.url) > web.URL_MAX_BYTES:
            return True
        return sum([len(name) + len(value) for name, value in self.headers]) > web.HEAD_MAX_BYTES

    def _take(self, departure: Departure) -> None:
        assert self.parser
        exchange = _Exchange(departure.location, self.parser.should_keep_alive())
        self.cycle = cast(RequestResponseCycle, exchange)
        if departure.kept is None or departure.kept.done():
            self._answer(exchange)
        else:
            self._departures.add(departure.kept, partial(self._answer, exchange))

    def _answer(self, exchange: _Exchange) -> None:
        exchange.response_complete = True
        if exchange.disconnected:
            return
        self.transport.write(
            _ANSWER
            % (
                b"".join([b"%s: %s\r\n" % line for line in self.server_state.default_headers]),
                exchange.location.encode("latin-1"),
                web.new_request_id().encode(),
                b"" if exchange.keep_alive else b"connection: close\r\n",
            )
        )
        if not exchange.keep_alive:
            self.transport.close()
        self.on_response_complete()


def click_protocol(edge: Edge) -> Callable[..., BoundedProtocol]:
    """What makes an edge's connections; without fast clicks all of them take the ordinary way."""
    if not edge.settings.fast_clicks:
        return BoundedProtocol
    return partial(ClickProtocol, edge, Departures())
