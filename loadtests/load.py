"""The mix of a busy installation, sent by locust to an instance of its own, and counted.

`make load`, or `python -m loadtests.load [--loop both] [--rate 300] [--users 16] [--seconds 30]
[--seed 1]`: 95 % clicks, 4 % conversions, 1 % reports, in an open loop, then in a closed one. It
ends with status 1 unless every answer was the due one, `linkjolt audit` is clean, and what was
acknowledged is what is stored, each event once.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click
import msgspec

from linkjolt.runtime.bound_children import bound
from loadtests import chaos_check
from loadtests.chaos import count_events
from loadtests.chaos_check import PhaseResult
from loadtests.chaos_instance import Instance, RunFailed
from loadtests.mix import Scenario

_ROOT = Path(__file__).parents[1]
_LOCUSTFILE = Path(__file__).with_name("locustfile.py")
# How long a user may take to end: more than a request may.
_GRACE_SECONDS = 60
# The second loop's requests must not bear the first one's numbers.
_NUMBERS_APART = 100_000_000


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What one run is made with; `seconds` are those of each loop."""

    loops: tuple[str, ...]
    rate: float
    users: int
    seconds: float
    links: int
    edges: int
    seed: int


def locust_command(scenario: Path, loop: str, options: LoadOptions) -> list[str]:
    """The call of locust for one loop."""
    module = ["-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--only-summary"]
    quiet = ["--loglevel", "WARNING", "--host", "http://127.0.0.1", "--scenario", str(scenario)]
    if loop == "open":
        # It ends by itself, when all that was due is answered.
        return [sys.executable, *module, *quiet, "Open"]
    size = ["--users", str(options.users), "--spawn-rate", str(options.users)]
    end = ["--run-time", f"{options.seconds:g}s", "--stop-timeout", str(_GRACE_SECONDS)]
    return [sys.executable, *module, *quiet, *size, *end, "Closed"]


def find_problems(statuses: Sequence[int], result: PhaseResult) -> list[str]:
    """Why the run is no success; empty where it is one."""
    problems = [f"locust ended with {status}" for status in statuses if status]
    if not result.clean:
        problems.append("something is missing or doubled, or the audit is not clean")
    for name, counted in (("clicks", result.clicks), ("conversions", result.conversions)):
        if counted.acknowledged != counted.stored:
            problems.append(f"{name}: acknowledged {counted.acknowledged}, stored {counted.stored}")
    return problems


async def run(options: LoadOptions, folder: Path) -> list[str]:
    """Starts, loads, stops and counts; prints what was seen and returns the problems."""
    for name in ("clicks.txt", "conversions.jsonl"):
        (folder / name).touch()
    instance = Instance(folder / "data", options.edges, {})
    try:
        await instance.start()
        codes = await instance.make_links(options.links)
        statuses: list[int] = []
        for number, loop in enumerate(options.loops):
            path = folder / f"{loop}.json"
            path.write_bytes(msgspec.json.encode(_scenario(options, instance, codes, number)))
            click.echo(f"{_describe_loop(loop, options)}\n")
            arguments = locust_command(path, loop, options)
            statuses.append(await asyncio.to_thread(_run_locust, arguments, options.seconds))
        result = await count_events(instance, folder)
    except RunFailed as error:
        return [str(error)]
    finally:
        instance.end()
    click.echo("\n".join(chaos_check.describe(result)))
    return find_problems(statuses, result)


def _scenario(options: LoadOptions, instance: Instance, codes: list[str], number: int) -> Scenario:
    return Scenario(
        edge_url=instance.edge_url,
        reports_url=instance.reports_url,
        key=instance.key,
        codes=codes,
        per_second=options.rate,
        seconds=options.seconds,
        seed=options.seed + number,
        folder=str(instance.data.parent),
        first_number=number * _NUMBERS_APART + 1,
    )


def _describe_loop(loop: str, options: LoadOptions) -> str:
    seed = f"{options.seconds:g} s, seed {options.seed}"
    if loop == "open":
        return f"open loop: {options.rate:g} requests/s, answered or not, {seed}"
    return f"closed loop: {options.users} users, each asks when it has its answer, {seed}"


def _run_locust(command: list[str], seconds: float) -> int:
    """In a process of its own, for gevent replaces parts of the standard library."""
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    limit = seconds + 2 * _GRACE_SECONDS
    try:
        # Its table is a part of the log, on stderr.
        done = subprocess.run(
            bound(command), env=environ, stderr=subprocess.STDOUT, check=False, timeout=limit
        )
        return done.returncode
    except subprocess.TimeoutExpired:
        raise RunFailed(f"locust did not end within {limit:g} s") from None


@click.command()
@click.option("--loop", default="both", type=click.Choice(["both", "open", "closed"]))
@click.option("--rate", default=300.0, show_default=True, help="Requests/s of the open loop.")
@click.option(
    "--users", default=16, show_default=True, type=click.IntRange(1, 256), help="Closed loop."
)
@click.option("--seconds", default=30.0, show_default=True, help="Of each loop.")
@click.option("--links", default=500, show_default=True, type=click.IntRange(1))
@click.option("--edges", default=1, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=1, show_default=True, help="The same requests again.")
@click.option("--data", metavar="DIR", help="Kept afterwards; else a temporary directory.")
def main(loop: str, data: str | None, **sizes: float) -> None:
    """Loads an instance of its own with a realistic mix, and counts afterwards."""
    loops = ("open", "closed") if loop == "both" else (loop,)
    options = msgspec.convert({"loops": loops, **sizes}, LoadOptions)
    data_folder = nullcontext(data) if data else tempfile.TemporaryDirectory(prefix="load-")
    with data_folder as name:
        folder = Path(name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        problems = asyncio.run(run(options, folder))
    click.echo("\n".join(problems) or "every acknowledged event is stored once")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
