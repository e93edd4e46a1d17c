"""An edge in this process without network and Redis, to measure what its code alone costs."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.server import ServerState

from linkjolt.clicks.route import Route
from linkjolt.money import Percentage
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.web.bounded_protocol import BoundedProtocol

CONNECTIONS = 256
CODE = "tc_A"


class Round:
    """So many writes, and they are done."""

    def __init__(self, writes: int) -> None:
        self.left = writes
        self.done = asyncio.Event()

    def written(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.done.set()


class Socket(asyncio.Transport):
    """Counts what is written to it in a round, and keeps the last of it."""

    def __init__(self) -> None:
        super().__init__()
        self.round = Round(0)
        self.last = b""

    def write(self, data: Any) -> None:
        self.last = data
        self.round.written()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def close(self) -> None: ...


class Connection:
    """A connection of an edge: its protocol and what stands for its socket."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self.protocol, self.socket = protocol, Socket()
        protocol.connection_made(self.socket)


def connections(
    app: ASGIApp, protocol: Callable[..., BoundedProtocol], count: int = CONNECTIONS
) -> list[Connection]:
    config = uvicorn.Config(
        app, ws="none", log_config=None, access_log=False, proxy_headers=False, lifespan="off"
    )
    config.load()
    state = ServerState()
    state.default_headers = [(b"date", b"Mon, 23 Nov 2026 05:13:04 GMT")]
    return [Connection(protocol(config, state, {})) for _ in range(count)]


async def cost(
    made: Sequence[Connection], requests: Sequence[bytes], writes: int, rounds: int
) -> float:
    """Microseconds of processor a request, of the cheapest round; `writes` make an answer."""
    best = float("inf")
    for _ in range(rounds):
        answers = Round(writes * len(made))
        for connection in made:
            connection.socket.round = answers
        began = time.process_time()
        for connection, request in zip(made, requests, strict=True):
            connection.protocol.data_received(request)
        await answers.done.wait()
        best = min(best, time.process_time() - began)
    return best / len(made) * 1e6


class OneLink:
    """A directory of one link."""

    def __init__(self) -> None:
        self._route = _route()

    def route_now(self, code: str) -> Route | None:
        return self._route if code == CODE else None

    async def route(self, code: str) -> Route | None:
        return self.route_now(code)

    def found(self) -> Route:
        return self._route


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
        tracking_code=CODE,
        destination="https://shop.example/p",
        created_at=now,
    )
    return Route(link, campaign, affiliate)
