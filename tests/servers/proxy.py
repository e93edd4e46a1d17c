"""Runs a proxy in front of a ClickHouse server that diverts INSERTs from their connections."""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from loadtests.chaos_proxy import ChunkFilter, forwarding

OK = b"HTTP/1.1 200 OK\r\n"
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


def whole(request: bytes) -> bool:
    """Returns True for a complete HTTP request."""
    head, _, body = request.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n")
    length = _LENGTH.search(head)
    return b"\r\n\r\n" in request and len(body) >= (int(length[1]) if length else 0)


async def execute(server_port: int, request: bytes) -> bytes:
    """Executes a whole request on the server; returns the status line that follows."""
    upstream, out = await asyncio.open_connection("127.0.0.1", server_port)
    out.write(request)
    status = await upstream.readline()
    out.close()
    return status


class InsertProxy:
    """A proxy that passes the first INSERT into each table to `instead` and resets its connection.

    The INSERT is a whole HTTP request, for `execute`.
    """

    def __init__(
        self, server_port: int, tables: Sequence[str], instead: Callable[[bytes], Awaitable[None]]
    ) -> None:
        self._server_port = server_port
        self._tables = list(tables)
        self._instead = instead
        self.port = 0

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Listens at `port` for as long as the block lasts."""
        async with forwarding(
            "127.0.0.1", self._server_port, request_filter=self._requests
        ) as self.port:
            yield

    def _requests(self) -> ChunkFilter:
        got = b""

        async def take(chunk: bytes) -> bytes | None:
            nonlocal got
            got += chunk
            if not whole(got):
                return b""
            request, got = got, b""
            if not self._is_wanted(request):
                return request
            await self._instead(request)
            return None

        return take

    def _is_wanted(self, request: bytes) -> bool:
        for table in self._tables:
            if re.search(rb"INSERT[ +]INTO[ +]`?%s\b" % table.encode(), request):
                self._tables.remove(table)
                return True
        return False
