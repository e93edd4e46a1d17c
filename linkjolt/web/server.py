"""Runs the HTTP server: binds and shares ports, starts uvicorn and drains it on a stop event."""

import asyncio
import contextlib
import errno
import math
import os
import socket
import ssl
import stat
from collections.abc import Callable, Generator
from contextlib import suppress
from functools import partial
from typing import cast

import click
import uvicorn
from starlette.types import ASGIApp

from linkjolt.runtime.lifecycle import announce_ready
from linkjolt.runtime.port_owner import listener
from linkjolt.web.answer_headers import hsts_header
from linkjolt.web.connections.bounded_protocol import BoundedProtocol
from linkjolt.web.connections.connection_bounds import ConnectionBounds
from linkjolt.web.connections.tls_gate import TlsGate
from linkjolt.web.tls import ListenerTls

_BACKLOG = 2048
# Longer than common proxies keep an idle connection (60 s), so that the proxy closes it first.
_KEEP_ALIVE_SECONDS = 75


class PortTaken(click.ClickException):
    """The address cannot be listened on; the message says which and why."""


class StartFailed(Exception):
    """The application's startup failed; its error was logged."""


def listen(host: str, port: int) -> socket.socket:
    """Binds a socket that other processes may share; port 0 takes a free one.

    It refuses connections until `serve` has started the application, so that a process that is not
    ready gets none of its siblings' traffic. Raises PortTaken.
    """
    sock = _bind(host, port, shared=True)
    sock.setblocking(False)
    return sock


def check_port_free(host: str, port: int) -> None:
    """Raises PortTaken if anything listens there, whether it shares the port or not."""
    # A shared bind succeeds beside any other listener that shares, and halves its traffic.
    _bind(host, port, shared=False).close()
    if port and _accepts_connections(host, port):
        raise PortTaken(f"{host}:{port} is already in use by {listener(port)}")


def reachable_host(host: str) -> str:
    """Returns the address at which this machine reaches a listener bound to `host`."""
    return {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def http_url(host: str, port: int, scheme: str = "http") -> str:
    """Builds `http://127.0.0.1:8000`, with an IPv6 address in brackets."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _bind(host: str, port: int, *, shared: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"{host}:{port} is already in use by {listener(port)}") from None
        raise PortTaken(f"cannot listen on {host}:{port}: {error.strerror}") from None
    return sock


def _accepts_connections(host: str, port: int) -> bool:
    # BSD and macOS allow an exact address to be bound beside another's wildcard.
    with suppress(OSError), socket.create_connection((reachable_host(host), port), timeout=1):
        return True
    return False


def listen_unix(path: str) -> socket.socket:
    """Binds a Unix socket that only this user can reach; replaces a dead process's."""
    with suppress(FileNotFoundError):
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(path)
        os.chmod(path, 0o600)
    except OSError as error:
        sock.close()
        raise PortTaken(f"cannot listen on {path}: {error.strerror}") from None
    sock.setblocking(False)
    return sock


async def is_ready(host: str, port: int, tls: ssl.SSLContext | None = None) -> bool:
    """Returns True if a listener answers /readyz with 200 within a second."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return (await reader.readline()).split(b" ")[1:2] == [b"200"]
    except (OSError, ValueError):
        return False
    finally:
        if writer:
            writer.close()


class _UvicornServer(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, descriptor_share: float) -> None:
        super().__init__(config)
        self.server_state = ConnectionBounds(descriptor_share)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            announce_ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn's own raises SIGTERM again after the drain: no code after it would run.
        yield


async def serve(  # noqa: PLR0913
    app: ASGIApp,
    *,
    sock: socket.socket | None,
    stop: asyncio.Event,
    shutdown_seconds: float,
    uds: str | None = None,
    protocol: Callable[..., BoundedProtocol] = BoundedProtocol,
    descriptor_share: float = 0.5,
    tls: ListenerTls | None = None,
) -> None:
    """Serves on `sock`, on the Unix socket at `uds`, or on both; returns after the drain.

    With `tls` it speaks TLS, and follows the renewal of the certificate.

    Connections may have `descriptor_share` of the descriptors that this process may have.

    Once `stop` is set, listening ends and open requests have `shutdown_seconds` (rounded up) to
    end. `protocol` creates connections, called like uvicorn's own protocol classes.
    Raises StartFailed if the application's lifespan startup fails.
    """
    unix = listen_unix(uds) if uds else None
    sockets = [listener for listener in (sock, unix) if listener]
    server = _UvicornServer(_config(app, shutdown_seconds, protocol, tls), descriptor_share)
    tasks = [asyncio.create_task(_stop_server(server, stop))]
    if tls:
        tasks.append(asyncio.create_task(tls.follow()))
    try:
        await server.serve(sockets)
    except SystemExit:
        raise StartFailed("the application did not start: its error is logged above") from None
    finally:
        for task in tasks:
            task.cancel()
        for listener in sockets:
            listener.close()


def _config(
    app: ASGIApp,
    shutdown_seconds: float,
    protocol: Callable[..., BoundedProtocol],
    tls: ListenerTls | None,
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # uvicorn declares a class but accepts any callable.
        http=cast(type[asyncio.Protocol], partial(TlsGate, tls, protocol) if tls else protocol),
        headers=[_as_text(hsts_header(tls.hsts_seconds))] if tls else [],
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=math.ceil(shutdown_seconds),
    )


def _as_text(header: tuple[bytes, bytes]) -> tuple[str, str]:
    return header[0].decode(), header[1].decode()


async def _stop_server(server: uvicorn.Server, stop: asyncio.Event) -> None:
    await stop.wait()
    server.should_exit = True
