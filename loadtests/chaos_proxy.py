"""Proxies that end connections at the worst moment: what was sent may have been executed."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 1 << 16
_AT_ONCE = struct.pack("ii", 1, 0)

# What goes on when some bytes came, which may be nothing yet; None resets the connection instead.
Passing = Callable[[bytes], Awaitable[bytes | None]]


async def pass_all(chunk: bytes) -> bytes:
    """Lets everything through."""
    return chunk


@asynccontextmanager
async def forwarding(
    host: str,
    port: int,
    asking: Callable[[], Passing] = lambda: pass_all,
    answering: Callable[[], Passing] = lambda: pass_all,
) -> AsyncGenerator[int]:
    """The port of a proxy to `host` and `port` that listens for as long as the block lasts.

    Each connection has its own `asking()`, for what the client sends, and `answering()`.
    """

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, out = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        passing = [
            asyncio.create_task(_pass(reader, out, asking())),
            asyncio.create_task(_pass(upstream, writer, answering())),
        ]
        try:
            done, _ = await asyncio.wait(passing, return_when=asyncio.FIRST_COMPLETED)
            if not all(task.result() for task in done):
                client: socket.socket = writer.get_extra_info("socket")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        finally:
            for task in passing:
                task.cancel()
            writer.close()
            out.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: Passing
) -> bool:
    """False where the connection is to be reset, True at its own end."""
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            going = await passing(chunk)
            if going is None:
                return False
            writer.write(going)
    return True


class LossyProxy:
    """In front of the Redis at `redis_url`: loses `lost_share` of the replies, with their
    connections."""

    def __init__(self, redis_url: str, seed: int) -> None:
        self._parts = urlsplit(redis_url)
        self._random = random.Random(seed)
        self.lost_share = 0.0
        self.lost = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listens at `url` for as long as the block lasts."""
        host, port = self._parts.hostname or "", self._parts.port or 6379
        async with forwarding(host, port, answering=lambda: self._lose) as listening:
            netloc = f":{self._parts.password}@127.0.0.1:{listening}"
            self.url = urlunsplit(self._parts._replace(netloc=netloc))
            yield

    async def _lose(self, reply: bytes) -> bytes | None:
        # It came, so the command was executed.
        if self._random.random() < self.lost_share:
            self.lost += 1
            return None
        return reply
