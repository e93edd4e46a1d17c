"""Serves HTTP as an edge does, and records the requests."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec
from starlette.types import Receive, Scope, Send

from linkjolt.web import server


class Asked(msgspec.Struct, frozen=True):
    method: str
    path: str
    headers: dict[str, str]


class RecordingEdge:
    """ASGI application; `status(path, times_asked)` decides each answer."""

    def __init__(self, status: Callable[[str, int], int] = lambda path, times: 302) -> None:
        self._status = status
        self._times: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.clients: set[object] = set()
        self.url = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        path: str = scope["path"]
        self._times[path] += 1
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        self.asked.append(Asked(scope["method"], path, headers))
        self.clients.add(scope["client"])
        status = self._status(path, self._times[path])
        # Without a length the body is sent in chunks, which the next answer must not run into.
        location = [(b"location", b"https://shop.example/")]
        await send({"type": "http.response.start", "status": status, "headers": location})
        await send({"type": "http.response.body", "body": b"two\r\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"chunks"})


async def _live(receive: Receive, send: Send) -> None:
    while (message := await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": f"{message['type']}.complete"})


@asynccontextmanager
async def serving(edge: RecordingEdge) -> AsyncGenerator[None]:
    """Serves on a free port, at `edge.url`."""
    sock = server.listen("127.0.0.1", 0)
    edge.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    stop = asyncio.Event()
    task = asyncio.create_task(server.serve(edge, sock=sock, stop=stop, shutdown_seconds=1))
    await asyncio.wait_for(_wait_until_served(edge.url), 10)
    try:
        yield
    finally:
        stop.set()
        await task


async def _wait_until_served(url: str) -> None:
    while True:
        with suppress(ConnectionRefusedError):
            _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.close()
            return
        await asyncio.sleep(0.005)
