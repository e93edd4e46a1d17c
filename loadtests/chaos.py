"""Injects faults under load, then checks that everything acknowledged is stored once.

`python -m loadtests.chaos [--rounds 40] [--seed N]` starts an instance of its own, kills and
freezes its processes and loses replies of Redis while clicks and conversions arrive. It exits
with 1 unless nothing is missing, nothing is stored twice, and `linkjolt audit` is clean.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import click
import msgspec

from linkjolt.runtime.bound_children import bound
from linkjolt.storage.redis import connect
from loadtests import chaos_check
from loadtests.chaos_check import BeforeStop, PhaseResult
from loadtests.chaos_faults import Fault, FaultInjector, OwnRedis, plan_faults
from loadtests.chaos_instance import AuditOutput, Instance, RunFailed, wait_for
from loadtests.chaos_load import CLICK_LINE_BYTES, LoadSettings

_LINKS = 200
_SETTLE_SECONDS = 120
_AUDIT_TRIES = 20


class PhaseOptions(msgspec.Struct, frozen=True):
    """The settings of one phase; `faults` has one entry per round."""

    faults: list[Fault]
    lossy: bool
    seed: int
    edges: int
    clicks_per_second: float
    conversions_per_second: float


class _AnswerRates:
    """Measures the rate of acknowledged requests by the sizes of the load's output files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._started_at = self._read_at = time.monotonic()
        self._clicks = self._conversions = 0

    def _count(self) -> tuple[int, int]:
        clicks = (self._folder / "clicks.txt").stat().st_size // CLICK_LINE_BYTES
        return clicks, (self._folder / "conversions.jsonl").read_bytes().count(b"\n")

    def recent_rates(self) -> str:
        """Formats the rates since the previous call: `3100 clicks/s, 150 conversions/s`."""
        now = time.monotonic()
        seconds, self._read_at = now - self._read_at, now
        clicks, conversions = self._count()
        new_clicks, new_conversions = clicks - self._clicks, conversions - self._conversions
        self._clicks, self._conversions = clicks, conversions
        return f"{new_clicks / seconds:.0f} clicks/s, {new_conversions / seconds:.0f} conversions/s"

    def overall_rates(self) -> str:
        seconds = time.monotonic() - self._started_at
        clicks, conversions = self._count()
        return f"{clicks / seconds:.0f} clicks/s, {conversions / seconds:.0f} conversions/s"


async def run_phase(options: PhaseOptions, folder: Path) -> PhaseResult:
    """Runs one instance from its start to the final count, and ends everything it started."""
    own_redis = OwnRedis(folder / "own_redis", options.seed) if options.lossy else None
    try:
        if own_redis:
            await own_redis.ready()
        async with own_redis.proxy.running() if own_redis else nullcontext():
            variables = {"LINKJOLT_REDIS_URL": own_redis.proxy.url} if own_redis else {}
            instance = Instance(folder / "data", options.edges, variables)
            try:
                await instance.start()
                return await _run_rounds(options, folder, instance, own_redis)
            finally:
                instance.end()
    finally:
        if own_redis:
            own_redis.end()


async def _run_rounds(
    options: PhaseOptions, folder: Path, instance: Instance, own_redis: OwnRedis | None
) -> PhaseResult:
    faults = FaultInjector(instance, own_redis)
    codes = await instance.make_links(_LINKS)
    async with _running_load(options, folder, instance, codes):
        rates = _AnswerRates(folder)
        await asyncio.sleep(1)
        for number, fault in enumerate(options.faults, 1):
            await faults.inject(fault)
            await asyncio.sleep(fault.pause_seconds)
            click.echo(f"{number:3}  {fault!s:34} {rates.recent_rates()}")
        click.echo(f"     reached over all: {rates.overall_rates()}")
    if own_redis:
        click.echo(f"     replies of redis lost: {own_redis.proxy.lost}")
    return await count_events(instance, folder)


@asynccontextmanager
async def _running_load(
    options: PhaseOptions, folder: Path, instance: Instance, codes: list[str]
) -> AsyncGenerator[None]:
    """Runs the load in a process of its own for the duration of the block."""
    settings = LoadSettings(
        edge_url=instance.edge_url,
        key=instance.key,
        codes=codes,
        clicks_per_second=options.clicks_per_second,
        conversions_per_second=options.conversions_per_second,
        folder=str(folder),
        seed=options.seed,
    )
    path = folder / "orders.json"
    path.write_bytes(msgspec.json.encode(settings))
    for name in ("clicks.txt", "conversions.jsonl"):
        (folder / name).touch()
    load = _spawn_load(path)
    try:
        yield
        if load.poll() is not None:
            raise RunFailed(f"the load ended with {load.returncode}")
        load.send_signal(signal.SIGTERM)
        await asyncio.to_thread(load.wait, 60)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()


def _spawn_load(settings_path: Path) -> subprocess.Popen[bytes]:
    command = bound([sys.executable, "-P", "-m", "loadtests.chaos_load", str(settings_path)])
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, env=environ, start_new_session=True)


async def count_events(instance: Instance, folder: Path) -> PhaseResult:
    """Waits until everything is stored, audits and stops the instance, and compares.

    Raises RunFailed if the instance does not empty its spools or does not stop cleanly.
    """
    await wait_for("the spools are empty", lambda: instance.spooled() == 0, _SETTLE_SECONDS)
    audit: AuditOutput | None = None
    for _ in range(_AUDIT_TRIES):
        audit = await instance.audit()
        if audit and audit.waiting == 0:
            break
        await asyncio.sleep(1)
    async with connect(instance.redis_url) as redis:
        without_outcome = await chaos_check.find_without_outcome(
            redis, chaos_check.read_answers(folder)
        )
    last = BeforeStop(audit, await instance.shed(), without_outcome)
    status = await instance.stop()
    if status != 0:
        raise RunFailed(f"linkjolt up ended with {status}")
    return await chaos_check.compare(instance.data, folder, last, instance.spooled())


async def run(phases: list[PhaseOptions], folder: Path) -> bool:
    """Prints rounds and totals of each phase; True when every phase is clean."""
    clean = True
    for options in phases:
        name = "lost replies" if options.lossy else "kills and stops"
        phase_folder = folder / name.replace(" ", "_")
        click.echo(f"{name}: {len(options.faults)} rounds, seed {options.seed}")
        try:
            result = await run_phase(options, phase_folder)
        except RunFailed as error:
            click.echo(f"FAILED: {error}")
            return False
        click.echo("\n".join(["", *chaos_check.describe(result), ""]))
        clean = clean and result.clean
    click.echo("nothing missing, nothing doubled" if clean else "NOT CLEAN")
    return clean


def plan_phases(
    rounds: int, seed: int, edges: int, rates: tuple[float, float], pace: float = 1.0
) -> list[PhaseOptions]:
    """Plans three quarters of the rounds with kills and stops, the rest with lost replies."""
    lossy = rounds // 4
    return [
        PhaseOptions(
            plan_faults(count, seed + is_lossy, lossy=is_lossy, pace=pace),
            is_lossy,
            seed,
            edges,
            *rates,
        )
        for is_lossy, count in ((False, rounds - lossy), (True, lossy))
        if count
    ]


@click.command()
@click.option("--rounds", default=40, show_default=True)
@click.option("--seed", type=int, help="Repeats the same faults; random unless given.")
@click.option("--edges", default=1, show_default=True)
@click.option("--clicks-per-second", default=7_000.0, show_default=True)
@click.option("--conversions-per-second", default=260.0, show_default=True)
@click.option("--pace", default=1.0, show_default=True, help="Factor of the pauses between rounds.")
@click.option("--data", metavar="DIR", help="Kept afterwards; a temporary directory unless given.")
def main(
    rounds: int,
    seed: int | None,
    edges: int,
    clicks_per_second: float,
    conversions_per_second: float,
    pace: float,
    data: str | None,
) -> None:
    """Kills, freezes and disconnects a running instance under load, then counts its events."""
    seed = random.randrange(1 << 16) if seed is None else seed
    rates = (clicks_per_second, conversions_per_second)
    phases = plan_phases(rounds, seed, edges, rates, pace)
    data_folder = nullcontext(data) if data else tempfile.TemporaryDirectory(prefix="chaos-")
    with data_folder as folder, asyncio.Runner() as runner:
        clean = runner.run(run(phases, Path(folder).resolve()))
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
