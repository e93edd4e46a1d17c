"""Holds what the connections of one server share: bounds of descriptors and unread bytes."""

from typing import Protocol, cast

from uvicorn.server import ServerState

from linkjolt.runtime.descriptor_limits import connections_max
from linkjolt.web import metrics
from linkjolt.web.requests import HSTS_NAME

# Requests that wait behind unread answers of the same connection, over all connections.
_HELD_MAX_BYTES = 32 << 20
# As much as one connection may hold however much others do.
_HELD_BY_EACH_BYTES = 4 << 10
# A scan of all connections makes room for this many.
_CLOSED_AT_ONCE = 32


class BoundedConnection(Protocol):
    """A connection as its server judges it when there are too many."""

    @property
    def closing_order(self) -> tuple[int, float] | None:
        """The order in which connections are closed; None for one that must stay."""
        ...

    def close_for_room(self) -> None:
        """Closes the connection."""
        ...


class ConnectionBounds(ServerState):
    """uvicorn's state of a server, with the bounds that its connections share."""

    def __init__(self, descriptor_share: float = 0.5) -> None:
        super().__init__()
        self._connections_max = connections_max(descriptor_share)
        self._held_bytes = 0
        # Closed for room, but still among the connections.
        self._closing: set[BoundedConnection] = set()
        self._formatted_headers: list[tuple[bytes, bytes]] = []
        self._default_lines = b""

    def default_lines(self) -> bytes:
        """Returns uvicorn's default headers as lines; it renews them once a second."""
        if self.default_headers is not self._formatted_headers:
            self._formatted_headers = self.default_headers
            self._default_lines = b"".join([b"%b: %b\r\n" % line for line in self.default_headers])
        return self._default_lines

    def plain_lines(self) -> bytes:
        """Returns those of them that are for connections without TLS, too."""
        lines = [line for line in self.default_headers if line[0] != HSTS_NAME]
        return b"".join([b"%b: %b\r\n" % line for line in lines])

    def enter(self, newest: BoundedConnection) -> None:
        """Counts a new connection; where it is one too many, closes those idle longest."""
        metrics.CONNECTIONS.inc()
        if len(self.connections) - len(self._closing) > self._connections_max:
            self._close_idle(newest)

    def leave(self, connection: BoundedConnection) -> None:
        """Forgets a connection that is closed."""
        metrics.CONNECTIONS.dec()
        self._closing.discard(connection)

    def _close_idle(self, newest: BoundedConnection) -> None:
        connections = cast(set[BoundedConnection], self.connections)
        orders = [
            (order, connection)
            for connection in connections - self._closing
            if connection is not newest and (order := connection.closing_order) is not None
        ]
        orders.sort(key=lambda pair: pair[0])
        for _, connection in orders[:_CLOSED_AT_ONCE] or [((0, 0.0), newest)]:
            self._closing.add(connection)
            metrics.CONNECTIONS_CLOSED.labels("room").inc()
            connection.close_for_room()

    def hold(self, size_bytes: int) -> bool:
        """Counts bytes that a connection keeps unread; returns False if there is no room."""
        if size_bytes > _HELD_BY_EACH_BYTES and self._held_bytes + size_bytes > _HELD_MAX_BYTES:
            return False
        self._held_bytes += size_bytes
        return True

    def release(self, size_bytes: int) -> None:
        """Counts bytes that are not kept any more."""
        self._held_bytes -= size_bytes
