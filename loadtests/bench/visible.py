"""Benches the seconds until an accepted click is in a report, on an instance of its own."""

import asyncio
import tempfile
from pathlib import Path

import click

from loadtests import chaos_instance, freshness
from loadtests.bench import budgets
from loadtests.bench.budgets import Budget
from loadtests.bench.plan import BenchFailed, BenchPlan
from loadtests.bench.programs import on_cores
from loadtests.bench.rows import BenchRow, judge
from loadtests.clicker import percentile

PROBES = 200


def measure_visible(plan: BenchPlan, probes: int = PROBES) -> list[BenchRow]:
    """Probes an otherwise idle instance, so that every slice of stream time is awaited whole."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as name, on_cores(plan.cores):
        try:
            seconds = asyncio.run(_probe(Path(name, "data"), probes))
        except (chaos_instance.RunFailed, click.ClickException) as error:
            raise BenchFailed(str(error)) from None
    shares = (("p50", 0.5, budgets.VISIBLE_P50), ("p99", 0.99, budgets.VISIBLE_P99))
    return [_row(seconds, *share) for share in shares]


async def _probe(data: Path, probes: int) -> list[float]:
    instance = chaos_instance.Instance(data, 1, {})
    try:
        await instance.start()
        seconds = await freshness.measure(str(data), probes)
        await instance.stop()
    finally:
        instance.end()
    return seconds


def _row(seconds: list[float], name: str, share: float, budget: Budget) -> BenchRow:
    figure = percentile(seconds, share)
    shown = ", ".join(f"{value:.3f}" for value in (min(seconds), max(seconds)))
    return BenchRow(
        name=f"accepted to visible in a report, {name}",
        target=str(budget),
        figure=f"{figure:.2f} s",
        verdict=judge(budget.allows(figure), []),
        detail=(
            f"{len(seconds)} probes, minimum and maximum seconds: {shown}",
            f"a probe polls every {freshness.LOOK_SECONDS:g} s, which its time includes",
        ),
    )
