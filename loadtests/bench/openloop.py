"""Clicks at a steady rate over keep-alive connections: wrk has no such mode, and Debian no wrk2.

`python -m loadtests.bench.openloop PORT PER_SECOND WARM_UP_SECONDS SECONDS CONNECTIONS` prints
`ClickLatencies` as JSON. Clicks due within a millisecond are sent together at its start. A latency
counts from when a click was due, so that a server that stalls cannot hide behind the requests that
were not sent meanwhile. It includes the client's own delay, which is also shown separately.
"""

import asyncio
import gc
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

import msgspec
import uvloop

from loadtests.bench.ticks import ticking
from loadtests.bench.traffic import raw_requests

_TICK_SECONDS = 0.001
_GRACE_SECONDS = 5.0
_REDIRECT = b"HTTP/1.1 302"


class ClickLatencies(msgspec.Struct, frozen=True, kw_only=True):
    """Percentiles of the measured clicks; `late_p99_ms` is the client's own delay."""

    due: int
    answered: int
    not_redirects: int
    lost_connections: int
    p50_ms: float
    p99_ms: float
    max_ms: float
    late_p99_ms: float

    def describe(self) -> str:
        times = f"p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, max {self.max_ms:.2f} ms"
        return f"{times}, client late p99 {self.late_p99_ms:.2f} ms"

    def problems(self) -> list[str]:
        found = {
            "answers that are no 302": self.not_redirects,
            "connections lost": self.lost_connections,
            "clicks without an answer": self.due - self.answered,
        }
        return [f"{count:,} {what}" for what, count in found.items() if count]


def due_seconds(number: int, per_second: float) -> float:
    """Computes when click `number` (from 0) is due: at the start of its millisecond."""
    return int(number / per_second / _TICK_SECONDS) * _TICK_SECONDS


def percentile(ordered: Sequence[float], share: float) -> float:
    """Returns the smallest value that this share of sorted values does not exceed; 0 for none."""
    if not ordered:
        return 0.0
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def answer_bytes(received: bytes) -> int | None:
    """Returns the length of the first answer; None while it is incomplete."""
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = received[:end].lower()
    _, named, rest = head.partition(b"\r\ncontent-length:")
    whole = end + 4 + (int(rest.partition(b"\r\n")[0]) if named else 0)
    return whole if len(received) >= whole else None


class SteadyClicker:
    """Sends the clicks that are due on any free connection."""

    def __init__(self, requests: Sequence[bytes], per_second: float, seconds: float) -> None:
        self._requests = requests
        self._per_second = per_second
        self._total = int(per_second * seconds)
        self._started_at = 0.0
        self._due_total = 0
        self._waiting: deque[float] = deque()
        self.idle: deque[_ClickConnection] = deque()
        self._sent_total = 0
        self.lost_connections = 0
        self.not_redirects = 0
        self.answers: list[tuple[float, float]] = []
        self.late: list[float] = []
        self._all_answered = asyncio.Event()

    async def run(self) -> None:
        """Sends all clicks; returns when all are answered, or 5 s after the last was due."""
        self._started_at = time.perf_counter()
        last = due_seconds(self._total, self._per_second)
        with ticking(_TICK_SECONDS, self._send_due), suppress(TimeoutError):
            await asyncio.wait_for(self._all_answered.wait(), last + _GRACE_SECONDS)

    def _now(self) -> float:
        return time.perf_counter() - self._started_at

    def _send_due(self) -> None:
        now = self._now()
        while self._due_total < self._total:
            due = due_seconds(self._due_total, self._per_second)
            if due > now:
                break
            self.late.append(now - due)
            self._waiting.append(due)
            self._due_total += 1
        while self._waiting and self.idle:
            self.send_on(self.idle.popleft())

    def send_on(self, connection: "_ClickConnection") -> None:
        """Sends the click that has waited longest; without one the connection becomes idle."""
        if not self._waiting:
            self.idle.append(connection)
            return
        connection.send(
            self._requests[self._sent_total % len(self._requests)], self._waiting.popleft()
        )
        self._sent_total += 1

    def record_answer(self, due: float, redirected: bool) -> None:
        self.answers.append((due, self._now() - due))
        self.not_redirects += not redirected
        if len(self.answers) == self._total:
            self._all_answered.set()

    def latencies(self, warm_up_seconds: float) -> ClickLatencies:
        """Computes the percentiles of the clicks due after the warm-up."""
        times = sorted(took * 1000 for due, took in self.answers if due >= warm_up_seconds)
        warm = int(warm_up_seconds * self._per_second)
        return ClickLatencies(
            due=self._total,
            answered=len(self.answers),
            not_redirects=self.not_redirects,
            lost_connections=self.lost_connections,
            p50_ms=percentile(times, 0.5),
            p99_ms=percentile(times, 0.99),
            max_ms=percentile(times, 1.0),
            late_p99_ms=percentile(sorted(self.late[warm:]), 0.99) * 1000,
        )


class _ClickConnection(asyncio.Protocol):
    """A connection for one request at a time."""

    def __init__(self, clicker: SteadyClicker) -> None:
        self._clicker = clicker
        self._transport: asyncio.WriteTransport | None = None
        self._due_at = 0.0
        self._received = b""
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._clicker.idle.append(self)

    def send(self, request: bytes, due: float) -> None:
        assert self._transport
        self._due_at = due
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if answer_bytes(received) is None:
            self._received = received
            return
        self._received = b""
        self._clicker.record_answer(self._due_at, received.startswith(_REDIRECT))
        self._clicker.send_on(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._clicker.lost_connections += 1
        self.closed.set_result(None)
        if self in self._clicker.idle:
            self._clicker.idle.remove(self)

    def close(self) -> None:
        assert self._transport
        self._transport.close()


async def click_steadily(
    port: int, per_second: float, warm_up_seconds: float, seconds: float, connections: int
) -> ClickLatencies:
    """Clicks through warm-up and measurement; the figures leave out the warm-up."""
    clicker = SteadyClicker(raw_requests(port), per_second, warm_up_seconds + seconds)
    loop = asyncio.get_running_loop()
    opened = [_ClickConnection(clicker) for _ in range(connections)]
    for connection in opened:
        await loop.create_connection(lambda each=connection: each, "127.0.0.1", port)
    await clicker.run()
    latencies = clicker.latencies(warm_up_seconds)
    for connection in opened:
        connection.close()
    await asyncio.gather(*(connection.closed for connection in opened))
    return latencies


def main() -> None:
    port, per_second, warm_up_seconds, seconds, connections = sys.argv[1:]
    # A collection in mid-run would look like a slow server.
    gc.disable()
    latencies = uvloop.run(
        click_steadily(
            int(port), float(per_second), float(warm_up_seconds), float(seconds), int(connections)
        )
    )
    print(msgspec.json.encode(latencies).decode())


if __name__ == "__main__":
    main()
