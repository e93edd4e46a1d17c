"""Clicks one link at a steady rate and times each click from when it was due."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

from loadtests.http_client import FIREFOX, Answer, OnAnswer, Pacer


@dataclass
class Tally:
    """The answers of a run: (seconds from the start until due, seconds taken, status).

    Status 0 is a request without an answer. The time counts from when a request was due, so that
    a stalled server cannot hide behind the requests that were not sent meanwhile; about a
    millisecond of it is the client's own.
    """

    answers: list[tuple[float, float, int]] = field(default_factory=list[tuple[float, float, int]])

    def statuses(self) -> dict[int, int]:
        counts: dict[int, int] = {}
        for _, _, status in self.answers:
            counts[status] = counts.get(status, 0) + 1
        return counts

    def seconds(self, begin: float, end: float) -> list[float]:
        """Lists the seconds taken by the requests due in [begin, end)."""
        return [took for due, took, _ in self.answers if begin <= due < end]


def percentile(values: Sequence[float], share: float) -> float:
    """Returns the smallest value that at least this share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


async def click_steadily(
    url: str, per_second: float, seconds: float, connections: int = 64, key: str = ""
) -> Tally:
    """Requests `url` at a steady rate; returns when the last request due was answered."""
    parts = urlsplit(url)
    authorization = f"Authorization: Bearer {key}\r\n" if key else ""
    request = (
        f"GET {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"User-Agent: {FIREFOX}\r\n{authorization}\r\n"
    ).encode()
    tally = Tally()
    left = int(per_second * seconds)
    stop = asyncio.Event()
    began = time.monotonic()

    def record(due_at: float, answer: Answer | None) -> None:
        took = time.monotonic() - due_at
        tally.answers.append((due_at - began, took, answer.status if answer else 0))

    def next_request(due_at: float) -> tuple[bytes, OnAnswer]:
        nonlocal left
        left -= 1
        if left <= 0:
            stop.set()
        return request, partial(record, due_at)

    await Pacer(url, connections, per_second, next_request).run(stop)
    return tally
