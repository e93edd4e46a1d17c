"""Sends the clicks and conversions of a chaos run, and records every acknowledgement.

`python -m loadtests.chaos_load FILE` reads `LoadSettings` (JSON) from the file, runs until
SIGTERM, and leaves `clicks.txt` (39 bytes a line: a click's number and click id) and
`conversions.jsonl` (one `AnsweredPost` a line).
"""

import asyncio
import random
import signal
import sys
from collections import deque
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from loadtests.http_client import FIREFOX, Answer, OnAnswer, Pacer

CLICK_CONNECTIONS = 64
CONVERSION_CONNECTIONS = 32
CLICK_LINE_BYTES = 39
_FLUSH_SECONDS = 0.25
_RETRY_SECONDS = 0.2
# A load that falls further behind continues from now; it does not catch up.
_LAG_MAX_SECONDS = 0.5
# No latency is measured here.
_TICK_SECONDS = 0.005
_ACKNOWLEDGED = (200, 201, 202)
_CLICK_ID = b"click_id="


class LoadSettings(msgspec.Struct, frozen=True):
    """Target, rates and credentials of a load; `codes` are the links' tracking codes."""

    edge_url: str
    key: str
    codes: list[str]
    clicks_per_second: float
    conversions_per_second: float
    folder: str
    seed: int


class AnsweredPost(msgspec.Struct, frozen=True):
    """A post that was answered; `conversion_id` is empty for a conflict."""

    order_id: str
    status: int
    conversion_id: str


class ConversionAnswer(msgspec.Struct, frozen=True):
    conversion_id: str


class _Order(msgspec.Struct, frozen=True):
    order_id: str
    request: bytes


class LoadGenerator:
    """Sends clicks and orders until `stop` is set, then awaits the answers in flight."""

    def __init__(self, settings: LoadSettings, stop: asyncio.Event) -> None:
        self._settings = settings
        self._stop = stop
        self._random = random.Random(settings.seed)
        host = settings.edge_url.partition("//")[2].encode()
        self._click_heads = [b"GET /%s?sub1=" % code.encode() for code in settings.codes]
        self._click_tail = b" HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n" % (
            host,
            FIREFOX.encode(),
        )
        self._post_head = (
            b"POST /v1/conversions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\n" % (host, settings.key.encode())
        )
        self._last_number = 0
        self._click_ids: deque[str] = deque(maxlen=1_000)
        self._sent: deque[_Order] = deque(maxlen=500)
        self._retries: deque[_Order] = deque()
        self._click_lines = bytearray()
        self._conversion_lines = bytearray()

    async def run(self) -> None:
        flows = (
            (CLICK_CONNECTIONS, self._settings.clicks_per_second, self._next_click),
            (CONVERSION_CONNECTIONS, self._settings.conversions_per_second, self._next_order),
        )
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._flush_repeatedly())
            async with asyncio.TaskGroup() as sending:
                for connections, rate, next_request in flows:
                    if rate:
                        flow = (connections, rate, next_request, _LAG_MAX_SECONDS, _TICK_SECONDS)
                        pacer = Pacer(self._settings.edge_url, *flow)
                        sending.create_task(pacer.run(self._stop))
            writing.cancel()
        self._flush()

    async def _flush_repeatedly(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self._flush()

    def _flush(self) -> None:
        folder = Path(self._settings.folder)
        for name, lines in (
            ("clicks.txt", self._click_lines),
            ("conversions.jsonl", self._conversion_lines),
        ):
            with open(folder / name, "ab") as file:
                file.write(lines)
            lines.clear()

    def _next_click(self, _: float) -> tuple[bytes, OnAnswer]:
        """Makes a click with a number of its own, which is sent once and never retried."""
        self._last_number += 1
        number = self._last_number
        visit = self._click_heads[number % len(self._click_heads)]
        return b"%b%d%b" % (visit, number, self._click_tail), partial(self._record_click, number)

    def _record_click(self, number: int, answer: Answer | None) -> None:
        if answer is None or answer.status != 302:
            return
        click_id = answer.location.partition(_CLICK_ID)[2][:26]
        self._click_lines += b"%011d %b\n" % (number, click_id)
        self._click_ids.append(click_id.decode())

    def _next_order(self, _: float) -> tuple[bytes, OnAnswer]:
        order = self._retries.popleft() if self._retries else self._choose_order()
        return order.request, partial(self._record_post, order)

    def _choose_order(self) -> _Order:
        """Chooses a new order, an exact repeat, or another body under an old order's id."""
        kind = self._random.random()
        if self._sent and kind < 0.1:
            return self._random.choice(self._sent)
        if self._sent and kind < 0.15:
            return self._make_order(self._random.choice(self._sent).order_id)
        self._last_number += 1
        order = self._make_order(f"order_{self._last_number}")
        self._sent.append(order)
        return order

    def _make_order(self, order_id: str) -> _Order:
        fields: dict[str, str] = {
            "order_id": order_id,
            "order_value": f"{self._random.randrange(100, 100_000) / 100:.2f}",
            "tracking_code": self._random.choice(self._settings.codes),
        }
        if self._click_ids and self._random.random() < 0.5:
            fields["click_id"] = self._random.choice(self._click_ids)
        body = msgspec.json.encode(fields)
        request = b"%bContent-Length: %d\r\n\r\n%b" % (self._post_head, len(body), body)
        return _Order(order_id, request)

    def _record_post(self, order: _Order, answer: Answer | None) -> None:
        """Records an answer below status 500; otherwise queues the order again, as a shop would."""
        if answer is None or answer.status >= 500:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._retries.append, order)
            return
        acknowledged = answer.status in _ACKNOWLEDGED
        conversion_id = (
            msgspec.json.decode(answer.body, type=ConversionAnswer).conversion_id
            if acknowledged
            else ""
        )
        posted = AnsweredPost(order.order_id, answer.status, conversion_id)
        self._conversion_lines += msgspec.json.encode(posted) + b"\n"


async def _main(settings: LoadSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await LoadGenerator(settings, stop).run()


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=LoadSettings)))
