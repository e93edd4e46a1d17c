"""Runs an edge whose clock a test moves, so that minutes pass at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.app import create_app, open_edge
from ingest.conversions.protocol import edge_protocol_factory
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.web import server
from loadtests.edge_pair import LINKS
from loadtests.wire import Wire
from tests.conformance.both import STILL_OPEN
from tests.waiting import wait_until


class MovableLoop(asyncio.SelectorEventLoop):
    """The standard loop, with `moved_seconds` added to its clock."""

    moved_seconds = 0.0

    def time(self) -> float:
        return super().time() + self.moved_seconds


class _Counted:
    """An application that counts the requests which reach it, by path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: Counter[str] = Counter()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self.requests[scope["path"]] += 1
        await self._app(scope, receive, send)


class Clocked:
    """The addresses of a running edge, and control of its clock."""

    def __init__(self, port: int, socket: str, app: _Counted, *, fast: bool) -> None:
        self.port = port
        self.socket = socket
        self.fast = fast
        self._app = app

    def reached(self, path: str) -> int:
        """Counts the requests for a path that reached the application.

        By path, as a readiness request abandoned on a busy machine is answered later.
        """
        return self._app.requests[path]

    async def pass_time(self, seconds: float) -> None:
        """Moves the clock: data sent before is read first, timers due then have fired."""
        await self._settle()
        loop = asyncio.get_running_loop()
        assert isinstance(loop, MovableLoop)
        loop.moved_seconds += seconds
        await self._settle()

    async def _settle(self) -> None:
        # Connections are read in the order in which their data arrives.
        async with Wire.open(self.port) as wire:
            assert (await wire.ask(STILL_OPEN)).statuses == (200,)


async def rest_of(wire: Wire) -> bytes:
    """Reads until the connection ends, which must be soon."""
    async with asyncio.timeout(5):
        return await wire.reader.read()


class Running:
    """Runs tests' coroutines on the edge's loop, which is paused between them."""

    def __init__(self, runner: asyncio.Runner, clocked: Clocked) -> None:
        self._runner = runner
        self._clocked = clocked

    def __call__(self, scenario: Callable[[Clocked], Coroutine[None, None, None]]) -> None:
        self._runner.run(scenario(self._clocked))


@asynccontextmanager
async def serve(
    redis_url: str, data: Path, key_file: Path, *, fast: bool
) -> AsyncGenerator[Clocked]:
    """Serves an edge with every link in memory; `key_file` is that of its Redis."""
    stop = asyncio.Event()
    settings = Settings(
        redis_url=redis_url,
        data=str(data),
        secret_key_file=str(key_file),
        fast_clicks=fast,
        rate_failures_per_minute=0,
        # Time passed by a test must not count as a Redis time-out.
        redis_timeout_seconds=1e6,
    )
    socket = str(data / "edge.sock")
    sock = server.listen("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    async with open_edge(settings, stop) as edge:
        app = _Counted(create_app(edge))
        serving = asyncio.create_task(
            server.serve(
                app,
                sock=sock,
                stop=stop,
                shutdown_seconds=1,
                uds=socket,
                protocol=edge_protocol_factory(edge),
            )
        )
        await wait_until(lambda: server.is_ready("127.0.0.1", port))
        for code in LINKS:
            await edge.directory.route(code)
        yield Clocked(port, socket, app, fast=fast)
        stop.set()
        await serving
