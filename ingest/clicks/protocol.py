"""Answers clicks in the HTTP protocol itself, without an ASGI scope, task or request cycle.

Handles a whole plain request for an open link in memory; everything else goes through the
application, which gives the same answers (`tests/conformance`).

The states of a connection:

    IDLE --data_received--> RECEIVED --read, at the end of the loop's turn--+
     ^                                                                      |
     |<--answered-- ROUTER <--------- anything else, parsed by uvicorn -----+
     |                                                                      |
     |<--finish---- PENDING <-------- plain click or post: begin -----------+
     |
     +--keep-alive time over--> CLOSED

PENDING: the frame is on its way to Redis or the spool; data received meanwhile is held until the
answer is written. `finish` leads to CLOSED where the server is stopping, and writes nothing where
the peer is gone, though the click is stored.
"""

import asyncio
from functools import partial
from typing import Any, cast

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from ingest.clicks.http import resolve_redirect
from ingest.clicks.request_head import (
    HEAD_MAX_BYTES,
    HTTPS_LINES,
    HeaderReader,
    HttpsHeaderReader,
    NoHeaderReader,
    read_head,
)
from ingest.edge import Edge
from ingest.publishing.publishers import FRAME_CLICKS_MAX
from linkjolt.web import requests
from linkjolt.web.answer_headers import hsts_line
from linkjolt.web.connections.bounded_protocol import BoundedProtocol

log = structlog.get_logger()
_CLICK_HEADERS = "cache-control: no-store\r\nx-robots-tag: noindex\r\nlocation: "
_HTTPS_LINES = [line.encode() for line in HTTPS_LINES]
_no_reader = NoHeaderReader({})
# Added to the last answer of a connection.
CLOSE_HEADER = "connection: close\r\n"


class _NoEvent:
    def set(self) -> None:
        """Does nothing: no request cycle waits for this event."""


class _Exchange:
    """A fast request under way, in the shape of uvicorn's cycle: later requests queue behind it."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "more_body", "response_complete")

    def __init__(self) -> None:
        self.keep_alive = True
        self.response_complete = True
        self.disconnected = False
        self.more_body = False
        self.message_event = _NoEvent()


class ClickBatcher:
    """Batches the clicks of an edge's connections: one frame, answered when it is on disk."""

    def __init__(self, edge: Edge, *, over_https: bool = False) -> None:
        """`over_https`: of requests that a trusted proxy passes on from https, which it declares.

        Their answers have HSTS; those under TLS of our own have it from the server.
        """
        self._edge = edge
        settings = edge.settings
        self._hsts = hsts_line(settings).decode() if over_https else ""
        self._https_required = settings.require_https
        # The batcher of such requests; this one takes them to the application.
        self.https_batcher = None if over_https else ClickBatcher(edge, over_https=True)
        # Connections with data to read. Reading them one after the other costs 10 % less than
        # reading each between two system calls.
        self.received: list[ClickProtocol] = []
        reader = edge.visitor_reader
        self.direct_reader = HeaderReader(reader.direct_readers)
        new_reader = HttpsHeaderReader if over_https else HeaderReader
        self.proxied_reader = new_reader(reader.proxied_readers, reader.client_ip_header)
        self._cached_route = edge.directory.cached_route
        # The clicks of this turn: where each leads, and their stream lines, in the same order.
        self._pending: list[tuple[ClickProtocol, str]] = []
        self._lines: list[str] = []
        self._default_lines = b""
        self._common_head = ""

    def read(self) -> None:
        """Reads the data received so far in this turn, and publishes its clicks."""
        received, self.received = self.received, []
        try:
            for protocol in received:
                try:
                    protocol.read()
                except Exception:
                    # A fault of ours: the other connections are read all the same.
                    log.exception("request not read")
                    protocol.transport.abort()
        finally:
            self._publish()

    def accept(self, protocol: "ClickProtocol", data: bytes) -> bool:
        """Accepts a plain click on an open link in memory; returns False for anything else."""
        head = read_head(data)
        if head is None:
            return False
        code, query, lines = head
        route = self._cached_route(code)
        if route is None or route.closed:
            return False
        visitor_json = protocol.header_reader.visitor_json(lines, protocol.peer_json)
        if visitor_json is None:
            return False
        protocol.begin()
        location, line = resolve_redirect(self._edge, route, query, visitor_json)
        if line:
            self._pending.append((protocol, location))
            self._lines.append(line)
        else:
            self._answer([(protocol, location)])
        return True

    def describe_peer(
        self, client: tuple[str, int] | None, scheme: str | None
    ) -> tuple[str, HeaderReader, bool]:
        """Returns a peer's address as JSON, the reader for its headers, whether it is a proxy."""
        peer_json, proxied = self._edge.visitor_reader.read_peer(client)
        if self._https_required and (proxied or scheme != "https"):
            return peer_json, _no_reader, proxied
        return peer_json, self.proxied_reader if proxied else self.direct_reader, proxied

    def _publish(self) -> None:
        """Publishes this turn's clicks; each frame is answered when it is on disk."""
        lines, pending = self._lines, self._pending
        self._lines, self._pending = [], []
        for begin in range(0, len(lines), FRAME_CLICKS_MAX):
            end = begin + FRAME_CLICKS_MAX
            durable = self._edge.click_publisher.publish(*lines[begin:end])
            if durable.done():
                self._answer(pending[begin:end])
            else:
                durable.add_done_callback(partial(self._answer, pending[begin:end]))

    def _answer(
        self, pending: "list[tuple[ClickProtocol, str]]", _: asyncio.Future[None] | None = None
    ) -> None:
        first = pending[0][0]
        common_head, now = self._common_head_of(first), first.loop.time()
        new_id = requests.new_request_id
        for protocol, location in pending:
            close_header = "" if protocol.exchange.keep_alive else CLOSE_HEADER
            answer = (
                f"{common_head}{location}\r\ncontent-length: 0\r\n"
                f"x-request-id: {new_id()}\r\n{close_header}\r\n"
            )
            protocol.finish(answer.encode(), now)

    def _common_head_of(self, protocol: "ClickProtocol") -> str:
        """Returns the head all answers share."""
        lines = protocol.bounds.default_lines()
        if lines is not self._default_lines:
            self._default_lines = lines
            defaults = lines.decode("latin-1")
            self._common_head = f"HTTP/1.1 302 Found\r\n{defaults}{self._hsts}{_CLICK_HEADERS}"
        return self._common_head


class ClickProtocol(BoundedProtocol):
    """One connection of an edge; answers plain clicks itself."""

    __slots__ = (
        "_click_batcher",
        "_parsing",
        "_proxied",
        "_received",
        "exchange",
        "header_reader",
        "peer_json",
    )

    def __init__(
        self,
        batcher: ClickBatcher,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.peer_json = ""  # The peer's address, as a member of a click's JSON.
        self.header_reader = batcher.direct_reader
        self._click_batcher = batcher
        self.exchange = self.cycle = cast(RequestResponseCycle, _Exchange())
        self._proxied = False
        self._received = b""  # Not read yet; every other callback reads it first.
        self._parsing = False  # The parser is inside a message.

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        described = self._click_batcher.describe_peer(self.client, self.scheme)
        self.peer_json, self.header_reader, self._proxied = described

    @property
    def takes_plain(self) -> bool:
        """Whether a request may be answered here that does not declare https."""
        return self.header_reader is not _no_reader

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_received()
        # Also where another request is queued behind the click.
        self.exchange.disconnected = True
        super().connection_lost(exc)

    def eof_received(self) -> None:
        self._read_received()
        super().eof_received()

    def shutdown(self) -> None:
        self._read_received()
        super().shutdown()

    def data_received(self, data: bytes) -> None:
        batcher = self._click_batcher
        if self._received:
            batcher.read()
        self._received = data
        if not batcher.received:
            # Runs once the loop has collected the data of this turn.
            self.loop.call_soon(batcher.read)
        batcher.received.append(self)

    def _read_received(self) -> None:
        if self._received:
            self._click_batcher.read()

    def on_message_begin(self) -> None:
        self._parsing = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        # Not where the body of a request that asks for an upgrade is still to come.
        self._parsing = self._in_body

    def read(self) -> None:
        """Answers a plain whole request here, and passes anything else to uvicorn."""
        data, self._received = self._received, b""
        cycle = self.cycle
        free = cycle.response_complete and not self._parsing and not self.flow.write_paused
        if (
            not free
            or not cycle.keep_alive
            or len(data) > HEAD_MAX_BYTES
            or not (self._click_batcher.accept(self, data) or self.accept_other(data))
        ):
            if self._proxied and any(line in data for line in _HTTPS_LINES):
                self.expect_https()
            super().data_received(data)

    def expect_https(self) -> None:
        """Has later requests of a proxy's connection read as those that came over https.

        The one at hand, and later ones that are plain, get the application's answer.
        """
        if batcher := self._click_batcher.https_batcher:
            self._click_batcher = batcher
            self.header_reader = batcher.proxied_reader

    def accept_other(self, data: bytes) -> bool:
        """Accepts another kind of plain request; returns False where there is none."""
        return False

    def begin(self) -> None:
        """Marks a request as under way until `finish`; later requests queue behind it."""
        if self._head_timer is not None:
            self._end_head()
        self.exchange.response_complete = False
        self.cycle = self.exchange

    def finish(self, answer: bytes, now: float) -> None:
        """Writes an answer if the peer is still connected, then continues with queued requests."""
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
            self.active_at = now
            if self.timeout_keep_alive_task is None:
                self.set_idle_timer(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        self._read_received()
        super().timeout_keep_alive_handler()
