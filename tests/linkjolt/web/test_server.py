import asyncio
import os
import socket
import stat
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from linkjolt.web import server
from tests.waiting import wait_until


class Gate:
    """An application whose one request waits until it is released."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.open = asyncio.Event()
        self.closed_down = False
        self.app = Starlette(
            routes=[Route("/", self._answer), Route("/readyz", self._ready)],
            lifespan=self._lifespan,
        )

    async def _answer(self, _: Request) -> Response:
        self.entered.set()
        await self.open.wait()
        return PlainTextResponse("through")

    async def _ready(self, _: Request) -> Response:
        return PlainTextResponse("ready", 200 if self.open.is_set() else 503)

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        yield
        self.closed_down = True


def serve(gate: Gate, sock: socket.socket | None, stop: asyncio.Event, **options: str):
    serving = server.serve(
        gate.app, sock=sock, stop=stop, shutdown_seconds=5, uds=options.get("uds")
    )
    return asyncio.create_task(serving)


def connects(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_requests_under_way_at_the_stop_are_answered_before_serve_returns() -> None:
    gate, stop = Gate(), asyncio.Event()
    sock = server.listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    serving = serve(gate, sock, stop)
    async with httpx2.AsyncClient() as client:
        await wait_until(lambda: connects(port))
        asked = asyncio.create_task(client.get(f"http://127.0.0.1:{port}/"))
        await gate.entered.wait()
        stop.set()
        await wait_until(lambda: not connects(port))
        assert not serving.done()
        gate.open.set()
        answer = await asked
    await serving
    assert answer.text == "through"
    assert "server" not in answer.headers
    assert "date" in answer.headers
    assert gate.closed_down


async def test_a_socket_takes_connections_only_once_the_application_has_started() -> None:
    sock = server.listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    assert not connects(port)
    stop = asyncio.Event()
    serving = serve(Gate(), sock, stop)
    await wait_until(lambda: connects(port))
    stop.set()
    await serving


async def test_a_startup_that_fails_is_raised() -> None:
    @asynccontextmanager
    async def broken(_: Starlette) -> AsyncGenerator[None]:
        raise ValueError("broken")
        yield

    sock = server.listen("127.0.0.1", 0)
    app = Starlette(lifespan=broken)
    with pytest.raises(server.StartFailed):
        await server.serve(app, sock=sock, stop=asyncio.Event(), shutdown_seconds=1)
    assert sock.fileno() == -1


async def test_a_unix_socket_is_for_its_user_only_and_replaces_a_dead_one(tmp_path: Path) -> None:
    path = str(tmp_path / "control.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    gate, stop = Gate(), asyncio.Event()
    gate.open.set()
    serving = serve(gate, None, stop, uds=path)
    transport = httpx2.AsyncHTTPTransport(uds=path)
    async with httpx2.AsyncClient(transport=transport) as client:

        async def answers() -> bool:
            try:
                return (await client.get("http://control/")).text == "through"
            except httpx2.ConnectError:
                return False

        await wait_until(answers)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    stop.set()
    await serving


async def test_readiness_equals_the_listeners_answer() -> None:
    gate, stop = Gate(), asyncio.Event()
    sock = server.listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    assert not await server.is_ready("127.0.0.1", port)
    serving = serve(gate, sock, stop)
    await wait_until(lambda: connects(port))
    assert not await server.is_ready("127.0.0.1", port)
    gate.open.set()
    assert await server.is_ready("127.0.0.1", port)
    stop.set()
    await serving


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_on_which_something_listens_is_taken_even_if_it_would_share(shared: bool) -> None:
    with socket.socket() as other:
        if shared:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(server.PortTaken) as refused:
            server.check_port_free("127.0.0.1", port)
    owner = f"process {os.getpid()} (" if sys.platform == "linux" else "another process"
    assert refused.value.message.startswith(f"127.0.0.1:{port} is already in use by {owner}")


def test_several_sockets_may_share_a_port_that_was_free() -> None:
    with server.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with server.listen("127.0.0.1", port) as second:
            assert second.getsockname()[1] == port
    server.check_port_free("127.0.0.1", port)


def test_an_address_that_is_not_this_machines_is_one_clear_line() -> None:
    with pytest.raises(server.PortTaken, match=r"cannot listen on 192\.0\.2\.1:8000: "):
        server.check_port_free("192.0.2.1", 8000)
    with pytest.raises(server.PortTaken, match=r"cannot listen on no\.such\.host\.invalid:8000: "):
        server.check_port_free("no.such.host.invalid", 8000)


def test_addresses_are_written_as_they_are_reached_from_this_machine() -> None:
    assert server.http_url(server.reachable_host("0.0.0.0"), 80) == "http://127.0.0.1:80"
    assert server.http_url(server.reachable_host("::"), 80) == "http://[::1]:80"
    assert server.http_url(server.reachable_host("10.0.0.7"), 80) == "http://10.0.0.7:80"
