"""The load of a chaos run: clicks and conversions, with every acknowledgement written down.

`python -m loadtests.chaos_load FILE` reads its orders (`Orders`, JSON) from the file, runs until
SIGTERM, and leaves `clicks.txt` (a line of 39 bytes a click: its number and click id) and
`conversions.jsonl` (a `Posted` a line).
"""

import asyncio
import random
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import uvloop

from loadtests.chaos_http import Answer, Connection

CLICK_CONNECTIONS = 64
CONVERSION_CONNECTIONS = 32
CLICK_LINE_BYTES = 39
_FLUSH_SECONDS = 0.25
_RETRY_SECONDS = 0.2
# A load that could not keep up for so long goes on from now, it does not make good.
_LAG_MAX_SECONDS = 0.5
_BROWSER = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
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


class Pace:
    """Tickets at a steady rate, for any number of takers."""

    def __init__(self, per_second: float) -> None:
        self._gap_seconds = 1 / per_second if per_second > 0 else 0
        self._next_at = time.monotonic()

    async def ticket(self) -> None:
        """Returns when the next request is due."""
        now = time.monotonic()
        at = self._next_at = max(self._next_at + self._gap_seconds, now - _LAG_MAX_SECONDS)
        if at > now:
            await asyncio.sleep(at - now)


class Load:
    """All that is sent; `stop` ends it once the conversions under way are answered."""

    def __init__(self, orders: Orders, stop: asyncio.Event) -> None:
        self._orders = orders
        self._stop = stop
        self._random = random.Random(orders.seed)
        self._host = orders.edge_url.partition("//")[2].encode()
        self._numbers = 0
        self._click_ids: deque[str] = deque(maxlen=1_000)
        self._sent: deque[tuple[str, bytes]] = deque(maxlen=500)
        self._clicks = bytearray()
        self._conversions = bytearray()

    async def run(self) -> None:
        tasks = [
            asyncio.create_task(self._repeat(self._click, pace))
            for pace in [Pace(self._orders.clicks_per_second)]
            for _ in range(CLICK_CONNECTIONS)
        ]
        if self._orders.conversions_per_second:
            pace = Pace(self._orders.conversions_per_second)
            tasks += [
                asyncio.create_task(self._repeat(self._convert, pace))
                for _ in range(CONVERSION_CONNECTIONS)
            ]
        pending = set(tasks)
        while pending:
            done, pending = await asyncio.wait(pending, timeout=_FLUSH_SECONDS)
            self._write_down()
            for task in done:
                task.result()

    def _write_down(self) -> None:
        folder = Path(self._orders.folder)
        for name, lines in (("clicks.txt", self._clicks), ("conversions.jsonl", self._conversions)):
            with open(folder / name, "ab") as file:
                file.write(lines)
            lines.clear()

    async def _repeat(self, send: Callable[[Connection], Awaitable[None]], pace: Pace) -> None:
        connection = Connection(self._orders.edge_url)
        while not self._stop.is_set():
            await pace.ticket()
            await send(connection)
        connection.close()

    async def _click(self, connection: Connection) -> None:
        """One click with a number of its own; it is sent once, whatever comes of it."""
        self._numbers += 1
        number = self._numbers
        code = self._random.choice(self._orders.codes)
        target = b"GET /%s?sub1=%d HTTP/1.1\r\nHost: %s\r\nUser-Agent: %s\r\n\r\n"
        words = (code.encode(), number, self._host, _BROWSER.encode())
        try:
            answer = await connection.ask(target % words)
        except OSError:
            await asyncio.sleep(_RETRY_SECONDS)
            return
        if answer.status != 302:
            return
        click_id = answer.location.partition(_CLICK_ID)[2][:26]
        self._clicks += b"%011d %s\n" % (number, click_id)
        self._click_ids.append(click_id.decode())

    async def _convert(self, connection: Connection) -> None:
        """A new order, an old one once more, or another body under an old order's id."""
        kind = self._random.random()
        if self._sent and kind < 0.1:
            order_id, body = self._random.choice(self._sent)
        elif self._sent and kind < 0.15:
            order_id, _ = self._random.choice(self._sent)
            body = self._body(order_id)
        else:
            self._numbers += 1
            order_id = f"order_{self._numbers}"
            body = self._body(order_id)
            self._sent.append((order_id, body))
        answer = await self._post(connection, body)
        if answer is None:
            return
        known = answer.status in _ACKNOWLEDGED
        made = msgspec.json.decode(answer.body, type=_Converted).conversion_id if known else ""
        self._conversions += msgspec.json.encode(Posted(order_id, answer.status, made)) + b"\n"

    def _body(self, order_id: str) -> bytes:
        fields: dict[str, str] = {
            "order_id": order_id,
            "order_value": f"{self._random.randrange(100, 100_000) / 100:.2f}",
            "tracking_code": self._random.choice(self._orders.codes),
        }
        if self._click_ids and self._random.random() < 0.5:
            fields["click_id"] = self._random.choice(self._click_ids)
        return msgspec.json.encode(fields)

    async def _post(self, connection: Connection, body: bytes) -> Answer | None:
        """The first answer that is no failure, as a merchant's shop would ask; None on a stop."""
        head = (
            b"POST /v1/conversions HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        request = head % (self._host, self._orders.key.encode(), len(body)) + body
        while True:
            with suppress(OSError):
                answer = await connection.ask(request)
                if answer.status < 500:
                    return answer
            if self._stop.is_set():
                return None
            await asyncio.sleep(_RETRY_SECONDS)


async def _main(orders: Orders) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Load(orders, stop).run()


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Orders)))
