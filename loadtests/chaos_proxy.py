"""Proxies connections and resets them at the worst moment, after a request was executed."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 1 << 16
_LINGER_RESET = struct.pack("ii", 1, 0)

# Maps received bytes to the bytes to forward, perhaps none yet; None resets the connection.
ChunkFilter = Callable[[bytes], Awaitable[bytes | None]]


async def pass_all(chunk: bytes) -> bytes:
    """Forwards everything unchanged."""
    return chunk


@asynccontextmanager
async def forwarding(
    host: str,
    port: int,
    request_filter: Callable[[], ChunkFilter] = lambda: pass_all,
    reply_filter: Callable[[], ChunkFilter] = lambda: pass_all,
) -> AsyncGenerator[int]:
    """Runs a proxy to `host` and `port` for the duration of the block, and yields its port.

    Each connection gets its own `request_filter()` for the client's bytes, and its own
    `reply_filter()` for the server's.
    """

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, out = await asyncio.open_connection(host, port)
        except OSError:
            writer.transport.abort()
            return
        directions = [
            asyncio.create_task(_pass(reader, out, request_filter())),
            asyncio.create_task(_pass(upstream, writer, reply_filter())),
        ]
        try:
            done, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            if not all(task.result() for task in done):
                client: socket.socket = writer.get_extra_info("socket")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        finally:
            for task in directions:
                task.cancel()
            writer.close()
            out.close()

    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def _pass(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, chunk_filter: ChunkFilter
) -> bool:
    """Forwards one direction; False if the filter asked for a reset, True at the stream's end."""
    with suppress(OSError):
        while chunk := await reader.read(_CHUNK_BYTES):
            forwarded = await chunk_filter(chunk)
            if forwarded is None:
                return False
            writer.write(forwarded)
    return True


class LossyProxy:
    """A proxy to the Redis at `redis_url` that drops `lost_share` of the replies.

    The connection of a dropped reply is reset.
    """

    def __init__(self, redis_url: str, seed: int) -> None:
        self._parts = urlsplit(redis_url)
        self._random = random.Random(seed)
        self.lost_share = 0.0
        self.lost = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listens at `url` for the duration of the block."""
        host, port = self._parts.hostname or "", self._parts.port or 6379
        async with forwarding(host, port, reply_filter=lambda: self._lose) as proxy_port:
            netloc = f":{self._parts.password}@127.0.0.1:{proxy_port}"
            self.url = urlunsplit(self._parts._replace(netloc=netloc))
            yield

    async def _lose(self, reply: bytes) -> bytes | None:
        # Redis has replied, so the command was executed.
        if self._random.random() < self.lost_share:
            self.lost += 1
            return None
        return reply
