"""Faults under load, and a count afterwards: everything acknowledged is stored once.

`python -m loadtests.chaos [--rounds 40] [--seed N]` starts an instance of its own, kills and
freezes its processes and loses replies of Redis while clicks and conversions come in, and exits
with 1 unless nothing is missing, nothing is there twice, and `linkjolt audit` is clean.
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
from loadtests.chaos_check import Found, Last
from loadtests.chaos_faults import Fault, Faults, OwnRedis, plan
from loadtests.chaos_instance import Audit, Failed, Instance, wait_for
from loadtests.chaos_load import CLICK_LINE_BYTES, Orders

_LINKS = 200
_SETTLE_SECONDS = 120
_AUDIT_TRIES = 20


class Options(msgspec.Struct, frozen=True):
    """What one phase is run with; `faults` are its rounds."""

    faults: list[Fault]
    lossy: bool
    seed: int
    edges: int
    clicks_per_second: float
    conversions_per_second: float


class _Acknowledged:
    """How fast answers come, from the sizes of what the load writes down."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._began_at = self._looked_at = time.monotonic()
        self._clicks = self._conversions = 0

    def _look(self) -> tuple[int, int]:
        clicks = (self._folder / "clicks.txt").stat().st_size // CLICK_LINE_BYTES
        return clicks, (self._folder / "conversions.jsonl").read_bytes().count(b"\n")

    def since_last(self) -> str:
        """`3100 clicks/s, 150 conversions/s`, of the time since the last look."""
        now = time.monotonic()
        seconds, self._looked_at = now - self._looked_at, now
        clicks, conversions = self._look()
        made, posted = clicks - self._clicks, conversions - self._conversions
        self._clicks, self._conversions = clicks, conversions
        return f"{made / seconds:.0f} clicks/s, {posted / seconds:.0f} conversions/s"

    def over_all(self) -> str:
        seconds = time.monotonic() - self._began_at
        clicks, conversions = self._look()
        return f"{clicks / seconds:.0f} clicks/s, {conversions / seconds:.0f} conversions/s"


async def phase(options: Options, folder: Path) -> Found:
    """One instance from its start to the count; everything that was started is ended."""
    own_redis = OwnRedis(folder / "own_redis", options.seed) if options.lossy else None
    try:
        if own_redis:
            await own_redis.ready()
        async with own_redis.proxy.running() if own_redis else nullcontext():
            variables = {"LINKJOLT_REDIS_URL": own_redis.proxy.url} if own_redis else {}
            instance = Instance(folder / "data", options.edges, variables)
            try:
                await instance.start()
                return await _rounds(options, folder, instance, own_redis)
            finally:
                instance.end()
    finally:
        if own_redis:
            own_redis.end()


async def _rounds(
    options: Options, folder: Path, instance: Instance, own_redis: OwnRedis | None
) -> Found:
    faults = Faults(instance, own_redis)
    codes = await instance.make_links(_LINKS)
    async with _load(options, folder, instance, codes):
        reached = _Acknowledged(folder)
        await asyncio.sleep(1)
        for number, fault in enumerate(options.faults, 1):
            await faults.do(fault)
            await asyncio.sleep(fault.pause_seconds)
            click.echo(f"{number:3}  {fault!s:34} {reached.since_last()}")
        click.echo(f"     reached over all: {reached.over_all()}")
    if own_redis:
        click.echo(f"     replies of redis lost: {own_redis.proxy.lost}")
    return await count(instance, folder)


@asynccontextmanager
async def _load(
    options: Options, folder: Path, instance: Instance, codes: list[str]
) -> AsyncGenerator[None]:
    """A process that sends, from the first to the last line of the block."""
    orders = Orders(
        edge_url=instance.edge_url,
        key=instance.key,
        codes=codes,
        clicks_per_second=options.clicks_per_second,
        conversions_per_second=options.conversions_per_second,
        folder=str(folder),
        seed=options.seed,
    )
    path = folder / "orders.json"
    path.write_bytes(msgspec.json.encode(orders))
    for name in ("clicks.txt", "conversions.jsonl"):
        (folder / name).touch()
    load = _spawn_load(path)
    try:
        yield
        if load.poll() is not None:
            raise Failed(f"the load ended with {load.returncode}")
        load.send_signal(signal.SIGTERM)
        await asyncio.to_thread(load.wait, 60)
    finally:
        if load.poll() is None:
            load.kill()
            load.wait()


def _spawn_load(orders: Path) -> subprocess.Popen[bytes]:
    command = bound([sys.executable, "-P", "-m", "loadtests.chaos_load", str(orders)])
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.Popen(command, env=environ, start_new_session=True)


async def count(instance: Instance, folder: Path) -> Found:
    """Waits until all is stored, audits and stops the instance, and compares; Failed if it
    does not end well."""
    await wait_for("the spools are empty", lambda: instance.spooled() == 0, _SETTLE_SECONDS)
    audit: Audit | None = None
    for _ in range(_AUDIT_TRIES):
        audit = await instance.audit()
        if audit and audit.waiting == 0:
            break
        await asyncio.sleep(1)
    async with connect(instance.redis_url) as redis:
        untold = await chaos_check.untold(redis, chaos_check.answers_in(folder))
    last = Last(audit, await instance.shed(), untold)
    status = await instance.stop()
    if status != 0:
        raise Failed(f"linkjolt up ended with {status}")
    return await chaos_check.compare(instance.data, folder, last, instance.spooled())


async def run(phases: list[Options], folder: Path) -> bool:
    """Prints rounds and totals of each phase; True when all is as it should be."""
    clean = True
    for options in phases:
        name = "lost replies" if options.lossy else "kills and stops"
        at = folder / name.replace(" ", "_")
        click.echo(f"{name}: {len(options.faults)} rounds, seed {options.seed}")
        try:
            found = await phase(options, at)
        except Failed as error:
            click.echo(f"FAILED: {error}")
            return False
        click.echo("\n".join(["", *chaos_check.lines(found), ""]))
        clean = clean and found.clean
    click.echo("nothing missing, nothing doubled" if clean else "NOT CLEAN")
    return clean


def phases_of(
    rounds: int, seed: int, edges: int, rates: tuple[float, float], pace: float = 1.0
) -> list[Options]:
    """Three quarters of the rounds with the instance's own Redis, the rest with lost replies."""
    lossy = rounds // 4
    return [
        Options(
            plan(count, seed + is_lossy, lossy=is_lossy, pace=pace), is_lossy, seed, edges, *rates
        )
        for is_lossy, count in ((False, rounds - lossy), (True, lossy))
        if count
    ]


@click.command()
@click.option("--rounds", default=40, show_default=True)
@click.option("--seed", type=int, help="The same faults again; else by chance.")
@click.option("--edges", default=1, show_default=True)
@click.option("--clicks-per-second", default=7_000.0, show_default=True)
@click.option("--conversions-per-second", default=260.0, show_default=True)
@click.option("--pace", default=1.0, show_default=True, help="Factor of the pauses between rounds.")
@click.option("--data", metavar="DIR", help="Kept afterwards; else a temporary directory.")
def main(
    rounds: int,
    seed: int | None,
    edges: int,
    clicks_per_second: float,
    conversions_per_second: float,
    pace: float,
    data: str | None,
) -> None:
    """Kills, freezes and cuts off a running instance under load, and counts afterwards."""
    seed = random.randrange(1 << 16) if seed is None else seed
    rates = (clicks_per_second, conversions_per_second)
    phases = phases_of(rounds, seed, edges, rates, pace)
    kept = nullcontext(data) if data else tempfile.TemporaryDirectory(prefix="chaos-")
    with kept as folder, asyncio.Runner() as runner:
        clean = runner.run(run(phases, Path(folder).resolve()))
    sys.exit(0 if clean else 1)


if __name__ == "__main__":
    main()
