"""Sends logged requests to an edge over a few keep-alive connections, at a given rate."""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

import msgspec

from ingest.replay.access_log import LoggedRequest
from linkjolt.web.tls import LOCAL_HEADERS

CONNECTIONS = 32
NO_ANSWER = "no answer"
_ANSWER_SECONDS = 30.0
# uvicorn closes a connection after 5 idle seconds; a request sent just then would be lost.
_IDLE_MAX_SECONDS = 2.0
# Retries before a 404 or a refused connection counts: edges learn of a link within a second.
_RETRY_SECONDS = (0.05, 0.1, 0.25, 0.6, 1.0)
_BROKEN = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)


class EdgeAddress(msgspec.Struct, frozen=True):
    """Where an edge is reached; one of this machine's own instance without leaving it."""

    url: str
    is_local: bool = False
    tls: ssl.SSLContext | None = None


class ReplayTally(msgspec.Struct):
    """Counts of requests; `failed` by status or `no answer`."""

    sent: int = 0
    accepted: int = 0
    failed: Counter[str] = msgspec.field(default_factory=Counter[str])


class NotConnected(Exception):
    """No connection was made, so that nothing was sent."""


class ReplayConnection:
    """One HTTP/1.1 connection at a time; redirects are not followed, bodies are skipped."""

    def __init__(self, edge: "EdgeAddress") -> None:
        self._edge = edge
        self._url: SplitResult = urlsplit(edge.url)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._used_at = 0.0

    async def request(self, method: str, target: str, headers: dict[str, str]) -> int:
        """Sends a request and returns the status; 0 without an answer: it may have counted.

        NotConnected when it was not even sent. Texts are latin-1 without control characters.
        """
        reader, writer = await self.open()
        host = {"Host": self._url.netloc.rpartition("@")[2]}
        fields = host | headers | (LOCAL_HEADERS if self._edge.is_local else {})
        lines = [f"{method} {self._url.path.rstrip('/')}{target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields.items()]
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
                await writer.drain()
                status, reusable = await _read_answer(reader, has_body=method != "HEAD")
        except _BROKEN:
            self.close()
            return 0
        self._used_at = time.monotonic()
        if not reusable:
            self.close()
        return status

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Returns the connection, and reconnects where there is none or it may be closing.

        ValueError unless the URL is http or https.
        """
        idle_seconds = time.monotonic() - self._used_at
        if self._streams and (self._streams[0].at_eof() or idle_seconds > _IDLE_MAX_SECONDS):
            self.close()
        if self._streams is None:
            self._streams = await _connect(self._url, self._edge.tls)
            self._used_at = time.monotonic()
        return self._streams

    def close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


async def _connect(
    url: SplitResult, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("is no http:// or https:// URL")
    secure = url.scheme == "https"
    port = url.port or (443 if secure else 80)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            context = (tls or True) if secure else None
            return await asyncio.open_connection(url.hostname, port, ssl=context)
    except OSError as error:
        raise NotConnected(str(error)) from error


async def _read_answer(reader: asyncio.StreamReader, *, has_body: bool) -> tuple[int, bool]:
    """Returns the status, and whether the connection can carry another request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    start, *lines = head.rstrip("\r\n").split("\r\n")
    status = int(start.split(" ")[1])
    pairs = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip().lower() for name, _, value in pairs}
    reusable = headers.get("connection") != "close"
    if has_body and status not in (204, 304):
        reusable = await _skip_body(reader, headers) and reusable
    return status, reusable


async def _skip_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bool:
    """Reads to the end of the body; returns False where the connection ends with it."""
    if headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).partition(b";")[0], 16):
            await reader.readexactly(size + 2)
        while (await reader.readline()).strip():
            pass
        return True
    if "content-length" in headers:
        await reader.readexactly(int(headers["content-length"]))
        return True
    await reader.read()
    return False


async def is_reachable(edge: EdgeAddress) -> bool:
    """Returns True where an http(s) URL's host accepts connections."""
    connection = ReplayConnection(edge)
    try:
        await connection.open()
    except (NotConnected, ValueError):
        return False
    connection.close()
    return True


async def send_all(
    requests: Iterator[tuple[str, LoggedRequest]],
    edge: EdgeAddress,
    per_second: float,
    stop: asyncio.Event,
    advance: Callable[[int], None],
) -> ReplayTally:
    """Sends (tracking code, request) pairs, 32 at once; `per_second` 0 means no limit.

    `advance(1)` is called after each. Ends early when `stop` is set.
    """
    tally = ReplayTally()
    numbered = enumerate(requests)
    started_at = time.monotonic()

    async def send_next() -> None:
        connection = ReplayConnection(edge)
        try:
            for number, (code, request) in numbered:
                if per_second:
                    await _pause(started_at + number / per_second - time.monotonic(), stop)
                if stop.is_set():
                    return
                _count_status(tally, await _send(connection, code, request))
                advance(1)
        finally:
            connection.close()

    async with asyncio.TaskGroup() as senders:
        for _ in range(CONNECTIONS):
            senders.create_task(send_next())
    return tally


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    if seconds > 0:
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)


async def _send(connection: ReplayConnection, code: str, request: LoggedRequest) -> int:
    """Returns the final status, 0 for none; never resends a request that may have counted."""
    status = 0
    for seconds in (0.0, *_RETRY_SECONDS):
        await asyncio.sleep(seconds)
        try:
            status = await connection.request(request.method, f"/{code}", _headers(request))
        except NotConnected:
            continue
        if status != 404:
            break
    return status


def _headers(request: LoggedRequest) -> dict[str, str]:
    address = request.address
    headers = {
        # An edge believes the one that its settings name.
        **dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "CF-Connecting-IP"), address),
        "Forwarded": f"for={_node(address)}" if address else "",
        "User-Agent": request.user_agent,
        "Referer": request.referrer,
    }
    return {name: value for name, value in headers.items() if value}


def _node(address: str) -> str:
    """Writes an address as in a Forwarded header (RFC 7239)."""
    return f'"[{address}]"' if ":" in address else address


def _count_status(tally: ReplayTally, status: int) -> None:
    tally.sent += 1
    if status == 302:
        tally.accepted += 1
    else:
        tally.failed[str(status) if status else NO_ANSWER] += 1
