"""Serves scripted answers to locust in place of LinkJolt, and can stall."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from tests.load.test_mix import CLICK_ID

_REDIRECT = f"302 Found\r\nLocation: https://shop.example/p?click_id={CLICK_ID}"
_EMPTY = "\r\nContent-Length: 0\r\n\r\n"
_MADE = b'{"conversion_id":"conv_1"}'


class ScriptedServer:
    """A server that stalls once, on all connections, for `stall_seconds` from request `stall_at`.

    Request number `fail_at` (from 1) gets a 500.
    """

    def __init__(self, stall_at: int = 0, stall_seconds: float = 0, fail_at: int = 0) -> None:
        self.asked = 0
        self.url = ""
        self._stall_at, self._stall_seconds, self._fail_at = stall_at, stall_seconds, fail_at
        self._stalled: asyncio.Task[None] | None = None
        self._serving = set[asyncio.Task[None]]()

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        async with await asyncio.start_server(self._serve, "127.0.0.1", 0) as listener:
            self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
            yield
            await asyncio.gather(*self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._serving.add(task)
        while line := await reader.readline():
            head = await reader.readuntil(b"\r\n\r\n")
            _, _, length = head.lower().partition(b"content-length:")
            if line.startswith(b"POST"):
                await reader.readexactly(int(length.partition(b"\r\n")[0]))
            self.asked += 1
            writer.write(await self._answer(line, self.asked))
        writer.close()

    async def _answer(self, line: bytes, number: int) -> bytes:
        if number == self._stall_at:
            self._stalled = asyncio.create_task(asyncio.sleep(self._stall_seconds))
        if self._stalled:
            await asyncio.shield(self._stalled)
        if number == self._fail_at:
            return f"HTTP/1.1 500 Oh{_EMPTY}".encode()
        if line.startswith(b"POST"):
            head = f"HTTP/1.1 201 Created\r\nContent-Length: {len(_MADE)}\r\n\r\n"
            return head.encode() + _MADE
        status = "200 OK" if line.startswith(b"GET /v1/") else _REDIRECT
        return f"HTTP/1.1 {status}{_EMPTY}".encode()
