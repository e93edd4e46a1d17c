"""Benches the Redis memory of clicks that wait for the aggregator: under load, at a trickle."""

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec

from linkjolt import redis_keys
from linkjolt.storage.redis import call, connect
from loadtests.bench import budgets, traffic
from loadtests.bench.loads import saturating_clicks, steady_clicks
from loadtests.bench.peers.linkjolt_peer import EDGE, send_request
from loadtests.bench.peers.peer import ServedPeer, TurnEnvironment
from loadtests.bench.plan import BenchFailed, BenchPlan
from loadtests.bench.rows import BenchRow, judge
from loadtests.bench.streams import count_events, open_redis
from loadtests.bench.turn import LoadResult, event_problem

# Slow enough for one click at a time, and enough clicks to outweigh Redis's fixed costs.
_TRICKLE_PER_SECOND = 100.0
_TRICKLE_SECONDS = 30
_READINGS = 20
_LOOK_SECONDS = 0.1


class RedisMemory(msgspec.Struct, frozen=True):
    """Bytes of an idle Redis, the stream's share of them, and the stream's entries and events."""

    used_bytes: int
    stream_bytes: int
    entries: int
    events: int


async def read_memory(url: str) -> RedisMemory:
    """Reads the memory; takes the least of two seconds, as connection buffers come and go."""
    key = redis_keys.clicks(0).key
    async with connect(url) as redis:
        used: list[int] = []
        for _ in range(_READINGS):
            used.append((await call(redis, "INFO", "memory"))["used_memory"])
            await asyncio.sleep(_LOOK_SECONDS)
        stream: int | None = await call(redis, "MEMORY", "USAGE", key, "SAMPLES", "0")
        entries: int = await call(redis, "XLEN", key)
    return RedisMemory(min(used), stream or 0, entries, await count_events(url, key, 0))


def measure_memory(plan: BenchPlan) -> list[BenchRow]:
    """Measures memory per click for a busy edge, whose frames hold many, and for an idle one."""
    trickle = msgspec.structs.replace(plan, seconds=max(plan.seconds, _TRICKLE_SECONDS))
    steady = partial(steady_clicks, per_second=_TRICKLE_PER_SECOND)
    return [
        measure_waiting(plan, "as fast as the edge takes them", saturating_clicks),
        measure_waiting(trickle, f"at {_TRICKLE_PER_SECOND:g}/s", steady),
    ]


def measure_waiting(
    plan: BenchPlan, rate: str, load: Callable[[BenchPlan, ServedPeer], LoadResult]
) -> BenchRow:
    """Measures the memory of one load's clicks, without an aggregator."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=plan.folder)))
        url, _ = stack.enter_context(open_redis(folder / "redis", plan.cores.redis, "always"))
        serving = stack.enter_context(EDGE.serve(TurnEnvironment(folder, url, plan.cores)))
        for code in traffic.CODES:
            send_request(serving.port, f"/{code}", headers=traffic.HEADERS)
        before = asyncio.run(read_memory(url))
        result = load(plan, serving)
        expected = before.events + result.answered
        events = asyncio.run(count_events(url, redis_keys.clicks(0).key, expected)) - before.events
        after = asyncio.run(read_memory(url))
    problem = event_problem(result.answered, events, result.cut_off)
    problems = (*result.problems, *([problem] if problem else []))
    return memory_row(rate, before, after, problems)


def memory_row(
    rate: str, before: RedisMemory, after: RedisMemory, problems: Sequence[str]
) -> BenchRow:
    """Divides the growth between two readings by the events between them."""
    events = after.events - before.events
    if events <= 0:
        raise BenchFailed("no click reached the stream")
    figure = (after.used_bytes - before.used_bytes) / events
    stream = (after.stream_bytes - before.stream_bytes) / events
    frames = after.entries - before.entries
    return BenchRow(
        name=f"Redis memory for each waiting click, clicks {rate}",
        target=str(budgets.WAITING_CLICK),
        figure=f"{figure:.0f} bytes",
        verdict=judge(budgets.WAITING_CLICK.allows(figure), problems),
        detail=(
            f"{events:,} clicks in {frames:,} entries of the stream, {events / frames:.1f} each",
            f"of the {figure:.0f} bytes of used_memory {stream:.0f} are the stream's own",
            *problems,
        ),
    )
