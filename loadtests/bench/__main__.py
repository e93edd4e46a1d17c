"""Runs the benches: `python -m loadtests.bench [--only NAME] [--seconds 4] [--clicks N]`."""

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from types import FrameType

import click
import msgspec

from loadtests.bench import debian, results
from loadtests.bench.edge import EDGE_BENCHES
from loadtests.bench.lines import LINE_BENCHES
from loadtests.bench.machine import read_machine
from loadtests.bench.plan import (
    Bench,
    BenchFailed,
    BenchPlan,
    Cores,
    allowed_cores,
    pick_cores,
    select_benches,
)
from loadtests.bench.programs import ROOT, pin
from loadtests.bench.reports_bench.measure import REPORTS_BENCH
from loadtests.bench.rows import BenchRow, table
from loadtests.bench.streams import open_redis, read_settings
from loadtests.bench.whole import WHOLE_BENCHES

BENCHES: tuple[Bench, ...] = (
    *EDGE_BENCHES,
    *LINE_BENCHES,
    *WHOLE_BENCHES,
    REPORTS_BENCH,
)
RESULTS = ROOT / "loadtests" / "results"


class _BenchOptions(msgspec.Struct, frozen=True):
    """The options of the command."""

    only: tuple[str, ...]
    seconds: int
    pairs: int
    redis_core: int | None
    folder: str
    clicks: int
    days: int
    warehouse: str | None
    results: str | None

    def plan(self, folder: Path, cores: Cores) -> BenchPlan:
        return BenchPlan(
            folder=folder,
            cores=cores,
            seconds=self.seconds,
            pairs=self.pairs,
            clicks=self.clicks,
            days=self.days,
            warehouse=Path(self.warehouse or Path(self.folder, "linkjolt-bench-reports")),
        )


def measure(
    bench: Bench, plan: BenchPlan, tools: Mapping[str, debian.Tool] = debian.TOOLS
) -> list[BenchRow]:
    """Runs a bench; if it cannot run, its only row is failed or skipped."""
    missing_tools = debian.find_missing(bench.needs, tools)
    if missing_tools:
        names = ", ".join(tool.name for tool in missing_tools)
        hint = f"{names} missing: {debian.install_line(missing_tools)}"
        return [
            BenchRow(
                name=bench.title, target="", figure="not run", verdict="skipped", detail=(hint,)
            )
        ]
    try:
        return bench.measure(plan)
    except BenchFailed as error:
        why = str(error)
        return [BenchRow(name=bench.title, target="", figure="none", verdict="fail", detail=(why,))]


def run(benches: Sequence[Bench], plan: BenchPlan) -> list[BenchRow]:
    """Runs all benches, printing a line for each, and returns their rows."""
    rows: list[BenchRow] = []
    for bench in benches:
        click.echo(f"{bench.name}: {bench.title}")
        rows += measure(bench, plan)
    return rows


def _install(benches: Sequence[Bench]) -> None:
    missing_tools = debian.find_missing({need for bench in benches for need in bench.needs})
    if not missing_tools:
        return
    click.echo(f"missing: {', '.join(tool.name for tool in missing_tools)}; installing")
    why = debian.install(missing_tools)
    if why is not None:
        skipped = [bench.name for bench in benches if debian.find_missing(bench.needs)]
        click.echo(
            f"{why}; skipped: {', '.join(skipped)}. As root: {debian.install_line(missing_tools)}"
        )


def _redis_settings(plan: BenchPlan) -> dict[str, str]:
    with open_redis(plan.folder / "shown", plan.cores.redis, "always") as (url, _):
        return asyncio.run(read_settings(url))


def _exit_on_sigterm(number: int, frame: FrameType | None) -> None:
    """Raises SystemExit on SIGTERM, so that child processes are ended and the folder removed."""
    sys.exit(128 + number)


@click.command()
@click.option("--only", multiple=True, type=click.Choice([b.name for b in BENCHES]))
@click.option(
    "--seconds", default=4, show_default=True, type=click.IntRange(1), help="Of one measurement."
)
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1))
@click.option(
    "--redis-core", type=int, help="A core for Redis alone; it shares wrk's unless given."
)
@click.option(
    "--folder",
    default="/var/tmp",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Where the servers write; a RAM disk would make durability free.",
)
@click.option(
    "--clicks",
    default=100_000_000,
    show_default=True,
    type=click.IntRange(10_000),
    help="Clicks of the timed reports; building 100 million takes half an hour and 15 GB.",
)
@click.option(
    "--days", default=400, show_default=True, type=click.IntRange(31), help="Days of these clicks."
)
@click.option(
    "--warehouse",
    type=click.Path(file_okay=False),
    help="Folder that holds these clicks for the next run; in --folder unless given.",
)
@click.option("--results", help="Folder of the page; loadtests/results unless --only.")
def main(**options_given: object) -> None:
    """Measures LinkJolt beside its peers, prints a table and writes a page of results."""
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    options = msgspec.convert(options_given, _BenchOptions)
    benches = select_benches(BENCHES, options.only)
    try:
        cores = pick_cores(allowed_cores(), options.redis_core)
    except BenchFailed as error:
        raise click.ClickException(str(error)) from None
    _install(benches)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        plan = options.plan(Path(name), cores)
        machine, redis = read_machine(plan.folder), _redis_settings(plan)
        pin(os.getpid(), cores.load)
        click.echo("\n".join(f"{about}: {value}" for about, value in machine.lines))
        click.echo(f"Redis settings: {redis}\n\n{results.describe_method(cores)}")
        rows = run(benches, plan)
    page = results.ResultsPage(
        day=date.today(),
        command=shlex.join(["python", "-m", "loadtests.bench", *sys.argv[1:]]),
        cores=cores,
        machine=machine,
        redis=redis,
        rows=rows,
    )
    click.echo(f"\n{table(rows)}")
    if options.results or not options.only:
        click.echo(f"written: {results.write(page, Path(options.results or RESULTS))}")
    sys.exit(1 if any(row.verdict == "fail" for row in rows) else 0)


if __name__ == "__main__":
    main()
