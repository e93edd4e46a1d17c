"""Measures the cost of an event as LinkJolt grows: `python -m loadtests.scaling [--seconds 4]`.

Edges, connections, links and shards grow one at a time. It prints a page and writes it into
loadtests/results; if everything was measured, it also writes the tables and the projection of
docs/scaling.md. It takes about half an hour, best on an idle machine.
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
from loadtests.bench.debian import find_missing, install_line
from loadtests.bench.machine import read_machine
from loadtests.bench.programs import ROOT
from loadtests.chaos_instance import RunFailed
from loadtests.scaling import page
from loadtests.scaling.measure import ScalingSettings, measure
from loadtests.scaling.point import BASE, Cost, InstanceCosts, Point, build_sweeps, by_size
from loadtests.scaling.projection import ProjectionBasis

_DOCUMENT = ROOT / "docs" / "scaling.md"
_RESULTS = ROOT / "loadtests" / "results"
_SWEEPS = tuple(build_sweeps(0))


def _exit_on_sigterm(number: int, frame: FrameType | None) -> None:
    """Raises SystemExit on SIGTERM, so that child processes are ended and the folder removed."""
    sys.exit(128 + number)


def run(points: list[Point], settings: ScalingSettings) -> list[InstanceCosts]:
    """Measures and prints the points of each instance; failed instances are left out."""
    measured: list[InstanceCosts] = []
    for size, size_points in by_size(points).items():
        click.echo(f"{size.edges} edges, {size.links:,} links, {size.shards} shards")
        try:
            instance_costs = asyncio.run(measure(settings, size, size_points))
        except (RunFailed, bench_plan.BenchFailed) as error:
            click.echo(f"  FAILED: {error}")
            continue
        measured.append(instance_costs)
        for point, cost in instance_costs.costs.items():
            click.echo(f"  {point.connections} connections, {point.spread}: {_describe_cost(cost)}")
    return measured


def _describe_cost(cost: Cost) -> str:
    return (
        f"{cost.per_second:,.0f}/s, us a click: edge {cost.edge_us:.1f},"
        f" Redis {cost.redis_us:.1f}, aggregator {cost.aggregator_us:.1f}"
    )


@click.command()
@click.option("--only", multiple=True, type=click.Choice(_SWEEPS), help="The dimension to grow.")
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
@click.option("--results", "results_folder", help="Folder of the page; default loadtests/results.")
def main(
    only: tuple[str, ...],
    seconds: int,
    rounds: int,
    links_max: int,
    folder: str,
    results_folder: str | None,
) -> None:
    """Prints the tables and writes them to the results and the document."""
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    if missing_tools := find_missing({"wrk"}):
        raise click.ClickException(f"wrk is missing: {install_line(missing_tools)}")
    sweeps = {
        name: points
        for name, points in build_sweeps(links_max).items()
        if name in (only or _SWEEPS)
    }
    points_to_measure = [point for points in sweeps.values() for _, point in points]
    with tempfile.TemporaryDirectory(prefix="scaling-", dir=folder) as name:
        settings = ScalingSettings(Path(name), seconds, rounds, max(os.sched_getaffinity(0)))
        machine = read_machine(settings.folder)
        found = run(points_to_measure, settings)
    costs = {point: cost for instance in found for point, cost in instance.costs.items()}
    measured = page.ScalingResults(
        day=date.today(),
        command=shlex.join(["python", "-m", "loadtests.scaling", *sys.argv[1:]]),
        machine=machine,
        sweeps=sweeps,
        costs=costs,
        created_links=list({one.created_links.links: one.created_links for one in found}.values()),
        basis=ProjectionBasis(costs[BASE], found[0].click_bytes, machine.sync_ms)
        if BASE in costs
        else None,
    )
    complete = len(costs) == len(set(points_to_measure))
    target = Path(results_folder) if results_folder else _RESULTS
    _write(measured, target, whole=complete and not only and results_folder is None)
    sys.exit(0 if complete else 1)


def _write(measured: page.ScalingResults, folder: Path, *, whole: bool) -> None:
    section = page.section(measured)
    click.echo(f"\n{section}\n")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"scaling-{measured.day.isoformat()}.md"
    path.write_text(f"# Scaling, {measured.day.isoformat()}\n\n{section}\n")
    click.echo(f"written: {path}")
    if whole:
        _DOCUMENT.write_text(page.replace_section(_DOCUMENT.read_text(), section))
        click.echo(f"written: {_DOCUMENT}")


if __name__ == "__main__":
    main()
