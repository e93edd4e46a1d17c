"""A request to an endpoint ends in time, with a status or a sentence that says what happened."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from linkjolt.webhooks.allowed_targets import PrivateTargets
from outbound import transport
from outbound.resolver import Resolver
from outbound.transport import EndpointClient, EndpointResponse
from tests.outbound.receiver import Arrived, answer, in_turn, receiving

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
EVERYTHING = PrivateTargets(everything=True)
BODY = b'{"event":"test"}'


async def post(url: str, resolver: Resolver | None = None) -> EndpointResponse:
    names = resolver or Resolver()
    async with EndpointClient(url, names, connections=1, allowed=EVERYTHING) as endpoint:
        response = await endpoint.post(BODY, {})
    # Connections that were reset are closed in the loop's next turn.
    await asyncio.sleep(0)
    return response


@asynccontextmanager
async def serving(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncGenerator[int]:
    """Runs a server whose connections are served as given; yields its port."""
    connections: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    async def one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[asyncio.current_task()] = writer
        with suppress(ConnectionError):
            await serve(reader, writer)

    server = await asyncio.start_server(one, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in connections.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in connections if task))


async def read_request(reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(len(BODY))


def reset(writer: asyncio.StreamWriter) -> None:
    """Closes a connection so that its peer gets a reset."""
    sock: socket.socket = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    writer.transport.abort()


@pytest.mark.long
async def test_an_answer_may_take_longer_than_the_clients_own_timeout() -> None:
    async def slow(_: Arrived) -> bytes:
        await asyncio.sleep(5.5)
        return answer(200)

    async with receiving(slow) as shop:
        response = await post(shop.url)
    assert (response.status, response.error) == (200, "")
    assert 5_500 <= response.took_ms < 10_000


async def test_a_status_in_time_is_the_answer_though_its_body_breaks_off() -> None:
    async def half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()

    async with serving(half) as port:
        response = await post(f"http://127.0.0.1:{port}/")
    assert (response.status, response.start, response.error) == (200, "half", "")


@pytest.mark.parametrize(("head", "status"), [(b"200 OK", 200), (b"503 Busy", 503)])
async def test_a_status_in_time_is_the_answer_though_its_body_drips(
    head: bytes, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.5)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 " + head + b"\r\nRetry-After: 7\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x")
            await asyncio.sleep(0.05)

    async with serving(drip) as port:
        response = await post(f"http://127.0.0.1:{port}/")
    assert (response.status, response.retry_after, response.error) == (status, "7", "")
    assert response.start.startswith("xx")
    assert response.took_ms < 5_000


async def test_no_cookie_is_kept() -> None:
    said = answer(200, Set_Cookie="session=secret; Path=/")
    async with receiving(in_turn(said)) as shop:
        names = Resolver()
        async with EndpointClient(shop.url, names, connections=1, allowed=EVERYTHING) as client:
            for _ in range(3):
                assert (await client.post(BODY, {})).status == 200
    assert len(shop.arrived) == 3
    assert not any("cookie" in arrived.headers for arrived in shop.arrived)


async def test_the_next_address_is_used_where_one_refuses() -> None:
    async with receiving() as shop:
        port = shop.url.split(":")[2]
        addresses = Resolver(lambda _: ["127.0.0.2", "127.0.0.1"])
        response = await post(f"http://shop.example:{port}", addresses)
    assert response.status == 200
    assert shop.arrived[0].headers["host"] == f"shop.example:{port.partition('/')[0]}"


async def at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def after_the_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    reset(writer)


async def closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.close()


async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await read_request(reader)
    writer.write(b"not http at all\r\n\r\n")


NO_ANSWER = "The request was sent, but the connection was closed without an answer."


@pytest.mark.parametrize(
    ("serve", "scheme", "error"),
    [
        (after_the_request, "http", NO_ANSWER),
        (closed, "http", NO_ANSWER),
        (never, "http", "The request was sent, but no answer came within 0.5 s."),
        (garbage, "http", "The answer is not valid HTTP."),
        (at_once, "https", "The connection was closed before the request was sent."),
        (hang_up, "https", "The connection was closed before the request was sent."),
        (never, "https", "No connection was made in time."),
    ],
)
async def test_a_failed_request_is_explained(
    serve: Serve, scheme: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.5)
    async with serving(serve) as port:
        response = await post(f"{scheme}://127.0.0.1:{port}/hook?token=secret")
    assert (response.status, response.error) == (0, error)


async def test_a_refused_connection_is_explained() -> None:
    async with receiving() as shop:
        url = shop.url
    assert (await post(url)).error == "The connection was refused."


async def test_a_body_that_nobody_reads_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.5)

    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Its buffer is full after 128 KiB.
        await writer.wait_closed()

    async with serving(deaf) as port:
        url = f"http://127.0.0.1:{port}/"
        async with EndpointClient(url, Resolver(), connections=1, allowed=EVERYTHING) as client:
            response = await client.post(b"x" * (32 << 20), {})
    assert response.error == "The request could not be sent within 0.5 s."


async def test_a_certificate_that_nobody_signed_is_explained(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-subj", "/CN=shop.example", "-keyout", key, "-out", certificate]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate, key)
    async with serving(never, tls) as port:
        response = await post(f"https://127.0.0.1:{port}/")
    assert response.error == "The TLS certificate is not trusted: self-signed certificate."


async def test_a_server_without_tls_is_explained() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer(400))

    async with serving(plain) as port:
        response = await post(f"https://127.0.0.1:{port}/")
    assert response.error == "The TLS handshake failed: WRONG_VERSION_NUMBER."


def _nothing(host: str) -> list[str]:
    return []


def _gaierror(number: int) -> Callable[[str], list[str]]:
    def look_up(host: str) -> list[str]:
        raise socket.gaierror(number, f"no luck with {host}")

    return look_up


@pytest.mark.parametrize(
    ("look_up", "error"),
    [
        (_nothing, "The name shop.example has no address."),
        (
            _gaierror(socket.EAI_NONAME),
            "The name shop.example does not exist, or has no address.",
        ),
        (_gaierror(socket.EAI_AGAIN), "The name server does not answer for shop.example."),
        (_gaierror(socket.EAI_FAIL), "The name shop.example could not be looked up."),
    ],
)
async def test_a_name_without_an_address_is_explained(
    look_up: Callable[[str], list[str]], error: str
) -> None:
    response = await post("http://shop.example/hook?token=secret", Resolver(look_up))
    assert (response.status, response.error) == (0, error)
