"""Puts TLS in front of a listener's connections, and bounds their handshakes in time.

A connection counts among the listener's from its first packet, so that handshakes which never end
hold no more descriptors than connections that never send a request.
"""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

import uvicorn
import uvloop.loop
from uvicorn.server import ServerState

from linkjolt.web import metrics
from linkjolt.web.connections.bounded_protocol import BoundedProtocol
from linkjolt.web.connections.connection_bounds import ConnectionBounds
from linkjolt.web.tls import ListenerTls

HANDSHAKE_SECONDS = 10.0
# How long a client may take to answer the end of the TLS session.
_CLOSE_SECONDS = 5.0
# As a plain connection has: uvloop's own for TLS are 512 KB.
_UNSENT_MAX_BYTES = _UNREAD_MAX_BYTES = 64 << 10
_HANDSHAKE_RECORD = 0x16
# The one that uvloop uses itself: asyncio's does not work on its transports.
_SSLProtocol = cast(Any, uvloop.loop).SSLProtocol
NewProtocol = Callable[[], BoundedProtocol]


class TlsGate(asyncio.Protocol):
    """A connection before the end of its handshake; a plain request goes to the application.

    The application sees the scheme `http` and refuses or redirects it.
    """

    def __init__(
        self,
        tls: ListenerTls,
        protocol: Callable[..., BoundedProtocol],
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        assert isinstance(server_state, ConnectionBounds)
        self._bounds = server_state
        self._tls = tls
        self._new_protocol: NewProtocol = lambda: protocol(config, server_state, app_state)
        self._new_plain: NewProtocol = lambda: PlainProtocol(config, server_state, app_state)
        self._loop = asyncio.get_running_loop()
        self._made_at = 0.0

    @property
    def closing_order(self) -> tuple[int, float]:
        """Among those that never sent a request."""
        return 0, self._made_at

    def close_for_room(self) -> None:
        self._transport.abort()

    def shutdown(self) -> None:
        """Closes the connection, as the server stops."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._made_at = self._loop.time()
        self._timer = self._loop.call_later(HANDSHAKE_SECONDS, self._on_timeout)
        cast(set[object], self._bounds.connections).add(self)
        self._bounds.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()

    def data_received(self, data: bytes) -> None:
        if data[0] == _HANDSHAKE_RECORD:
            self._begin_handshake(data)
        else:
            self._leave()
            plain = self._new_plain()
            self._transport.set_protocol(plain)
            plain.connection_made(self._transport)
            plain.data_received(data)

    def _begin_handshake(self, data: bytes) -> None:
        ended = self._loop.create_future()
        ended.add_done_callback(self._end_handshake)
        tls = _SSLProtocol(
            self._loop,
            _Handshake(self),
            self._tls.context,
            ended,
            server_side=True,
            # Ours counts from the first packet, and closes the connection before this one.
            ssl_handshake_timeout=2 * HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=_CLOSE_SECONDS,
        )
        self._transport.set_protocol(tls)
        tls.connection_made(self._transport)
        _feed(tls, data)

    def complete(self, transport: asyncio.Transport) -> None:
        """Hands the connection, now under TLS, to its protocol."""
        self._leave()
        protocol = self._new_protocol()
        transport.set_write_buffer_limits(_UNSENT_MAX_BYTES)
        cast(Any, transport).set_read_buffer_limits(_UNREAD_MAX_BYTES)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    def _end_handshake(self, ended: asyncio.Future[None]) -> None:
        if isinstance(ended.exception(), ssl.SSLError):
            metrics.CONNECTIONS_CLOSED.labels("handshake").inc()
        self._leave()

    def _on_timeout(self) -> None:
        metrics.CONNECTIONS_CLOSED.labels("handshake").inc()
        self._transport.abort()

    def _leave(self) -> None:
        """Counts the connection no more, if it was not handed over before."""
        connections = cast(set[object], self._bounds.connections)
        if self in connections:
            self._timer.cancel()
            connections.discard(self)
            self._bounds.leave(self)


class _Handshake(asyncio.Protocol):
    """What TLS hands the connection to."""

    def __init__(self, gate: TlsGate) -> None:
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._gate.complete(cast(asyncio.Transport, transport))


def _feed(tls: asyncio.BufferedProtocol, data: bytes) -> None:
    """Passes on data that was read before TLS was there."""
    at = 0
    while at < len(data):
        buffer = cast(memoryview, tls.get_buffer(len(data) - at))
        part = data[at : at + len(buffer)]
        buffer[: len(part)] = part
        tls.buffer_updated(len(part))
        at += len(part)


class PlainProtocol(BoundedProtocol):
    """A connection without TLS to a listener with it."""

    __slots__ = ()

    def default_lines(self) -> bytes:
        # RFC 6797, 7.2: no HSTS over plain HTTP.
        return self.bounds.plain_lines()
