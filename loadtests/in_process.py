"""Runs an edge in this process without network and Redis, to measure its code alone."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from linkjolt.clicks.route import Route
from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.money import Percentage
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.storage.redis import connect
from linkjolt.web.connections.bounded_protocol import BoundedProtocol
from linkjolt.web.connections.connection_bounds import ConnectionBounds

CONNECTIONS = 256
CODE = "tc_A"


class WriteCounter:
    """Counts down writes and sets `done` after the last."""

    def __init__(self, writes: int) -> None:
        self.writes_left = writes
        self.done = asyncio.Event()

    def written(self) -> None:
        self.writes_left -= 1
        if self.writes_left == 0:
            self.done.set()


class CountingTransport(asyncio.Transport):
    """A transport that counts writes and holds the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.counter = WriteCounter(0)
        self.last = b""

    def write(self, data: Any) -> None:
        self.last = data
        self.counter.written()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


class EdgeConnection:
    """A connection of an edge: its protocol and a transport in place of the socket."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self.protocol, self.transport = protocol, CountingTransport()
        protocol.connection_made(self.transport)


def open_connections(
    app: ASGIApp, protocol: Callable[..., BoundedProtocol], count: int = CONNECTIONS
) -> list[EdgeConnection]:
    config = uvicorn.Config(
        app, ws="none", log_config=None, access_log=False, proxy_headers=False, lifespan="off"
    )
    config.load()
    state = ConnectionBounds()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 05:13:04 GMT")]
    return [EdgeConnection(protocol(config, state, {})) for _ in range(count)]


async def request_cost(
    edge_connections: Sequence[EdgeConnection], requests: Sequence[bytes], rounds: int
) -> float:
    """Measures microseconds of CPU per request in the cheapest round."""
    best = float("inf")
    for _ in range(rounds):
        counter = WriteCounter(len(edge_connections))
        for connection in edge_connections:
            connection.transport.counter = counter
        began = time.process_time()
        for connection, request in zip(edge_connections, requests, strict=True):
            connection.protocol.data_received(request)
        await counter.done.wait()
        best = min(best, time.process_time() - began)
    return best / len(edge_connections) * 1e6


class OneLinkDirectory(Directory):
    """A directory that holds one link, and asks no Redis for it."""

    def __init__(self) -> None:
        super().__init__(connect("redis://"), links_cached=10, unknown_cached=10)
        self._route = _route()
        self._routes.put(self._route)

    def only_route(self) -> Route:
        return self._route


def _route() -> Route:
    now = datetime.now(UTC)
    commission = Percentage(rate=Decimal(30))
    campaign = Campaign(
        number=1,
        account=Account(1),
        name="C",
        currency="USD",
        commission=commission,
        created_at=now,
    )
    affiliate = Affiliate(number=1, account=Account(1), name="A", created_at=now)
    link = Link(
        number=1,
        account=Account(1),
        campaign=1,
        affiliate=1,
        tracking_code=CODE,
        destination="https://shop.example/p",
        created_at=now,
    )
    return Route(link, campaign, affiliate)
