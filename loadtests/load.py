"""Loads an instance with a realistic mix by locust, then counts its events.

`make load`, or `python -m loadtests.load [--loop both] [--rate 300] [--users 16] [--seconds 30]
[--seed 1]`: 95 % clicks, 4 % conversions, 1 % reports, in an open loop, then in a closed one. It
exits with 1 unless every answer has the expected status, `linkjolt audit` is clean, and exactly
the acknowledged events are stored, each once.
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
# The time for a user to end: longer than a request may take.
_GRACE_SECONDS = 60
# The two loops must not share request numbers.
_NUMBERS_APART = 100_000_000


class LoadOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one run; `seconds` is the duration of each loop."""

    loops: tuple[str, ...]
    rate: float
    users: int
    seconds: float
    links: int
    edges: int
    seed: int


def locust_command(scenario: Path, loop: str, options: LoadOptions) -> list[str]:
    """Builds the locust command for one loop."""
    module = ["-m", "locust", "-f", str(_LOCUSTFILE), "--headless", "--only-summary"]
    quiet = ["--loglevel", "WARNING", "--host", "http://127.0.0.1", "--scenario", str(scenario)]
    if loop == "open":
        # It ends by itself once every request due was answered.
        return [sys.executable, *module, *quiet, "Open"]
    size = ["--users", str(options.users), "--spawn-rate", str(options.users)]
    end = ["--run-time", f"{options.seconds:g}s", "--stop-timeout", str(_GRACE_SECONDS)]
    return [sys.executable, *module, *quiet, *size, *end, "Closed"]


def find_problems(statuses: Sequence[int], result: PhaseResult) -> list[str]:
    """Lists the reasons why the run failed; empty for a success."""
    problems = [f"locust ended with {status}" for status in statuses if status]
    if not result.clean:
        problems.append("something is missing or doubled, or the audit is not clean")
    for name, counted in (("clicks", result.clicks), ("conversions", result.conversions)):
        if counted.acknowledged != counted.stored:
            problems.append(f"{name}: acknowledged {counted.acknowledged}, stored {counted.stored}")
    return problems


async def run(options: LoadOptions, folder: Path) -> list[str]:
    """Starts, loads, stops and counts an instance; prints the results and returns the problems."""
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
        return f"open loop: {options.rate:g} requests/s, whether or not answered, {seed}"
    return f"closed loop: {options.users} users, each waits for its answers, {seed}"


def _run_locust(command: list[str], seconds: float) -> int:
    """Runs locust in a process of its own, as gevent replaces parts of the standard library."""
    environ = {**os.environ, "PYTHONPATH": str(_ROOT)}
    limit = seconds + 2 * _GRACE_SECONDS
    try:
        # Locust prints its table to the log, on stderr.
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
@click.option("--seed", default=1, show_default=True, help="Repeats the same requests.")
@click.option("--data", metavar="DIR", help="Kept afterwards; a temporary directory unless given.")
def main(loop: str, data: str | None, **sizes: float) -> None:
    """Loads an instance of its own with a realistic mix, then counts its events."""
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
