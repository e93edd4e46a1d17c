"""Benches webhook deliveries to one local receiver, by one process on one core."""

import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from redis.asyncio import Redis

from linkjolt import datasets, redis_keys
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.registry.sealed.start import open_sealer
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import call, connect
from linkjolt.webhooks.signing import make_secret
from loadtests.bench import budgets
from loadtests.bench.plan import BenchFailed, BenchPlan
from loadtests.bench.programs import running_program
from loadtests.bench.rows import BenchRow, judge
from loadtests.bench.streams import open_redis

DELIVERIES = 5_000
_FRAME = 100
_LIMIT_SECONDS = 120.0
_COMMAND = (sys.executable, "-P", "-m", "linkjolt", "webhooks", "run")
_ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class _Receiver:
    """Answers at once; records each id and when the first and the last delivery arrived."""

    def __init__(self) -> None:
        self.ids: set[bytes] = set()
        self.arrived = 0
        self.first_at = self.last_at = 0.0
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if line)
                named = {name.lower(): value for name, value in fields.items()}
                await reader.readexactly(int(named[b"content-length"]))
                self.last_at = time.monotonic()
                self.first_at = self.first_at or self.last_at
                self.ids.add(named[b"webhook-id"])
                self.arrived += 1
                writer.write(_ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def close(self) -> None:
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def measure_webhooks(plan: BenchPlan, deliveries: int = DELIVERIES) -> list[BenchRow]:
    """Measures deliveries per second; Redis and the receiver share the other core."""
    with (
        tempfile.TemporaryDirectory(dir=plan.folder) as name,
        open_redis(Path(name, "redis"), plan.cores.redis, "always") as (url, _),
    ):
        receiver = asyncio.run(_measure(url, Path(name), plan, deliveries))
    rate = (receiver.arrived - 1) / max(receiver.last_at - receiver.first_at, 1e-9)
    problems = [] if receiver.arrived == deliveries else [f"{receiver.arrived} arrived, some twice"]
    return [
        BenchRow(
            name="webhooks delivered to a local receiver, on one core",
            target=str(budgets.WEBHOOKS),
            figure=f"{rate:,.0f}/s",
            verdict=judge(budgets.WEBHOOKS.allows(rate), problems),
            detail=(f"{deliveries:,} conversions, each told of once to one endpoint", *problems),
        )
    ]


async def _measure(url: str, folder: Path, plan: BenchPlan, deliveries: int) -> _Receiver:
    receiver = _Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with connect(url) as redis:
        registry = await open_registry(redis, folder)
        await registry.create(webhook_endpoint(f"http://127.0.0.1:{port}/"))
        stream = redis_keys.conversions(0).key
        for start in range(0, deliveries, _FRAME):
            frame = conversion_frame(start, min(deliveries, start + _FRAME))
            await call(redis, "XADD", stream, "*", "f", frame)
    variables = {
        "LINKJOLT_REDIS_URL": url,
        "LINKJOLT_DATA": str(folder),
        "LINKJOLT_WEBHOOK_ALLOW_PRIVATE": "1",
    }
    log = folder / "webhooks.log"
    with running_program(_COMMAND, plan.cores.worker, log, variables) as child:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while len(receiver.ids) < deliveries:
            if time.monotonic() > deadline or child.poll() is not None:
                raise BenchFailed(f"only {len(receiver.ids)} of {deliveries} webhooks arrived")
            await asyncio.sleep(0.05)
    server.close()
    await receiver.close()
    return receiver


async def open_registry(redis: Redis, data: Path) -> Registry:
    """Opens the registry with the key file of a data directory."""
    return Registry(redis, await open_sealer(SharedSettings(data=str(data)), redis))


def webhook_endpoint(url: str) -> Webhook:
    return Webhook(
        number=0,
        account=datasets.live_dataset(datasets.ACCOUNT_DEFAULT),
        url=url,
        events=("conversion.created",),
        secrets=(WebhookSecret(make_secret()),),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def conversion_frame(start: int, end: int) -> bytes:
    """Builds a frame of conversions as an edge publishes it."""
    now_ms = time.time_ns() // 1_000_000
    lines = [
        b'{"conversion_id":"conv_%026d","account":1,"event":"sale","time_ms":%d,"currency":"USD",'
        b'"order_value_minor":9999,"commission_minor":2999,"status":"pending",'
        b'"attribution":"tracking_code","order_id":"o%d","campaign":1,"affiliate":1,"link":1}'
        % (number, now_ms, number)
        for number in range(start, end)
    ]
    return b"\n".join(lines)
