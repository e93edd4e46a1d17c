"""What one click costs an edge's processor, by the way it takes, without network and Redis.

`python -m loadtests.click_cost` sends the same request through many connections of an edge in
this process and prints microseconds a click: through the router, through the application that
looks for clicks first, and through the protocol that answers plain clicks itself.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import click
import uvicorn
import uvloop
from redis.asyncio import Redis
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from ingest.app import routed
from ingest.clicks import ClicksFirst
from ingest.edge import Edge
from ingest.post_protocol import edge_protocol
from ingest.publish import ClickPublisher
from linkjolt import web
from linkjolt.clickid import ClickIds
from linkjolt.directory import Directory
from linkjolt.http_protocol import BoundedProtocol
from linkjolt.keyring import Keyring
from linkjolt.money import Percentage
from linkjolt.registry import Affiliate, Campaign, Link, Route
from linkjolt.settings import Edge as Settings

_CONNECTIONS = 256
_ROUNDS = 300
_AGENT = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_SHORT = b"GET /tc_A HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: " + _AGENT + b"\r\n\r\n"
_BROWSER = (
    b"GET /tc_A?sub1=spring&utm_source=mail HTTP/1.1\r\nHost: localhost:8000\r\n"
    b"User-Agent: " + _AGENT + b"\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\nReferer: https://blog.example.com/post/1\r\n"
    b"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-User: ?1\r\n\r\n"
)


class _Round:
    """So many writes, and they are done."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.done = asyncio.Event()

    def written(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.done.set()


class _Socket(asyncio.Transport):
    """Counts what is written to it in a round."""

    def __init__(self) -> None:
        super().__init__()
        self.round = _Round(0)

    def write(self, data: Any) -> None:
        self.round.written()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


class _Sink:
    """Takes every frame in the next turn of the loop."""

    async def send(self, *_: object) -> list[bytes]:
        await asyncio.sleep(0)
        return []


class _OneLink:
    def __init__(self, route: Route) -> None:
        self._routes = {route.link.tracking_code: route}

    def route_now(self, code: str) -> Route | None:
        return self._routes.get(code)


def _route() -> Route:
    now = datetime.now(UTC)
    commission = Percentage(rate=Decimal(30))
    campaign = Campaign(
        number=1, account=1, name="C", currency="USD", commission=commission, created_at=now
    )
    affiliate = Affiliate(number=1, account=1, name="A", created_at=now)
    link = Link(
        number=1,
        account=1,
        campaign=1,
        affiliate=1,
        tracking_code="tc_A",
        destination="https://shop.example/p",
        created_at=now,
    )
    return Route(link, campaign, affiliate)


def _edge() -> Edge:
    settings, key = Settings(), b"k" * 32
    return Edge(
        settings=settings,
        redis=cast(Redis, None),
        directory=cast(Directory, _OneLink(_route())),
        keyring=Keyring((key,), key),
        click_ids=ClickIds(1, key, lambda: time.time_ns() // 1_000_000),
        clicks=ClickPublisher(cast(Any, _Sink()), settings),
        conversions=[],
        spool_folder=Path(),
        stop=asyncio.Event(),
    )


def _connections(
    app: ASGIApp, protocol: Callable[..., BoundedProtocol]
) -> list[tuple[BoundedProtocol, _Socket]]:
    config = uvicorn.Config(app, http="httptools", ws="none", log_config=None, access_log=False)
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 05:13:04 GMT")]
    made: list[tuple[BoundedProtocol, _Socket]] = []
    for _ in range(_CONNECTIONS):
        connection, socket = protocol(config, state, {}), _Socket()
        connection.connection_made(socket)
        made.append((connection, socket))
    return made


async def _cost(
    connections: Sequence[tuple[BoundedProtocol, _Socket]], request: bytes, writes: int
) -> float:
    """Microseconds a click, of the quickest round."""
    best = float("inf")
    for _ in range(_ROUNDS):
        answers = _Round(writes * len(connections))
        for _, socket in connections:
            socket.round = answers
        began = time.perf_counter()
        for connection, _ in connections:
            connection.data_received(request)
        await answers.done.wait()
        best = min(best, time.perf_counter() - began)
    return best / len(connections) * 1e6


async def _main() -> None:
    edge = _edge()
    router = routed(edge)
    ways: list[tuple[str, ASGIApp, Callable[..., BoundedProtocol], int]] = [
        ("router", web.RequestIds(router), BoundedProtocol, 2),
        ("application", web.RequestIds(ClicksFirst(router, edge)), BoundedProtocol, 2),
        ("protocol", web.RequestIds(router), edge_protocol(edge), 1),
    ]
    for name, request in (("short", _SHORT), ("browser", _BROWSER)):
        costs = [await _cost(_connections(app, p), request, n) for _, app, p, n in ways]
        shown = ", ".join(
            f"{way[0]} {cost:.1f} us ({costs[0] / cost:.1f}x)"
            for way, cost in zip(ways, costs, strict=True)
        )
        click.echo(f"{name:8} {shown}")


if __name__ == "__main__":
    uvloop.run(_main())
