"""Measures how fast the aggregator stores a full stream on one core.

`python -m loadtests.catch_up [--events 5000000]` fills a Redis-protocol server of its own with
frames as an edge makes them, then stores them into an embedded ClickHouse and its rollups. It
prints the CPU time of each stage and exits with 1 unless the rate is met and the audit is clean.
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
from aggregator.delivery.streams import FrameEntry, Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance.audit import audit, summarize
from aggregator.rollups.statements import PULLS, ROLLUPS
from aggregator.warehouse.migrate import migrate
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.datasets import Dataset
from linkjolt.events import Click
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import AggregatorSettings
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
    """Yields click lines: links by Zipf's law, agents, addresses and sub1 of a large site."""
    chance = random.Random(_SEED)
    agents = _agents(chance)
    links = chance.choices(
        range(1, _LINKS + 1), weights=[1 / rank for rank in range(1, _LINKS + 1)], k=100_000
    )
    ids = ClickIdGenerator(1, b"k" * 32)
    encode = msgspec.json.Encoder().encode
    for number in range(count):
        link = links[number % len(links)]
        visitor = chance.randrange(_VISITORS)
        yield encode(
            Click(
                click_id=ids.make(link),
                account=Dataset(1),
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
    """Appends frames to the first click stream and counts their events in its ledger."""
    stream = redis_keys.clicks(0)
    lines = _clicks(events)
    left = events
    while left:
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(_FRAMES_AT_ONCE):
                frame = [next(lines) for _ in range(min(_FRAME_CLICKS, left))]
                if frame:
                    pipe.xadd(stream.key, {"f": b"\n".join(frame)})
                    hour = time.time_ns() // 3_600_000_000_000
                    pipe.hincrby(stream.ledger_key, str(hour), len(frame))
                left -= len(frame)
            await pipe.execute()


class StageTimes:
    """CPU seconds of this process and its threads, by the stage that was awaited meanwhile.

    Stages run one at a time, except merges, which count where they run; only the rollup pulls
    run several statements at once within their stage.
    """

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._running_total = 0

    async def measure(self, stage: str, work: Awaitable[T]) -> T:
        self.seconds[stage] -= self._clock_if_alone(1)
        try:
            return await work
        finally:
            self.seconds[stage] += self._clock_if_alone(-1)

    def _clock_if_alone(self, change: int) -> float:
        """Reads the CPU clock at the first start and the last end, so that none counts twice."""
        alone = self._running_total == max(0, -change)
        self._running_total += change
        return time.process_time() if alone else 0.0


class TimedStreams(Streams):
    def __init__(self, redis: Redis, spent: StageTimes) -> None:
        super().__init__(redis)
        self._spent = spent

    async def read_batch(
        self, stream: redis_keys.Stream, after: int, until_ms: int, lines_max: int
    ) -> list[FrameEntry]:
        read = super().read_batch(stream, after, until_ms, lines_max)
        return await self._spent.measure("read", read)


class TimedClickHouse(ClickHouse):
    """A ClickHouse that times its statements; pulls of clicks count as one, as they overlap."""

    def __init__(self, engine: ClickHouse, spent: StageTimes) -> None:
        self.remote = engine.remote
        self.read, self.close = engine.read, engine.close
        self._engine = engine
        self._spent = spent

    async def execute(
        self, sql: str, parameters: Parameters | None = None, token: str = ""
    ) -> None:
        stage = "rollups" if sql in _PULLS else "other"
        await self._spent.measure(stage, self._engine.execute(sql, parameters, token))

    async def insert(
        self, table: str, columns: Sequence[str], *lines: bytes, token: str = ""
    ) -> None:
        await self._spent.measure(
            f"insert {table}", self._engine.insert(table, columns, *lines, token=token)
        )


async def drain(redis: Redis, engine: ClickHouse, spent: StageTimes) -> float:
    """Stores everything in the streams and returns the seconds it took."""
    settings = AggregatorSettings()
    aggregation = Aggregation(TimedStreams(redis, spent), engine, VisitorSalts(redis, 72), settings)
    await asyncio.sleep(settings.slice_ms / 1000)
    spent.seconds.clear()
    began, processor_began = time.perf_counter(), time.process_time()
    while (await aggregation.step()).more_waiting:
        pass
    # Also counts the days, which a later step would do.
    aggregation.forget()
    await aggregation.step()
    spent.seconds["all"] = time.process_time() - processor_began
    return time.perf_counter() - began


def print_stages(spent: StageTimes, events: int) -> None:
    """Prints microseconds of CPU per event and stage; `enrich` is the remainder.

    Merges run beside all stages and count where they fall.
    """
    all_seconds = spent.seconds.pop("all")
    click.echo(f"stored       {events / all_seconds:.0f} events in a second of processor time")
    spent.seconds["enrich"] = all_seconds - sum(spent.seconds.values())
    for stage, seconds in [*spent.seconds.items(), ("all", all_seconds)]:
        click.echo(f"processor    {seconds / events * 1e6:5.2f} us an event: {stage}")


async def measure(folder: Path, server: RedisServer, events: int) -> bool:
    """Prints the measurements; True if the rate is met and the audit is clean."""
    async with connect(server.url) as redis:
        await fill(redis, events)
        used = (await call(redis, "INFO", "memory"))["used_memory"]
        click.echo(f"waiting      {events} clicks, {used / events:.0f} bytes each in Redis")
        spent = StageTimes()
        engine = TimedClickHouse(clickhouse.embedded(str(folder / "clickhouse"), clients=2), spent)
        await migrate(engine, AggregatorSettings().minute_rollup_hours)
        seconds = await drain(redis, engine, spent)
        print_stages(spent, events)
        rate = events / seconds
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        click.echo(f"stored       {rate:.0f} events/s on one core, {resident:.0f} MiB at most")
        findings = await audit(redis, engine, 1)
        click.echo(f"audit        {'clean' if findings.clean else summarize(findings)}")
        await engine.close()
    return findings.clean and rate >= _TARGET_PER_SECOND


@click.command()
@click.option("--events", default=5_000_000, show_default=True)
def main(events: int) -> None:
    """Stores a stream full of clicks and prints the rate."""
    with tempfile.TemporaryDirectory() as data:
        folder = Path(data)
        server = RedisServer(folder / "redis", appendfsync="everysec", max_memory_bytes=8 << 30)
        child = server.start()
        try:
            server.wait_ready(child)
            if hasattr(os, "sched_setaffinity"):
                cores = sorted(os.sched_getaffinity(0))
                os.sched_setaffinity(child.pid, {cores[-1]})
                # The engine's threads inherit the affinity.
                os.sched_setaffinity(0, {cores[0]})
            passed = asyncio.run(measure(folder, server, events))
        finally:
            child.terminate()
            child.wait(20)
    click.echo("PASS" if passed else "FAIL")
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
