"""Takes a turn: a new Redis-protocol server, one peer alone on its core, load, and a count."""

import asyncio
import resource
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from loadtests.bench.peers.peer import Peer, ServedPeer, TurnEnvironment
from loadtests.bench.plan import BenchPlan, Cores
from loadtests.bench.programs import core_seconds, cpu_seconds
from loadtests.bench.streams import count_events, open_redis

# On an otherwise idle machine it is 0 to 5 %: the kernel writing to the disk.
_OTHERS_MAX = 0.2


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a load; `cut_off` requests may have been executed without an answer."""

    figure: float
    summary: str
    answered: int
    cut_off: int
    problems: tuple[str, ...] = ()


class Turn(msgspec.Struct, frozen=True):
    """A peer's figure, a line that describes it, and its problems."""

    peer: str
    figure: float
    summary: str
    problems: tuple[str, ...]


class CpuUsage(msgspec.Struct, frozen=True):
    """CPU seconds so far: of the peer, Redis, the load, and the cores.

    `disk_wait` is the time in which a core only waited for the disk.
    """

    measured_at: float
    worker: float
    redis: float
    load: float
    cores: float
    disk_wait: float


def read_cpu_usage(worker_pid: int, redis_pid: int, cores: Cores) -> CpuUsage:
    spent = [core_seconds(core) for core in {cores.worker, cores.load, cores.redis}]
    load = resource.getrusage(resource.RUSAGE_CHILDREN)
    return CpuUsage(
        measured_at=time.monotonic(),
        worker=cpu_seconds(worker_pid),
        redis=cpu_seconds(redis_pid),
        load=load.ru_utime + load.ru_stime,
        cores=sum(used for used, _ in spent),
        disk_wait=sum(disk for _, disk in spent),
    )


def describe_shares(before: CpuUsage, after: CpuUsage) -> str:
    """Formats the shares of a core used between two readings; others are all other programs.

    `disk` is the share in which a core only waited for the disk.
    """
    seconds = after.measured_at - before.measured_at
    worker, redis, load, cores, disk = (
        (getattr(after, name) - getattr(before, name)) / seconds
        for name in ("worker", "redis", "load", "cores", "disk_wait")
    )
    others = max(0.0, cores - worker - redis - load)
    used = f"worker {worker:.0%}, redis {redis:.0%}, load {load:.0%}, others {others:.0%} of a core"
    shown = f"{used}, disk {disk:.0%}"
    return f"{shown}: DISTURBED" if others > _OTHERS_MAX else shown


def event_problem(answered: int, events: int, cut_off: int) -> str | None:
    """Reports answered requests without an event, or more events than requests."""
    if events < answered:
        return f"DISQUALIFIED: {answered - events:,} of {answered:,} answered left no event"
    if events > answered + cut_off:
        return f"DISQUALIFIED: {events:,} events for {answered:,} answers"
    return None


def take_turn(
    plan: BenchPlan,
    peer: Peer,
    appendfsync: str,
    load: Callable[[BenchPlan, ServedPeer], LoadResult],
) -> Turn:
    """Serves a peer, loads it and counts its events; fails if the peer does not answer."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=plan.folder)))
        redis = open_redis(folder / "redis", plan.cores.redis, appendfsync)
        url, redis_pid = stack.enter_context(redis)
        serving = stack.enter_context(peer.serve(TurnEnvironment(folder, url, plan.cores)))
        before = read_cpu_usage(serving.pid, redis_pid, plan.cores)
        result = load(plan, serving)
        after = read_cpu_usage(serving.pid, redis_pid, plan.cores)
        problems = [*result.problems, *_check_events(peer, url, result)]
    turn = Turn(
        peer.name,
        result.figure,
        f"{result.summary} ({describe_shares(before, after)})",
        tuple(problems),
    )
    click.echo("\n".join([f"  {turn.peer:12} {turn.summary}", *(f"    {p}" for p in problems)]))
    return turn


def _check_events(peer: Peer, url: str, result: LoadResult) -> list[str]:
    if not peer.stream:
        return []
    events = asyncio.run(count_events(url, peer.stream, result.answered))
    problem = event_problem(result.answered, events, result.cut_off)
    return [problem] if problem else []
