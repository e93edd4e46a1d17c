"""Reads the resource usage of processes and Redis, and the cost of an event between readings."""

import time
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.runtime.instance import Pids
from linkjolt.storage.redis import call
from loadtests.bench.programs import cpu_seconds
from loadtests.scaling.point import Cost


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """CPU seconds of the processes and counters of Redis at an instant."""

    measured_at: float
    edge: float
    redis: float
    aggregator: float
    aggregator_main: float
    events: int
    frames: int
    received_bytes: int
    sent_bytes: int
    memory_bytes: int


async def read_usage(redis: Redis, pids: Pids, shards: int) -> Usage:
    redis_pid, warehouse_pid = pids.redis, pids.warehouse
    assert redis_pid is not None
    assert warehouse_pid is not None
    stats = await call(redis, "INFO", "stats")
    memory = await call(redis, "INFO", "memory")
    events = frames = 0
    for shard in range(shards):
        ledger: list[bytes] = await call(redis, "HVALS", redis_keys.clicks(shard).ledger_key)
        events += sum(map(int, ledger))
        frames += await _frames(redis, redis_keys.clicks(shard).key)
    return Usage(
        measured_at=time.monotonic(),
        edge=sum(cpu_seconds(pid) for pid in pids.edge),
        redis=cpu_seconds(redis_pid),
        aggregator=cpu_seconds(warehouse_pid),
        aggregator_main=cpu_seconds(warehouse_pid, main_thread=True),
        events=events,
        frames=frames,
        received_bytes=stats["total_net_input_bytes"],
        sent_bytes=stats["total_net_output_bytes"],
        memory_bytes=memory["used_memory"],
    )


async def _frames(redis: Redis, stream: str) -> int:
    if not await call(redis, "EXISTS", stream):
        return 0
    return (await call(redis, "XINFO", "STREAM", stream))[b"entries-added"]


def resident_mib(pid: int) -> float:
    """Reads the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def use_per_second(before: Usage, after: Usage, name: str) -> float:
    """Returns the growth of a figure per second; for CPU seconds it is a share of a core."""
    return (getattr(after, name) - getattr(before, name)) / (after.measured_at - before.measured_at)


def cost_of(
    idle: tuple[Usage, Usage], load: tuple[Usage, Usage], per_second: float, edge_mib: float
) -> Cost:
    """Divides the growth between two readings by its events, less the use of an idle instance."""
    before, after = load
    events = after.events - before.events
    seconds = after.measured_at - before.measured_at

    def per_event(name: str) -> float:
        used = getattr(after, name) - getattr(before, name)
        return max(0.0, used - seconds * use_per_second(*idle, name)) / events

    return Cost(
        per_second=per_second,
        edge_us=per_event("edge") * 1e6,
        redis_us=per_event("redis") * 1e6,
        aggregator_us=per_event("aggregator") * 1e6,
        aggregator_main_us=per_event("aggregator_main") * 1e6,
        aggregator_idle=use_per_second(*idle, "aggregator"),
        frame_events=events / (after.frames - before.frames),
        redis_in_bytes=(after.received_bytes - before.received_bytes) / events,
        redis_out_bytes=(after.sent_bytes - before.sent_bytes) / events,
        waiting_bytes=(after.memory_bytes - before.memory_bytes) / events,
        edge_mib=edge_mib,
    )
