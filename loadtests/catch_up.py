"""Catching up: how fast the aggregator stores what waits in the stream, on one core.

`python -m loadtests.catch_up [--events 5000000]` fills a Redis-protocol server of its own with
frames as an edge makes them, then stores them into an embedded ClickHouse and its rollups, tells
what each stage costs in processor time, and ends with status 1 unless the audit is clean.
"""

import asyncio
import os
import random
import resource
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from redis.asyncio import Redis

from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Entry, Streams
from aggregator.delivery.visitor_salts import Salts
from aggregator.maintenance.audit import audit, summary
from aggregator.rollups.statements import PULLS, ROLLUPS
from aggregator.warehouse.migrate import migrate
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIds
from linkjolt.events import Click
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import Aggregator
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse, Parameters
from linkjolt.storage.redis import call, connect

_FRAME_CLICKS = 200
_FRAMES_AT_ONCE = 50
_LINKS = 10_000
_AGENTS = 2_000
_VISITORS = 200_000
_TARGET_PER_SECOND = 100_000
_SEED = 7
_PULLS = {PULLS[rollup.table, "clicks"] for rollup in ROLLUPS}
T = TypeVar("T")


def _agents(chance: random.Random) -> list[str]:
    systems = (
        "Windows NT 10.0; Win64; x64",
        "X11; Linux x86_64",
        "Macintosh; Intel Mac OS X 10.15",
    )
    return [
        f"Mozilla/5.0 ({chance.choice(systems)}; rv:{version}.0) Gecko/20100101"
        f" Firefox/{version}.{minor}"
        for version in range(100, 100 + _AGENTS // 20)
        for minor in range(20)
    ]


def _clicks(count: int) -> Iterator[bytes]:
    """Lines of clicks: links by Zipf's law, known agents, addresses and sub1 of a big site."""
    chance = random.Random(_SEED)
    agents = _agents(chance)
    links = chance.choices(
        range(1, _LINKS + 1), weights=[1 / rank for rank in range(1, _LINKS + 1)], k=100_000
    )
    ids = ClickIds(1, b"k" * 32)
    encode = msgspec.json.Encoder().encode
    for number in range(count):
        link = links[number % len(links)]
        visitor = chance.randrange(_VISITORS)
        yield encode(
            Click(
                click_id=ids.make(link),
                account=1,
                link=link,
                campaign=link % 50 + 1,
                affiliate=link % 500 + 1,
                ip=f"10.{visitor >> 16 & 255}.{visitor >> 8 & 255}.{visitor & 255}",
                user_agent=agents[visitor % len(agents)],
                referrer=f"https://blog{visitor % 50}.example.com/post",
                language="en-us",
                country="DE" if visitor % 3 else "US",
                sub1=f"ad{visitor % 20}",
            )
        )


async def fill(redis: Redis, events: int) -> None:
    """Appends frames to the first click stream, and counts them in its ledger."""
    stream = redis_keys.clicks(0)
    lines = _clicks(events)
    left = events
    while left:
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(_FRAMES_AT_ONCE):
                some = [next(lines) for _ in range(min(_FRAME_CLICKS, left))]
                if some:
                    pipe.xadd(stream.key, {"f": b"\n".join(some)})
                    hour = time.time_ns() // 3_600_000_000_000
                    pipe.hincrby(stream.ledger, str(hour), len(some))
                left -= len(some)
            await pipe.execute()


class Spent:
    """Processor seconds of this process, of all its threads, by what it waited for meanwhile.

    One stage is done at a time, but for merges, which count where they run; of one stage, the pulls
    of rollups, several things may be.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._under_way = 0

    async def on(self, stage: str, work: Awaitable[T]) -> T:
        self.seconds[stage] -= self._at_edge(1)
        try:
            return await work
        finally:
            self.seconds[stage] += self._at_edge(-1)

    def _at_edge(self, more: int) -> float:
        """The clock where the first begins or the last ends, so that none counts twice."""
        alone = self._under_way == max(0, -more)
        self._under_way += more
        return time.process_time() if alone else 0.0


class SpentStreams(Streams):
    def __init__(self, redis: Redis, spent: Spent) -> None:
        super().__init__(redis)
        self._spent = spent

    async def read_batch(
        self, stream: redis_keys.Stream, after: int, until_ms: int, lines_max: int
    ) -> list[Entry]:
        read = super().read_batch(stream, after, until_ms, lines_max)
        return await self._spent.on("read", read)


class SpentEngine(ClickHouse):
    """An engine; pulls of clicks count as one, for they are done side by side."""

    def __init__(self, engine: ClickHouse, spent: Spent) -> None:
        self.remote = engine.remote
        self.read, self.close = engine.read, engine.close
        self._engine = engine
        self._spent = spent

    async def execute(
        self, sql: str, parameters: Parameters | None = None, token: str = ""
    ) -> None:
        stage = "rollups" if sql in _PULLS else "other"
        await self._spent.on(stage, self._engine.execute(sql, parameters, token))

    async def insert(
        self, table: str, columns: Sequence[str], *lines: bytes, token: str = ""
    ) -> None:
        await self._spent.on(
            f"insert {table}", self._engine.insert(table, columns, *lines, token=token)
        )


async def drain(redis: Redis, engine: ClickHouse, spent: Spent) -> float:
    """Stores all that waits; the seconds it took."""
    settings = Aggregator()
    aggregation = Aggregation(SpentStreams(redis, spent), engine, Salts(redis, 72), settings)
    await asyncio.sleep(settings.slice_ms / 1000)
    spent.seconds.clear()
    began, processor_began = time.perf_counter(), time.process_time()
    while (await aggregation.step()).behind:
        pass
    # Days, too, which follow later.
    aggregation.forget()
    await aggregation.step()
    spent.seconds["all"] = time.process_time() - processor_began
    return time.perf_counter() - began


def tell(spent: Spent, events: int) -> None:
    """A line a stage, in microseconds of processor an event; `enrich` is what no other holds.

    Merges run beside all of them, and count where they fall.
    """
    everything = spent.seconds.pop("all")
    click.echo(f"stored       {events / everything:.0f} events in a second of processor time")
    spent.seconds["enrich"] = everything - sum(spent.seconds.values())
    for stage, seconds in [*spent.seconds.items(), ("all", everything)]:
        click.echo(f"processor    {seconds / events * 1e6:5.2f} us an event: {stage}")


async def measure(folder: Path, server: RedisServer, events: int) -> bool:
    """Prints what was seen; True where it was fast enough and the audit is clean."""
    async with connect(server.url) as redis:
        await fill(redis, events)
        used = (await call(redis, "INFO", "memory"))["used_memory"]
        click.echo(f"waiting      {events} clicks, {used / events:.0f} bytes each in Redis")
        spent = Spent()
        engine = SpentEngine(clickhouse.embedded(str(folder / "clickhouse"), clients=2), spent)
        await migrate(engine, Aggregator().minute_rollup_hours)
        seconds = await drain(redis, engine, spent)
        tell(spent, events)
        rate = events / seconds
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"stored       {rate:.0f} events/s on one core, {resident:.0f} MiB at most")
        found = await audit(redis, engine, 1)
        click.echo(f"audit        {'clean' if found.clean else summary(found)}")
        await engine.close()
    return found.clean and rate >= _TARGET_PER_SECOND


@click.command()
@click.option("--events", default=5_000_000, show_default=True)
def main(events: int) -> None:
    """Stores a stream full of clicks, and tells how fast."""
    with tempfile.TemporaryDirectory() as data:
        folder = Path(data)
        server = RedisServer(folder / "redis", appendfsync="everysec", max_memory_bytes=8 << 30)
        child = server.start()
        try:
            server.wait_ready(child)
            if hasattr(os, "sched_setaffinity"):
                cores = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(child.pid, {cores[-1]})
                # The engine's threads inherit it.
                os.sched_setaffinity(0, {cores[0]})
            kept = asyncio.run(measure(folder, server, events))
        finally:
            child.terminate()
            child.wait(20)
    click.echo("PASS" if kept else "FAIL")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
