"""Measures that endpoints which hang, refuse or ask to wait delay neither others nor themselves.

`python -m loadtests.webhook_fairness [--seconds 65]` runs the webhooks process on one core, with
Redis and the endpoints on the other. It prints the figures and exits with 1 unless all hold:
answers that hang hold back no others of their endpoint, and one endpoint is served beside three bad
ones as if alone.
"""

import asyncio
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import click
import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.sealed.start import open_sealer
from linkjolt.runtime import lifecycle
from linkjolt.settings import SharedSettings, load
from linkjolt.storage.redis import call, connect
from linkjolt.webhooks.queue import DeliveryQueue
from loadtests.bench.plan import BenchPlan, allowed_cores, pick_cores
from loadtests.bench.programs import pin, running_program
from loadtests.bench.streams import open_redis
from loadtests.bench.webhooks import conversion_frame, open_registry, webhook_endpoint
from outbound.app import WebhookDelivery
from outbound.resolver import Resolver

ORDERS = 200
HANGS_EACH = 16
PER_SECOND = 50
BUSY_MAX = 8
RATIO_MAX = 2.0
_LIMIT_SECONDS = 30.0
_LIMIT_LOOKS = 300
# The process has found its endpoints.
_SETTLING_SECONDS = 3.0
_HANGING_NAME = "hanging.example"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_BUSY = b"HTTP/1.1 429 Busy\r\nRetry-After: 60\r\nContent-Length: 0\r\n\r\n"


class _OrderData(msgspec.Struct):
    order_id: str


class _OrderBody(msgspec.Struct):
    data: _OrderData


_read_order = msgspec.json.Decoder(_OrderBody).decode


class Latencies(msgspec.Struct, frozen=True, kw_only=True):
    """The milliseconds from publishing to arrival, and the requests of the busy endpoint."""

    expected: int
    sorted_ms: list[float]
    busy_requests: int

    def quantile_ms(self, part: float) -> float:
        return self.sorted_ms[min(len(self.sorted_ms) - 1, int(len(self.sorted_ms) * part))]

    def describe(self) -> str:
        return (
            f"{len(self.sorted_ms)} of {self.expected} delivered,"
            f" p50 {self.quantile_ms(0.5):.1f} ms, p99 {self.quantile_ms(0.99):.1f} ms,"
            f" the slowest {self.sorted_ms[-1]:.1f} ms"
        )


class LocalEndpoints:
    """Endpoints by the first word of their path: `good`, `busy`, `some` (each 16th hangs).

    Records when each order arrived at each.
    """

    def __init__(self) -> None:
        self.port = 0
        self.arrived: defaultdict[str, dict[str, float]] = defaultdict(dict)
        self.requests: defaultdict[str, list[float]] = defaultdict(list)
        self._served: dict[asyncio.Task[None] | None, asyncio.StreamWriter] = {}

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        yield
        server.close()
        for writer in self._served.values():
            writer.transport.abort()
        await asyncio.gather(*(task for task in self._served if task))

    def url(self, name: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}/{name}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._served[asyncio.current_task()] = writer
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                name = head.split(b" ", 2)[1].decode().strip("/")
                fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
                body = await reader.readexactly(int(fields[b"content-length"]))
                self.requests[name].append(time.monotonic())
                if name == "some" and len(self.requests[name]) % HANGS_EACH == 0:
                    await reader.read()
                    return
                self.arrived[name].setdefault(_read_order(body).data.order_id, time.monotonic())
                writer.write(_BUSY if name == "busy" else _ANSWER)


async def publish(redis: Redis, start: int, end: int) -> None:
    await call(redis, "XADD", redis_keys.conversions(0).key, "*", "f", conversion_frame(start, end))


@contextmanager
def delivering(plan: BenchPlan, name: str) -> Generator[tuple[str, Path]]:
    """Runs the webhooks process; yields the URL of its own server, and its data directory."""
    folder = plan.folder / name
    with open_redis(folder / "redis", plan.cores.redis, "always") as (url, _):
        command = (sys.executable, "-P", "-m", "loadtests.webhook_fairness", "--deliver", url)
        variables = {"LINKJOLT_DATA": str(folder)}
        with running_program(command, plan.cores.worker, folder / "webhooks.log", variables):
            yield url, folder


def deliver(url: str) -> None:
    """Runs the webhooks process; one name hangs in its resolver, all others lead here."""

    def look_up(host: str) -> list[str]:
        if host == _HANGING_NAME:
            time.sleep(3_600)
        return ["127.0.0.1"]

    async def main(stop: asyncio.Event) -> None:
        settings = load(SharedSettings, overrides={"webhook_allow_private": True})
        async with connect(url) as redis:
            sealer = await open_sealer(settings, redis)
            await WebhookDelivery(redis, settings, sealer, resolver=Resolver(look_up)).run(stop)

    lifecycle.run(main)


async def measure_hanging(url: str, data: Path) -> bool:
    """Prints when the good answers had come, and when the first that hangs was given up."""
    endpoints = LocalEndpoints()
    async with endpoints.running(), connect(url) as redis:
        registry = await open_registry(redis, data)
        webhook = await registry.create(webhook_endpoint(endpoints.url("some")))
        began = time.monotonic()
        await publish(redis, 0, ORDERS)
        queue, given_up = DeliveryQueue(redis), _LIMIT_SECONDS
        while time.monotonic() - began < _LIMIT_SECONDS:
            found = await queue.read_newest(webhook.number, ORDERS)
            if any(attempt.error for delivery in found for attempt in delivery.tries):
                given_up = time.monotonic() - began
                break
            await asyncio.sleep(0.1)
    good = ORDERS - ORDERS // HANGS_EACH
    arrived = sorted(at - began for at in endpoints.arrived["some"].values())
    before = [seconds for seconds in arrived if seconds < given_up]
    click.echo(f"each {HANGS_EACH}th of {ORDERS} answers hangs")
    click.echo(f"  answered       {len(before)} of {good}, the last after {before[-1]:.2f} s")
    click.echo(f"  given up       the first that hangs after {given_up:.2f} s")
    return len(before) == good


async def measure_good(url: str, data: Path, seconds: int, bad: Sequence[str]) -> Latencies:
    """Measures a good endpoint at a steady rate, beside bad ones that get the same events."""
    endpoints, published = LocalEndpoints(), dict[str, float]()
    async with endpoints.running(), connect(url) as redis:
        bad_urls = {
            "hanging": endpoints.url("hanging", _HANGING_NAME),
            "dead": "http://127.0.0.1:1/",
            "busy": endpoints.url("busy"),
        }
        registry = await open_registry(redis, data)
        for one in (endpoints.url("good"), *(bad_urls[name] for name in bad)):
            await registry.create(webhook_endpoint(one))
        await asyncio.sleep(_SETTLING_SECONDS)
        began, arrived = time.monotonic(), endpoints.arrived["good"]
        for number in range(seconds * PER_SECOND):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.monotonic()))
            published[f"o{number}"] = time.monotonic()
            await publish(redis, number, number + 1)
        for _ in range(_LIMIT_LOOKS):
            if len(arrived) == len(published):
                break
            await asyncio.sleep(0.1)
    busy = endpoints.requests["busy"]
    seconds_of = [arrived[name] - at for name, at in published.items() if name in arrived]
    return Latencies(
        expected=len(published),
        sorted_ms=sorted(one * 1000 for one in seconds_of),
        busy_requests=sum(at < busy[0] + 60 for at in busy),
    )


def measure(plan: BenchPlan, seconds: int) -> bool:
    """Prints all figures; returns whether they are within their bounds."""
    with delivering(plan, "hanging") as at:
        is_independent = asyncio.run(measure_hanging(*at))
    click.echo(f"an endpoint of {PER_SECOND} events a second for {seconds} s")
    with delivering(plan, "alone") as at:
        alone = asyncio.run(measure_good(*at, seconds, ()))
    click.echo(f"  alone          {alone.describe()}")
    with delivering(plan, "beside") as at:
        beside = asyncio.run(measure_good(*at, seconds, ("hanging", "dead", "busy")))
    click.echo(f"  beside 3 bad   {beside.describe()}")
    ratio = beside.quantile_ms(0.99) / alone.quantile_ms(0.99)
    click.echo(f"  p99            {ratio:.2f} times that of the one alone ({RATIO_MAX:g} allowed)")
    click.echo(f"  the one of 429 {beside.busy_requests} requests in a minute ({BUSY_MAX} allowed)")
    complete = all(len(one.sorted_ms) == one.expected for one in (alone, beside))
    is_fair = complete and ratio <= RATIO_MAX and 1 <= beside.busy_requests <= BUSY_MAX
    return is_independent and is_fair


@click.command()
@click.option("--seconds", default=65, show_default=True, type=click.IntRange(5), help="Of a run.")
@click.option("--deliver", "url", hidden=True, help="Runs the webhooks process on this Redis.")
def main(seconds: int, url: str | None) -> None:
    """Measures how little endpoints that fail delay others."""
    if url is not None:
        deliver(url)
        return
    with tempfile.TemporaryDirectory(prefix="fairness-", dir="/var/tmp") as name:
        plan = BenchPlan(folder=Path(name), cores=pick_cores(allowed_cores()))
        pin(os.getpid(), plan.cores.load)
        passed = measure(plan, seconds)
    click.echo("PASS" if passed else "FAIL")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
