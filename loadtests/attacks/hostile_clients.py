"""Attacks a running instance as strangers, and holders of a small key, could.

Run by `loadtests.attacks.hostile` as a process of its own, for a time, against 127.0.0.1.
"""

import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NoReturn, cast
from urllib.parse import urlsplit

import httpx2
import msgspec
import uvloop

from linkjolt.runtime.descriptor_limits import raise_descriptor_limit

_IDLE_CONNECTIONS = 1_000
_SLOW_HEADS = 100
_SLOW_BODIES = 100
_AGENTS = 10_000
_BRACKETS_BYTES = 10 << 20
_DRIP_SECONDS = 2.0
_PAUSE_SECONDS = 0.2
_BRACKETS_PAUSE_SECONDS = 5.0
# 512 characters, of which a search for a name and a version begins anew at each.
_AGENT = "{number}" + "____a" * 102


class AttackPlan(msgspec.Struct, frozen=True):
    """What is attacked, for how long; each code's clicks are counted apart."""

    edge_url: str
    reports_url: str
    key: str
    agents_code: str
    unread_code: str
    seconds: float


class AttackCounts(msgspec.Struct):
    """What was sent."""

    connections: int = 0
    unread_bytes: int = 0
    agents: int = 0
    agents_redirected: int = 0
    brackets: int = 0
    brackets_refused: int = 0


class Attack:
    """One attack: `run` returns after the plan's seconds."""

    def __init__(self, plan: AttackPlan) -> None:
        self._plan = plan
        self.counts = AttackCounts()

    async def run(self) -> None:
        plan, listeners = self._plan, (self._plan.edge_url, self._plan.reports_url)
        attacks: list[Awaitable[None]] = [self._send_agents(), self._send_brackets()]
        for url in listeners:
            attacks += [self._again(url, self._idle) for _ in range(_IDLE_CONNECTIONS)]
            attacks += [self._again(url, self._drip_head) for _ in range(_SLOW_HEADS)]
            attacks += [self._again(url, self._drip_body) for _ in range(_SLOW_BODIES)]
        attacks += [
            self._again(plan.edge_url, self._unread(plan.unread_code)),
            self._again(plan.reports_url, self._unread("healthz")),
        ]
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.seconds):
                await asyncio.gather(*attacks)

    async def _again(self, url: str, use: "_Use") -> NoReturn:
        """Uses one connection after the other, as soon as each is closed."""
        parts = urlsplit(url)
        while True:
            # uvloop raises RuntimeError where the server has closed.
            with suppress(OSError, RuntimeError):
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                self.counts.connections += 1
                try:
                    await use(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _idle(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async def _drip_head(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _drip(reader, writer, b"GET / HTTP/1.1\r\nHost: ")

    async def _drip_body(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = b"POST /postback HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n"
        await _drip(reader, writer, head)

    def _unread(self, path: str) -> "_Use":
        sent = f"GET /{path} HTTP/1.1\r\nHost: a\r\n\r\n".encode() * 1_000

        async def use(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            cast(asyncio.Transport, writer.transport).pause_reading()
            while True:
                writer.write(sent)
                self.counts.unread_bytes += len(sent)
                await writer.drain()

        return use

    async def _send_agents(self) -> None:
        """Clicks once with each hostile agent, spread over the time."""
        plan = self._plan
        every_seconds = plan.seconds * 0.8 / _AGENTS
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with httpx2.AsyncClient(base_url=plan.edge_url, timeout=20) as client:
            for number in itertools.count():
                if number == _AGENTS:
                    return
                agent = _AGENT.format(number=number)[:512]
                self.counts.agents += 1
                with suppress(httpx2.TransportError):
                    answer = await client.get(f"/{plan.agents_code}", headers={"User-Agent": agent})
                    self.counts.agents_redirected += answer.status_code == 302
                await asyncio.sleep(max(0.0, began + number * every_seconds - loop.time()))

    async def _send_brackets(self) -> None:
        plan = self._plan
        headers = {"Authorization": f"Bearer {plan.key}", "Content-Type": "application/json"}
        bodies = itertools.cycle((b"[" * _BRACKETS_BYTES, b"[]," * (_BRACKETS_BYTES // 3)))
        async with httpx2.AsyncClient(
            base_url=plan.edge_url, headers=headers, timeout=20
        ) as client:
            for body in bodies:
                self.counts.brackets += 1
                # It may be refused, and the connection closed, before it is sent whole.
                with suppress(httpx2.TransportError):
                    answer = await client.post("/v1/links/bulk", content=b'{"links":[' + body)
                    self.counts.brackets_refused += answer.status_code in (400, 413)
                await asyncio.sleep(_BRACKETS_PAUSE_SECONDS)


_Use = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    """Sends a head, then a byte at a time, until the server answers or closes."""
    answered = asyncio.ensure_future(reader.read(1))
    writer.write(head)
    while not answered.done():
        await asyncio.wait({answered}, timeout=_DRIP_SECONDS)
        writer.write(b"a")
        await writer.drain()


def main() -> None:
    """Reads the plan from stdin and prints the counts, both in JSON."""
    raise_descriptor_limit()
    attack = Attack(msgspec.json.decode(sys.stdin.buffer.read(), type=AttackPlan))
    uvloop.run(attack.run())
    print(json.dumps(msgspec.to_builtins(attack.counts)))


if __name__ == "__main__":
    main()
