"""Measures what delivered `click.created` webhooks leave in Redis.

`python -m loadtests.webhook_memory [--deliveries 1000000]` publishes clicks to a Redis of its own,
and has feed, queue, aggregator and delivery log work on them as they do in their processes; only
the request to the endpoint is left out. The memory of the click stream itself is subtracted. It
exits with 1 if Redis grew by more than 64 MB, or if the warehouse does not list every delivery.
"""

import asyncio
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop

from aggregator.app import AggregatorLoop
from aggregator.deliveries.loop import DeliveryLogLoop
from aggregator.warehouse.migrate import migrate
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.datasets import Dataset
from linkjolt.events import Click
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import AggregatorSettings
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, connect
from linkjolt.webhooks.deliveries.backlog import read_backlogs
from linkjolt.webhooks.deliveries.delivery import ClaimedDelivery, Delivery
from linkjolt.webhooks.deliveries.log import WarehouseDeliveryLog
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.queue import DeliveryAttempt, DeliveryQueue
from linkjolt.webhooks.signing import make_secret
from loadtests.bench.webhooks import open_registry
from outbound.feed import WebhookFeed
from outbound.upkeep import QueueUpkeep

GROWTH_MAX_BYTES = 64_000_000
_FRAME = 500
_AHEAD_MAX = 5_000
_CLAIM = 64
_LINK = 7
_STREAM = redis_keys.clicks(0)
_PAUSE_SECONDS = 0.005
_encode = msgspec.json.Encoder().encode


class Growth(msgspec.Struct):
    """What was seen: bytes of Redis without the click stream, and how much is logged.

    `log_bytes` are the most that waited to be stored, `stream_bytes` those of the click stream.
    """

    deliveries: int
    seconds: float = 0.0
    first_bytes: int = 0
    most_bytes: int = 0
    last_bytes: int = 0
    log_bytes: int = 0
    stream_bytes: int = 0
    logged: int = 0
    dropped: int = 0

    def problems(self) -> list[str]:
        found: list[str] = []
        if self.most_bytes - self.first_bytes > GROWTH_MAX_BYTES:
            found.append(f"Redis grew by more than {GROWTH_MAX_BYTES:,} bytes")
        if self.logged != self.deliveries:
            found.append(f"the warehouse lists {self.logged:,} of {self.deliveries:,} deliveries")
        return found

    def lines(self) -> list[str]:
        grew, left = self.most_bytes - self.first_bytes, self.last_bytes - self.first_bytes
        return [
            f"- deliveries: {self.deliveries:,} in {self.seconds:,.0f} s",
            f"- Redis grew by {grew / 1e6:.1f} MB at most, by {left / 1e6:.1f} MB in the end",
            f"- of it, {self.log_bytes / 1e6:.1f} MB at most waited to be stored in the log",
            f"- the click stream, beside that, took {self.stream_bytes / 1e6:.1f} MB at most",
            f"- deliveries in the warehouse's log: {self.logged:,}; dropped: {self.dropped:,}",
        ]


class _Run:
    """One endpoint that gets every click, and what works on its deliveries."""

    def __init__(
        self, registry: Registry, engine: ClickHouse, log_engine: ClickHouse, count: int
    ) -> None:
        redis = self.redis = registry.redis
        self.growth = Growth(count)
        self._log = WarehouseDeliveryLog(log_engine)
        self._queue = DeliveryQueue(redis)
        self._endpoints = Endpoints(redis)
        settings = AggregatorSettings(stream_retention_hours=0)
        self._feed = WebhookFeed(redis, self._endpoints, self._queue, settings.shards)
        self._upkeep = QueueUpkeep(redis, self._endpoints, self._queue, settings)
        self._aggregator = AggregatorLoop(redis, engine, settings)
        self._log_loop = DeliveryLogLoop(redis, log_engine, settings)
        self._registry = registry
        self._sent = 0
        self._webhook = 0

    async def run(self) -> None:
        webhook = Webhook(
            number=0,
            account=Dataset(1),
            url="https://shop.example/",
            events=("click.created",),
            secrets=(WebhookSecret(make_secret()),),
            created_at=datetime.now(UTC),
        )
        self._webhook = (await self._registry.create(webhook)).number
        stop, started_at = asyncio.Event(), time.monotonic()
        await self._feed.enqueue_new(1)
        async with asyncio.TaskGroup() as tasks:
            for work in (self._aggregator.run(stop), self._log_loop.run(stop)):
                tasks.create_task(work)
            working = [self._watch(), self._publish(), self._read(), self._upkeep.run(stop)]
            running = [tasks.create_task(work) for work in working]
            await self._send()
            self.growth.seconds = time.monotonic() - started_at
            await self._wait_until_logged()
            for task in running:
                task.cancel()
            stop.set()
        self.growth.last_bytes = await self._used_bytes()

    async def _publish(self) -> None:
        ids = ClickIdGenerator(1, b"k" * 32)
        published = 0
        while published < self.growth.deliveries:
            # What is pending is bounded by itself; this is about what is delivered.
            if published - self._sent > _AHEAD_MAX:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            end = min(published + _FRAME, self.growth.deliveries)
            frame = b"\n".join(_click(ids.make(_LINK), number) for number in range(published, end))
            await call(self.redis, "XADD", _STREAM.key, "*", "f", frame)
            published = end

    async def _read(self) -> None:
        while True:
            await self._feed.enqueue_new(100)

    async def _send(self) -> None:
        while self._sent < self.growth.deliveries:
            claimed = await self._queue.claim(self._webhook, _now_ms(), _CLAIM)
            await self._queue.record(self._webhook, [_delivered(one) for one in claimed])
            self._sent += len(claimed)
            await asyncio.sleep(0 if claimed else _PAUSE_SECONDS)

    async def _wait_until_logged(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.growth.logged < self.growth.deliveries:
            await asyncio.sleep(0.5)
            self.growth.logged = await self._log.count(self._webhook, 0, _now_ms() + 1)

    async def _watch(self) -> None:
        growth = self.growth
        growth.first_bytes = growth.most_bytes = await self._used_bytes()
        shown_at = time.monotonic()
        while True:
            growth.most_bytes = max(growth.most_bytes, await self._used_bytes())
            backlog = (await read_backlogs(self.redis, [self._webhook]))[self._webhook]
            growth.log_bytes = max(growth.log_bytes, backlog.log_bytes)
            growth.dropped = backlog.dropped
            if time.monotonic() - shown_at > 10:
                shown_at = time.monotonic()
                more = (growth.most_bytes - growth.first_bytes) / 1e6
                click.echo(f"{self._sent:>10,} delivered, Redis +{more:.1f} MB at most", err=True)
            await asyncio.sleep(0.2)

    async def _used_bytes(self) -> int:
        """Reads the bytes that Redis uses, without the click stream."""
        stream = await call(self.redis, "MEMORY", "USAGE", _STREAM.key, "SAMPLES", 100)
        self.growth.stream_bytes = max(self.growth.stream_bytes, int(stream or 0))
        used = int((await call(self.redis, "INFO", "memory"))["used_memory"])
        return used - int(stream or 0)


def _click(click_id: str, number: int) -> bytes:
    known = {"account": 1, "link": _LINK, "campaign": 2, "affiliate": 3, "ip": "203.0.113.7"}
    return _encode(msgspec.convert({"click_id": click_id, "sub1": f"s{number}"} | known, Click))


def _delivered(claimed: ClaimedDelivery) -> tuple[ClaimedDelivery, Delivery, int]:
    attempt = DeliveryAttempt(at_ms=_now_ms(), took_ms=5, status=204)
    done = msgspec.structs.replace(claimed.delivery, state="delivered", attempt=1, tries=(attempt,))
    return claimed, done, 0


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


async def measure(folder: Path, url: str, deliveries: int) -> Growth:
    """Delivers so many clicks with a warehouse in this folder."""
    path = str(folder / "clickhouse")
    engine, log_engine = clickhouse.embedded(path, 1), clickhouse.embedded(path, 1)
    await migrate(engine)
    async with connect(url) as redis:
        run = _Run(await open_registry(redis, folder), engine, log_engine, deliveries)
        await run.run()
    await engine.close()
    await log_engine.close()
    return run.growth


@click.command()
@click.option("--deliveries", default=1_000_000, show_default=True, type=click.IntRange(1))
@click.option("--folder", help="Folder for the servers' data; by default a temporary one.")
def main(deliveries: int, folder: str | None) -> None:
    """Delivers clicks and prints by how much Redis grew."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        server = RedisServer(Path(name, "redis"), appendfsync="everysec")
        child = server.start()
        try:
            server.wait_ready(child)
            growth = uvloop.run(measure(Path(name), server.url, deliveries))
        finally:
            child.terminate()
            child.wait(20)
    click.echo("\n".join([*growth.lines(), *growth.problems()]))
    if growth.problems():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
