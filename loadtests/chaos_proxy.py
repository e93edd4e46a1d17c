"""A proxy in front of Redis that lets commands be executed and then loses replies."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

_CHUNK_BYTES = 1 << 16


class LossyProxy:
    """Forwards to `redis_url`; `lost_share` of the replies end their connection instead."""

    def __init__(self, redis_url: str, seed: int) -> None:
        self._parts = urlsplit(redis_url)
        self._random = random.Random(seed)
        self.lost_share = 0.0
        self.lost = 0
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listens at `url` for as long as the block lasts."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        netloc = f":{self._parts.password}@127.0.0.1:{port}"
        self.url = urlunsplit(self._parts._replace(netloc=netloc))
        try:
            yield
        finally:
            server.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(self._parts.hostname, self._parts.port)
        except OSError:
            writer.transport.abort()
            return
        upstream, out = there
        asking = asyncio.create_task(_copy(reader, out))
        try:
            while reply := await upstream.read(_CHUNK_BYTES):
                # It came, so the command was executed.
                if self._random.random() < self.lost_share:
                    self.lost += 1
                    break
                writer.write(reply)
        except OSError:
            pass
        finally:
            asking.cancel()
            writer.transport.abort()
            out.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
    except OSError:
        pass
    writer.transport.abort()
