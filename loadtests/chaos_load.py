"""The load of a chaos run: clicks and conversions, with every acknowledgement written down.

`python -m loadtests.chaos_load FILE` reads its orders (`Orders`, JSON) from the file, runs until
SIGTERM, and leaves `clicks.txt` (a line of 39 bytes a click: its number and click id) and
`conversions.jsonl` (a `Posted` a line).
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

from loadtests.http_client import FIREFOX, Answer, Answered, Pacer

CLICK_CONNECTIONS = 64
CONVERSION_CONNECTIONS = 32
CLICK_LINE_BYTES = 39
_FLUSH_SECONDS = 0.25
_RETRY_SECONDS = 0.2
# A load that could not keep up for so long goes on from now, it does not make good.
_LAG_MAX_SECONDS = 0.5
# No latency is measured here.
_TICK_SECONDS = 0.005
_ACKNOWLEDGED = (200, 201, 202)
_CLICK_ID = b"click_id="


class Orders(msgspec.Struct, frozen=True):
    """What to send where; rates are per second, `codes` are links' tracking codes."""

    edge_url: str
    key: str
    codes: list[str]
    clicks_per_second: float
    conversions_per_second: float
    folder: str
    seed: int


class Posted(msgspec.Struct, frozen=True):
    """An answered post; `conversion_id` is the answer's, empty for a conflict."""

    order_id: str
    status: int
    conversion_id: str


class _Converted(msgspec.Struct, frozen=True):
    conversion_id: str


class _Order(msgspec.Struct, frozen=True):
    order_id: str
    request: bytes


class Load:
    """All that is sent; `stop` ends it once the requests under way are answered."""

    def __init__(self, orders: Orders, stop: asyncio.Event) -> None:
        self._orders = orders
        self._stop = stop
        self._random = random.Random(orders.seed)
        host = orders.edge_url.partition("//")[2].encode()
        self._visits = [b"GET /%s?sub1=" % code.encode() for code in orders.codes]
        self._visitor = b" HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n" % (
            host,
            FIREFOX.encode(),
        )
        self._shop = (
            b"POST /v1/conversions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\n" % (host, orders.key.encode())
        )
        self._numbers = 0
        self._click_ids: deque[str] = deque(maxlen=1_000)
        self._sent: deque[_Order] = deque(maxlen=500)
        self._again: deque[_Order] = deque()
        self._clicks = bytearray()
        self._conversions = bytearray()

    async def run(self) -> None:
        flows = (
            (CLICK_CONNECTIONS, self._orders.clicks_per_second, self._next_click),
            (CONVERSION_CONNECTIONS, self._orders.conversions_per_second, self._next_order),
        )
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_down_on())
            async with asyncio.TaskGroup() as sending:
                for connections, rate, next_one in flows:
                    if rate:
                        flow = (connections, rate, next_one, _LAG_MAX_SECONDS, _TICK_SECONDS)
                        pacer = Pacer(self._orders.edge_url, *flow)
                        sending.create_task(pacer.run(self._stop))
            writing.cancel()
        self._write_down()

    async def _write_down_on(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            self._write_down()

    def _write_down(self) -> None:
        folder = Path(self._orders.folder)
        for name, lines in (("clicks.txt", self._clicks), ("conversions.jsonl", self._conversions)):
            with open(folder / name, "ab") as file:
                file.write(lines)
            lines.clear()

    def _next_click(self, _: float) -> tuple[bytes, Answered]:
        """One click with a number of its own; it is sent once, whatever comes of it."""
        self._numbers += 1
        number = self._numbers
        visit = self._visits[number % len(self._visits)]
        return b"%b%d%b" % (visit, number, self._visitor), partial(self._clicked, number)

    def _clicked(self, number: int, answer: Answer | None) -> None:
        if answer is None or answer.status != 302:
            return
        click_id = answer.location.partition(_CLICK_ID)[2][:26]
        self._clicks += b"%011d %b\n" % (number, click_id)
        self._click_ids.append(click_id.decode())

    def _next_order(self, _: float) -> tuple[bytes, Answered]:
        order = self._again.popleft() if self._again else self._choose_order()
        return order.request, partial(self._answered, order)

    def _choose_order(self) -> _Order:
        """A new order, an old one once more, or another body under an old order's id."""
        kind = self._random.random()
        if self._sent and kind < 0.1:
            return self._random.choice(self._sent)
        if self._sent and kind < 0.15:
            return self._make_order(self._random.choice(self._sent).order_id)
        self._numbers += 1
        order = self._make_order(f"order_{self._numbers}")
        self._sent.append(order)
        return order

    def _make_order(self, order_id: str) -> _Order:
        fields: dict[str, str] = {
            "order_id": order_id,
            "order_value": f"{self._random.randrange(100, 100_000) / 100:.2f}",
            "tracking_code": self._random.choice(self._orders.codes),
        }
        if self._click_ids and self._random.random() < 0.5:
            fields["click_id"] = self._random.choice(self._click_ids)
        body = msgspec.json.encode(fields)
        request = b"%bContent-Length: %d\r\n\r\n%b" % (self._shop, len(body), body)
        return _Order(order_id, request)

    def _answered(self, order: _Order, answer: Answer | None) -> None:
        """Writes down what is no failure; else the order comes again, as a merchant's shop asks."""
        if answer is None or answer.status >= 500:
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._again.append, order)
            return
        known = answer.status in _ACKNOWLEDGED
        made = msgspec.json.decode(answer.body, type=_Converted).conversion_id if known else ""
        posted = Posted(order.order_id, answer.status, made)
        self._conversions += msgspec.json.encode(posted) + b"\n"


async def _main(orders: Orders) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Load(orders, stop).run()


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)))
