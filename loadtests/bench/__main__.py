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
from loadtests.bench.plan import Bench, Cores, Failed, Plan, allowed_cores, chosen, pick_cores
from loadtests.bench.programs import ROOT, pin
from loadtests.bench.reports import REPORTS_BENCH
from loadtests.bench.rows import Row, table
from loadtests.bench.streams import open_redis, settings_of
from loadtests.bench.whole import WHOLE_BENCHES

BENCHES: tuple[Bench, ...] = (
    *EDGE_BENCHES,
    *LINE_BENCHES,
    *WHOLE_BENCHES,
    REPORTS_BENCH,
)
RESULTS = ROOT / "loadtests" / "results"


class _Options(msgspec.Struct, frozen=True):
    """The command's options."""

    only: tuple[str, ...]
    seconds: int
    pairs: int
    redis_core: int | None
    folder: str
    clicks: int
    days: int
    warehouse: str | None
    results: str | None

    def plan(self, folder: Path, cores: Cores) -> Plan:
        return Plan(
            folder=folder,
            cores=cores,
            seconds=self.seconds,
            pairs=self.pairs,
            clicks=self.clicks,
            days=self.days,
            warehouse=Path(self.warehouse or Path(self.folder, "linkjolt-bench-reports")),
        )


def measure(bench: Bench, plan: Plan, tools: Mapping[str, debian.Tool] = debian.TOOLS) -> list[Row]:
    """The bench's rows; one that fails or is skipped where it cannot be run."""
    lacking = debian.missing(bench.needs, tools)
    if lacking:
        names = ", ".join(tool.name for tool in lacking)
        how = f"{names} missing: {debian.install_line(lacking)}"
        return [Row(name=bench.says, target="", figure="not run", verdict="skipped", detail=(how,))]
    try:
        return bench.measure(plan)
    except Failed as error:
        why = str(error)
        return [Row(name=bench.says, target="", figure="none", verdict="fail", detail=(why,))]


def run(benches: Sequence[Bench], plan: Plan) -> list[Row]:
    """All rows, with a line for every bench on the way."""
    rows: list[Row] = []
    for bench in benches:
        click.echo(f"{bench.name}: {bench.says}")
        rows += measure(bench, plan)
    return rows


def _install(benches: Sequence[Bench]) -> None:
    lacking = debian.missing({need for bench in benches for need in bench.needs})
    if not lacking:
        return
    click.echo(f"missing: {', '.join(tool.name for tool in lacking)}; installing")
    why = debian.install(lacking)
    if why is not None:
        skipped = [bench.name for bench in benches if debian.missing(bench.needs)]
        click.echo(f"{why}; skipped: {', '.join(skipped)}. As root: {debian.install_line(lacking)}")


def _redis_settings(plan: Plan) -> dict[str, str]:
    with open_redis(plan.folder / "shown", plan.cores.redis, "always") as (url, _):
        return asyncio.run(settings_of(url))


def _end_tidily(number: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that what was started is ended and the folder removed."""
    sys.exit(128 + number)


@click.command()
@click.option("--only", multiple=True, type=click.Choice([b.name for b in BENCHES]))
@click.option(
    "--seconds", default=4, show_default=True, type=click.IntRange(1), help="Of one measurement."
)
@click.option("--pairs", default=5, show_default=True, type=click.IntRange(1))
@click.option("--redis-core", type=int, help="A core for Redis alone; else it shares wrk's.")
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
    help="Over how many clicks reports are timed; building 100 million takes half an hour, 15 GB.",
)
@click.option("--days", default=400, show_default=True, type=click.IntRange(31), help="Theirs.")
@click.option(
    "--warehouse",
    type=click.Path(file_okay=False),
    help="Where they are kept for the next run; a folder in --folder unless given.",
)
@click.option("--results", help="Folder of the page; loadtests/results unless --only.")
def main(**given: object) -> None:
    """Measures LinkJolt beside its peers, prints a table and writes a page of results."""
    signal.signal(signal.SIGTERM, _end_tidily)
    options = msgspec.convert(given, _Options)
    benches = chosen(BENCHES, options.only)
    try:
        cores = pick_cores(allowed_cores(), options.redis_core)
    except Failed as error:
        raise click.ClickException(str(error)) from None
    _install(benches)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as name:
        plan = options.plan(Path(name), cores)
        machine, redis = read_machine(plan.folder), _redis_settings(plan)
        pin(os.getpid(), cores.load)
        click.echo("\n".join(f"{about}: {value}" for about, value in machine.lines))
        click.echo(f"Redis settings: {redis}\n\n{results.how(cores)}")
        rows = run(benches, plan)
    page = results.Page(
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
