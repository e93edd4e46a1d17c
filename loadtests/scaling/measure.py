"""Measures points on an instance of each size, with wrk as fast as it is answered."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import click
import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.settings import EdgeSettings
from linkjolt.storage.redis import call, connect
from loadtests.bench import traffic, wrk
from loadtests.bench.openloop import answer_bytes
from loadtests.bench.streams import disable_rewrites
from loadtests.bench.turn import event_problem
from loadtests.chaos_instance import Instance, RunFailed, wait_for
from loadtests.scaling import links
from loadtests.scaling.point import (
    ClickBytes,
    Cost,
    InstanceCosts,
    InstanceSize,
    Point,
    median_cost,
)
from loadtests.scaling.usage import Usage, cost_of, read_usage, resident_mib

_CLICKS_SCRIPT = Path(__file__).with_name("clicks.lua")
_MEMORY_BYTES = str(8 << 30)
_IDLE_SECONDS = 4.0
# Edges and the aggregator also read a million new links before they are idle.
_REST_SECONDS = 300
_STORED_SECONDS = 300
_WARM_UP_SECONDS = 2
_WARM_UPS_MAX = 60
# Few, because a first click reads the registry.
_WARM_UP_CONNECTIONS = 64
# No process uses more when idle: empty slices cost the aggregator about 5 %.
_RESTING_SHARE_MAX = 0.15


class ScalingSettings(msgspec.Struct, frozen=True):
    """Seconds of one measurement, measurements of a point, and wrk's core."""

    folder: Path
    seconds: int
    rounds: int
    core: int


async def measure(
    settings: ScalingSettings, size: InstanceSize, points: Sequence[Point]
) -> InstanceCosts:
    """Measures the median of each point's rounds on one instance; fails if events are lost."""
    folder = settings.folder / f"{size.edges}-{size.links}-{size.shards}"
    variables = {
        "LINKJOLT_SHARDS": str(size.shards),
        "LINKJOLT_REDIS_MAX_MEMORY_BYTES": _MEMORY_BYTES,
        # On a busy machine clicks would go to the spool and arrive late.
        "LINKJOLT_REDIS_TIMEOUT_SECONDS": "10",
        # So that nothing is trimmed in mid-measurement.
        "LINKJOLT_STREAM_MEMORY_MAX_BYTES": _MEMORY_BYTES,
    }
    instance = Instance(folder, size.edges, variables)
    try:
        await instance.start()
        await disable_rewrites(instance.redis_url)
        made = await links.create_links(instance, size.links)
        async with connect(instance.redis_url, timeout_seconds=30) as redis:
            run = _InstanceRun(settings, instance, redis, size)
            await run.wait_for_rest()
            await run.warm_up()
            wire = await run.click_bytes()
            costs = {point: await run.measure_point(point) for point in points}
        if await instance.stop() != 0:
            raise RunFailed(f"linkjolt up ended badly: see {instance.log}")
        return InstanceCosts(costs, wire, made)
    finally:
        instance.end()


class _InstanceRun:
    """One instance and the loads that are measured on it."""

    def __init__(
        self, settings: ScalingSettings, instance: Instance, redis: Redis, size: InstanceSize
    ) -> None:
        self._settings = settings
        self._instance = instance
        self._redis = redis
        self._size = size
        self._codes = settings.folder / "codes.txt"

    async def read_usage(self) -> Usage:
        return await read_usage(self._redis, self._instance.pids(), self._size.shards)

    async def wait_for_rest(self) -> tuple[Usage, Usage]:
        """Waits until the instance is idle; returns two readings of an idle interval."""
        for _ in range(int(_REST_SECONDS / _IDLE_SECONDS)):
            before = await self.read_usage()
            await asyncio.sleep(_IDLE_SECONDS)
            after = await self.read_usage()
            spent = [
                after.edge - before.edge,
                after.redis - before.redis,
                after.aggregator - before.aggregator,
            ]
            if max(spent) < _RESTING_SHARE_MAX * (after.measured_at - before.measured_at):
                return before, after
        raise RunFailed(f"the instance is not idle within {_REST_SECONDS} s")

    async def warm_up(self) -> None:
        """Clicks each link once, the most popular first, up to the size of an edge's cache."""
        links_total = min(self._size.links, EdgeSettings().links_cached)
        codes = [links.code_of(number) for number in range(1, links_total + 1)]
        for _ in range(_WARM_UPS_MAX):
            answered = (await self._wrk(codes, _WARM_UP_SECONDS, _WARM_UP_CONNECTIONS)).answered
            codes = codes[answered:]
            if not codes:
                return
        click.echo(f"  {len(codes):,} links were not clicked before: their first click is measured")

    async def _wrk(self, codes: Sequence[str], seconds: int, connections: int) -> wrk.WrkSummary:
        links.write_codes(self._codes, codes)
        port = urlsplit(self._instance.edge_url).port or 0
        arguments = (_CLICKS_SCRIPT, [str(self._codes)], connections)
        return await asyncio.to_thread(wrk.run, port, seconds, self._settings.core, *arguments)

    async def click_bytes(self) -> ClickBytes:
        """Sends one click as wrk does and counts its bytes."""
        host, _, port = self._instance.edge_url.partition("//")[2].partition(":")
        code = links.code_of(1)
        request = traffic.raw_requests(int(port))[0].replace(
            traffic.CODES[0].encode(), code.encode()
        )
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        received = b""
        while (size := answer_bytes(received)) is None:
            if not (more := await reader.read(65_536)):
                raise RunFailed("the edge hung up")
            received += more
        writer.close()
        await writer.wait_closed()
        return ClickBytes(len(request), size)

    async def measure_point(self, point: Point) -> Cost:
        rounds = range(1, self._settings.rounds + 1)
        return median_cost([await self._measure(point, number) for number in rounds])

    async def _measure(self, point: Point, number: int) -> Cost:
        codes = links.choose_codes(point.size.links, point.spread, number)
        await self.wait_until_stored()
        idle = await self.wait_for_rest()
        before = await self.read_usage()
        summary = await self._wrk(codes, self._settings.seconds, point.connections)
        await self.wait_until_stored()
        after = await self.read_usage()
        problem = event_problem(summary.answered, after.events - before.events, point.connections)
        if problems := [*summary.problems(), *([problem] if problem else [])]:
            raise RunFailed("; ".join(problems))
        mib = max(resident_mib(pid) for pid in self._instance.pids().edge)
        return cost_of(idle, (before, after), summary.per_second, mib)

    async def wait_until_stored(self) -> None:
        """Returns once everything accepted before is in ClickHouse and its rollups."""
        empty = self._instance.spooled
        await wait_for("the spools are empty", lambda: empty() == 0, _STORED_SECONDS)
        seconds, _ = await call(self._redis, "TIME")
        numbers = {stream.number for stream in redis_keys.streams(self._size.shards)}

        async def stored() -> bool:
            progress: dict[bytes, bytes] = await call(self._redis, "HGETALL", redis_keys.PROGRESS)
            until = {int(number): int(ms) for number, ms in progress.items()}
            return all(until.get(number, 0) > (seconds + 1) * 1_000 for number in numbers)

        await wait_for("all is stored", stored, _STORED_SECONDS)
