"""Measures what an event costs as LinkJolt grows: `python -m loadtests.scaling [--seconds 4]`.

Edges, connections, links and shards grow one after the other, all else as it is. It prints and
writes a page into loadtests/results and, where everything was measured, the tables of
docs/scaling.md with the plan that follows from them. About half an hour, best on an idle machine.
"""

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from datetime import date
from pathlib import Path
from types import FrameType

import click

from loadtests.bench import plan as bench_plan
from loadtests.bench.debian import install_line, missing
from loadtests.bench.machine import read_machine
from loadtests.bench.programs import ROOT
from loadtests.chaos_instance import Failed
from loadtests.scaling import page
from loadtests.scaling.measure import Settings, measure
from loadtests.scaling.paper import Basis
from loadtests.scaling.point import BASE, Cost, Found, Point, by_size, varied

_DOCUMENT = ROOT / "docs" / "scaling.md"
_RESULTS = ROOT / "loadtests" / "results"
_SWEEPS = tuple(varied(0))


def _end_tidily(number: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that what was started is ended and the folder removed."""
    sys.exit(128 + number)


def run(points: list[Point], settings: Settings) -> list[Found]:
    """What each instance showed, printed on the way; one that failed is left out."""
    everything: list[Found] = []
    for size, some in by_size(points).items():
        click.echo(f"{size.edges} edges, {size.links:,} links, {size.shards} shards")
        try:
            found = asyncio.run(measure(settings, size, some))
        except (Failed, bench_plan.Failed) as error:
            click.echo(f"  FAILED: {error}")
            continue
        everything.append(found)
        for point, cost in found.costs.items():
            click.echo(f"  {point.connections} connections, {point.spread}: {_shown(cost)}")
    return everything


def _shown(cost: Cost) -> str:
    return (
        f"{cost.per_second:,.0f}/s, us a click: edge {cost.edge_us:.1f},"
        f" Redis {cost.redis_us:.1f}, aggregator {cost.aggregator_us:.1f}"
    )


@click.command()
@click.option("--only", multiple=True, type=click.Choice(_SWEEPS), help="What grows.")
@click.option("--seconds", default=4, show_default=True, type=click.IntRange(1))
@click.option("--rounds", default=3, show_default=True, type=click.IntRange(1), help="Of a point.")
@click.option("--links-max", default=1_000_000, show_default=True, type=click.IntRange(1_000))
@click.option(
    "--folder",
    default="/var/tmp",
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Where the servers write; a RAM disk would make durability free.",
)
@click.option("--results", "to", help="Folder of the page; else loadtests/results.")
def main(
    only: tuple[str, ...], seconds: int, rounds: int, links_max: int, folder: str, to: str | None
) -> None:
    """Prints tables, and writes them where they belong."""
    signal.signal(signal.SIGTERM, _end_tidily)
    if lacking := missing({"wrk"}):
        raise click.ClickException(f"wrk is missing: {install_line(lacking)}")
    sweeps = {
        name: points for name, points in varied(links_max).items() if name in (only or _SWEEPS)
    }
    wanted = [point for points in sweeps.values() for _, point in points]
    with tempfile.TemporaryDirectory(prefix="scaling-", dir=folder) as name:
        settings = Settings(Path(name), seconds, rounds, max(os.sched_getaffinity(0)))
        machine = read_machine(settings.folder)
        found = run(wanted, settings)
    costs = {point: cost for one in found for point, cost in one.costs.items()}
    measured = page.Measured(
        day=date.today(),
        command=shlex.join(["python", "-m", "loadtests.scaling", *sys.argv[1:]]),
        machine=machine,
        sweeps=sweeps,
        costs=costs,
        made=list({one.made.links: one.made for one in found}.values()),
        basis=Basis(costs[BASE], found[0].wire, machine.sync_ms) if BASE in costs else None,
    )
    whole = len(costs) == len(set(wanted))
    _write(measured, Path(to) if to else _RESULTS, whole=whole and not only and to is None)
    sys.exit(0 if whole else 1)


def _write(measured: page.Measured, folder: Path, *, whole: bool) -> None:
    section = page.section(measured)
    click.echo(f"\n{section}\n")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"scaling-{measured.day.isoformat()}.md"
    path.write_text(f"# Scaling, {measured.day.isoformat()}\n\n{section}\n")
    click.echo(f"written: {path}")
    if whole:
        _DOCUMENT.write_text(page.replaced(_DOCUMENT.read_text(), section))
        click.echo(f"written: {_DOCUMENT}")


if __name__ == "__main__":
    main()
