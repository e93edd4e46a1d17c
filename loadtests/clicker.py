"""A cheap open-loop click client: raw HTTP/1.1 over kept-alive connections, latencies noted."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@dataclass
class Tally:
    """`answers`: (seconds since the start at which it was due, seconds it took, status).

    Status 0 is a request without an answer. The time counts from when a request was due, so that
    a stalled server cannot hide behind the requests that were not sent meanwhile.
    """

    answers: list[tuple[float, float, int]] = field(default_factory=list[tuple[float, float, int]])

    def statuses(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for _, _, status in self.answers:
            counts[status] = counts.get(status, 0) + 1
        return counts

    def seconds(self, begin: float, end: float) -> list[float]:
        """How long the requests due in [begin, end) took."""
        return [took for due, took, _ in self.answers if begin <= due < end]


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


async def click(url: str, per_second: float, seconds: float, connections: int = 64) -> Tally:
    """Requests `url` at a steady rate; ends when the last one due was answered."""
    parts = urlsplit(url)
    request = (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"User-Agent: {FIREFOX}\r\n\r\n"
    ).encode()
    tally = Tally()
    began = time.perf_counter()
    due = iter(range(int(per_second * seconds)))

    async def work() -> None:
        reader = writer = None
        for number in due:
            at = began + number / per_second
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            status = 0
            try:
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
                writer.write(request)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 30)
                status = int(head.split(b" ", 2)[1])
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                reader = writer = None
            tally.answers.append((at - began, time.perf_counter() - at, status))
        if writer is not None:
            writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    return tally
