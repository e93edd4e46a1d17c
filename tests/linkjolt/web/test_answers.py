"""Every answer of the application is framed right, and no header of it can become two."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from linkjolt.web import server


class _Application:
    """Answers of every framing; those of `/streamed` and `/held` wait for `go_on`."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.app = Starlette(
            routes=[
                Route("/sized", _sized, methods=["GET", "HEAD"]),
                Route("/streamed", self._streamed),
                Route("/held", self._held),
                Route("/empty", _empty),
                Route("/split", _split),
                Route("/short", _short),
                Route("/last", _last),
            ]
        )

    async def _streamed(self, _: Request) -> Response:
        async def parts() -> AsyncGenerator[bytes]:
            await self.go_on.wait()
            yield b"one"
            yield b""
            yield b"two"

        return StreamingResponse(parts(), media_type="text/plain")

    async def _held(self, _: Request) -> Response:
        await self.go_on.wait()
        return PlainTextResponse("at last")


async def _sized(_: Request) -> Response:
    return PlainTextResponse("sized")


async def _empty(_: Request) -> Response:
    return Response(status_code=204)


async def _split(request: Request) -> Response:
    return PlainTextResponse("", headers={"X-Given": request.query_params["given"]})


async def _short(_: Request) -> Response:
    return PlainTextResponse("short", headers={"Content-Length": "6"})


async def _last(_: Request) -> Response:
    return PlainTextResponse("last", headers={"Connection": "close"})


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def ask(self, target: str, method: str = "GET", version: str = "1.1") -> None:
        self.writer.write(f"{method} {target} HTTP/{version}\r\nHost: a\r\n\r\n".encode())

    async def head(self) -> str:
        return (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()

    async def take(self, size_bytes: int) -> bytes:
        return await self.reader.readexactly(size_bytes)

    async def rest(self) -> bytes:
        return await self.reader.read()


@asynccontextmanager
async def connected(application: _Application) -> AsyncGenerator[_Connection]:
    """Serves an application, and connects to it."""
    sock, stop = server.listen("127.0.0.1", 0), asyncio.Event()
    serving = asyncio.create_task(
        server.serve(application.app, sock=sock, stop=stop, shutdown_seconds=1)
    )
    sock.listen()
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    try:
        async with asyncio.timeout(10):
            yield _Connection(reader, writer)
    finally:
        writer.close()
        await writer.wait_closed()
        stop.set()
        await serving


async def test_answers_of_every_framing_follow_each_other_on_one_connection() -> None:
    application = _Application()
    async with connected(application) as connection:
        connection.ask("/sized")
        assert "content-length: 5\r\n" in await connection.head()
        assert await connection.take(5) == b"sized"
        connection.ask("/sized", "HEAD")
        assert "content-length: 5\r\n" in await connection.head()
        connection.ask("/empty")
        head = await connection.head()
        assert head.startswith("http/1.1 204 ")
        assert "transfer-encoding" not in head
        connection.ask("/streamed")
        # A browser knows that a stream is open before its first event.
        assert "transfer-encoding: chunked\r\n" in await connection.head()
        application.go_on.set()
        assert await connection.take(21) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
        connection.ask("/last")
        assert (await connection.head()).count("connection: close\r\n") == 1
        assert await connection.rest() == b"last"


async def test_the_last_answer_says_that_the_connection_ends() -> None:
    async with connected(_Application()) as connection:
        connection.ask("/sized", version="1.0")
        assert (await connection.head()).count("connection: close\r\n") == 1
        assert await connection.rest() == b"sized"


@pytest.mark.parametrize("given", ["a%0D%0Ax-b:%20c", "a%0Ax-b:%20c", "a%0Dx-b:%20c", "a%00"])
async def test_no_value_of_a_header_becomes_another_one(given: str) -> None:
    async with connected(_Application()) as connection:
        connection.ask(f"/split?given={given}")
        head = await connection.head()
        assert head.startswith("http/1.1 500 ")
        assert "x-b" not in head


async def test_a_body_of_another_length_than_was_said_ends_the_connection() -> None:
    async with connected(_Application()) as connection:
        connection.ask("/short")
        assert b"short" not in await connection.rest()
