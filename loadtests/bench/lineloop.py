"""Posts NDJSON as fast as it is answered, in bodies of megabytes, which wrk cannot make.

`python -m loadtests.bench.lineloop PORT SECONDS CONNECTIONS CODE PREFIX KEY` posts bodies of 1,000
to 10,000 conversions, each with its own order, and prints a `LineCounts` as JSON. A post begun in
time is completed, so that every line is answered.
"""

import asyncio
import itertools
import re
import sys
import time

import msgspec
import uvloop

SIZES = (1_000, 2_000, 5_000, 10_000)
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
_READ_BYTES = 1 << 20


class LineCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of lines by outcome, and of bodies, in some seconds."""

    created: int
    queued: int
    not_taken: int
    bodies: int
    refused: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.taken / self.seconds

    @property
    def taken(self) -> int:
        """The lines on disk: in the stream, or in the edge's spool while Redis was late."""
        return self.created + self.queued

    def describe(self) -> str:
        queued = f", {self.queued:,} lines queued" if self.queued else ""
        return f"{self.per_second:,.0f} lines/s in {self.bodies:,} bodies{queued}"

    def problems(self) -> list[str]:
        found = {"lines that were not taken": self.not_taken, "bodies refused": self.refused}
        return [f"{count:,} {what}" for what, count in found.items() if count]


class BodyGenerator:
    """Generates bodies endlessly; ids have one length, so that only they are formatted anew."""

    def __init__(self, code: str, prefix: str) -> None:
        self._line = (
            f'{{"tracking_code":"{code}","order_value":99.99,"order_id":"{prefix}_%010d",'
            '"customer_email":"customer@example.com"}\n'
        ).encode()
        self._orders = itertools.count()
        self._sizes = itertools.cycle(SIZES)

    def next_body(self) -> tuple[int, bytes]:
        """Makes the next body: its number of lines, and its bytes."""
        size = next(self._sizes)
        orders = tuple(itertools.islice(self._orders, size))
        return size, self._line * size % orders


class _LineClient:
    """Posts bodies over one connection and counts the outcomes of their lines."""

    def __init__(self, port: int, key: str, bodies: BodyGenerator) -> None:
        self._port = port
        self._bodies = bodies
        self._head = (
            "POST /v1/conversions HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/x-ndjson\r\n"
        ).encode()
        self.created = self.queued = self.not_taken = self.posted = self.refused = 0

    async def run(self, until: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=_READ_BYTES)
        while time.monotonic() < until:
            lines, body = self._bodies.next_body()
            writer.write(self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            self._count(lines, *await _answer(reader))
        writer.close()
        await writer.wait_closed()

    def _count(self, lines: int, status: int, body: bytes) -> None:
        created, queued = [body.count(b'{"status":%d,' % status) for status in (201, 202)]
        self.posted += 1
        self.created += created
        self.queued += queued
        self.not_taken += lines - created - queued
        self.refused += status != 200


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    status, length = _STATUS.match(head), _LENGTH.search(head)
    assert status
    assert length
    return int(status[1]), await reader.readexactly(int(length[1]))


async def post_lines(
    port: int, seconds: float, connections: int, bodies: BodyGenerator, key: str
) -> LineCounts:
    """Posts for some seconds over several connections."""
    clients = [_LineClient(port, key, bodies) for _ in range(connections)]
    began = time.monotonic()
    await asyncio.gather(*(client.run(began + seconds) for client in clients))
    return LineCounts(
        created=sum(client.created for client in clients),
        queued=sum(client.queued for client in clients),
        not_taken=sum(client.not_taken for client in clients),
        bodies=sum(client.posted for client in clients),
        refused=sum(client.refused for client in clients),
        seconds=time.monotonic() - began,
    )


def main() -> None:
    port, seconds, connections, code, prefix, key = sys.argv[1:]
    bodies = BodyGenerator(code, prefix)
    lines = uvloop.run(post_lines(int(port), float(seconds), int(connections), bodies, key))
    print(msgspec.json.encode(lines).decode())


if __name__ == "__main__":
    main()
