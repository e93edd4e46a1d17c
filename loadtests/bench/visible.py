"""How long until an accepted click is in a report, on an instance of its own."""

import asyncio
import tempfile
from pathlib import Path

import click

from loadtests import chaos_instance, freshness
from loadtests.bench.plan import Failed, Plan
from loadtests.bench.programs import on_cores
from loadtests.bench.rows import Row, judged
from loadtests.clicker import percentile

PROBES = 200
_P50_MAX_SECONDS = 0.8
_P99_MAX_SECONDS = 1.5


def visible(plan: Plan, probes: int = PROBES) -> list[Row]:
    """The instance is otherwise idle, so that every slice of stream time is awaited whole."""
    with tempfile.TemporaryDirectory(dir=plan.folder) as name, on_cores(plan.cores):
        try:
            seconds = asyncio.run(_probe(Path(name, "data"), probes))
        except (chaos_instance.Failed, click.ClickException) as error:
            raise Failed(str(error)) from None
    shares = (("p50", 0.5, _P50_MAX_SECONDS), ("p99", 0.99, _P99_MAX_SECONDS))
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


def _row(seconds: list[float], name: str, share: float, at_most: float) -> Row:
    figure = percentile(seconds, share)
    shown = ", ".join(f"{value:.3f}" for value in (min(seconds), max(seconds)))
    return Row(
        name=f"accepted to visible in a report, {name}",
        target=f"<= {at_most:g} s",
        figure=f"{figure:.2f} s",
        verdict=judged(figure <= at_most, []),
        detail=(
            f"{len(seconds)} probes, least and most seconds: {shown}",
            f"a probe looks every {freshness.LOOK_SECONDS:g} s, which is in its time",
        ),
    )
