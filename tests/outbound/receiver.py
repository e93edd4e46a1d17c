"""Runs a merchant's endpoint that answers as set and records the requests."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Reply = Callable[["Arrived"], Awaitable[bytes]]


@dataclass
class Arrived:
    """One request: its lower-case headers and its body."""

    headers: dict[str, str]
    body: bytes

    @property
    def webhook_id(self) -> str:
        return self.headers["webhook-id"]


def answer(status: int, body: str = "", **headers: str) -> bytes:
    """Builds a whole answer, after which the connection stays open."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join([*lines, "", ""]) + body).encode()


@dataclass
class Receiver:
    """Listens on a port of this machine; each request is answered by `reply`."""

    url: str
    reply: Reply
    arrived: list[Arrived] = field(default_factory=list[Arrived])

    @property
    def ids(self) -> list[str]:
        return [one.webhook_id for one in self.arrived]


async def ok(_: Arrived) -> bytes:
    return answer(200)


def in_turn(*replies: bytes) -> Reply:
    """Replies with these answers in turn, the last one repeatedly; b"" closes without one."""
    left = list(replies)

    async def reply(_: Arrived) -> bytes:
        return left.pop(0) if len(left) > 1 else left[0]

    return reply


@asynccontextmanager
async def receiving(reply: Reply = ok, port: int = 0) -> AsyncGenerator[Receiver]:
    """Runs a receiver."""
    receiver = Receiver("", reply)
    connections: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        try:
            while arrived := await _read(reader):
                receiver.arrived.append(arrived)
                said = await receiver.reply(arrived)
                writer.write(said)
                await writer.drain()
                if not said:
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield receiver
    finally:
        server.close()
        for writer in connections:
            writer.close()


async def _read(reader: asyncio.StreamReader) -> Arrived | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return None
    pairs = [line.partition(":") for line in head.split("\r\n")[1:] if line]
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    return Arrived(headers, await reader.readexactly(int(headers["content-length"])))
