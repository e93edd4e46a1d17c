"""Formats the results as Markdown: a page, and the section of docs/scaling.md between its marks."""

from collections.abc import Mapping, Sequence
from datetime import date

import msgspec

from loadtests.bench.machine import Machine
from loadtests.scaling.point import BASE, Cost, CreatedLinks, Point
from loadtests.scaling.projection import (
    Assumptions,
    ProjectionBasis,
    describe_assumptions,
    project_needs,
)

BEGIN = "<!-- measured: begin, written by python -m loadtests.scaling -->"
END = "<!-- measured: end -->"
_HEADS = (
    "clicks/s",
    "edge us",
    "Redis us",
    "aggregator us",
    "of it main thread",
    "aggregator idle",
    "clicks a frame",
    "edge MiB",
)
# With fewer links, fixed costs dominate both speed and memory.
_MANY_LINKS = 1_000
_UNITS = """\
`us` are microseconds of CPU per click, summed over the processes of a kind, without their idle \
use. The aggregator's include the embedded ClickHouse: raw table and all rollups. Its idle use is \
a share of a core. `clicks/s` is the rate of all processes and wrk together on the cores of this \
one machine, durable (`appendfsync always`). `edge MiB` is the memory of the largest edge."""


class ScalingResults(msgspec.Struct, frozen=True, kw_only=True):
    """The results of one run; `basis` is None if the common point was not measured."""

    day: date
    command: str
    machine: Machine
    sweeps: Mapping[str, Sequence[tuple[str, Point]]]
    costs: Mapping[Point, Cost]
    created_links: Sequence[CreatedLinks]
    basis: ProjectionBasis | None


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """Formats rows as an aligned Markdown table; the first row holds the heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [" | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {lines[0]} |", f"|{rule}|", *(f"| {line} |" for line in lines[1:])])


def _cells(name: str, cost: Cost | None) -> list[str]:
    if cost is None:
        return [name, "failed", *[""] * (len(_HEADS) - 1)]
    return [
        name,
        f"{cost.per_second:,.0f}",
        f"{cost.edge_us:.1f}",
        f"{cost.redis_us:.1f}",
        f"{cost.aggregator_us:.1f}",
        f"{cost.aggregator_main_us:.1f}",
        f"{cost.aggregator_idle:.0%}",
        f"{cost.frame_events:.0f}",
        f"{cost.edge_mib:.0f}",
    ]


def tables(measured: ScalingResults) -> str:
    """Formats a table for each dimension that grows."""
    size = BASE.size
    shared = (
        f"Unless stated otherwise: {size.edges} edge, {BASE.connections} connections,"
        f" {size.links:,} links clicked by Zipf's law, {size.shards} shard."
    )
    parts = [f"{_UNITS} {shared}"]
    for what, points in measured.sweeps.items():
        rows = [_cells(name, measured.costs.get(point)) for name, point in points]
        parts.append(f"### As {what} grow\n\n{aligned_table([[what, *_HEADS], *rows])}")
    if "links" in measured.sweeps:
        many = [made for made in measured.created_links if made.links >= _MANY_LINKS]
        many.sort(key=lambda made: made.links)
        parts.append("\n".join(f"- {_created_line(made)}" for made in many))
    return "\n\n".join(parts)


def _created_line(made: CreatedLinks) -> str:
    ways = {"`POST /v1/links/bulk`": made.bulk_per_second, "the registry": made.registry_per_second}
    speeds = ", ".join(f"{speed:,.0f}/s through {way}" for way, speed in ways.items() if speed)
    return f"{made.links:,} links were made at {speeds}; {made.redis_bytes:.0f} bytes of Redis each"


def projection(basis: ProjectionBasis | None, assumed: Assumptions) -> str:
    """Formats the projection, marked as not measured."""
    if basis is None:
        return "No plan: the point it is computed from was not measured."
    needs = [["needed", "figure", "from"]]
    needs += [[line.name, line.figure, line.derivation] for line in project_needs(basis, assumed)]
    return "\n\n".join(
        [
            f"**On paper, not measured**: {assumed.clicks_per_second:,} clicks/s, each figure from"
            " the first row of the table of edges.",
            aligned_table(needs),
            "Assumed, and not measured:",
            "\n".join(f"- {sentence}" for sentence in describe_assumptions(assumed)),
        ]
    )


def section(measured: ScalingResults) -> str:
    """Formats the section between the marks of the document."""
    about = [f"`{measured.command}`, {measured.day.isoformat()}."]
    about += [f"- {name}: {value}" for name, value in measured.machine.lines]
    return "\n\n".join(
        [
            "## Measured: what a click costs",
            f"{about[0]}\n\n" + "\n".join(about[1:]),
            tables(measured),
            "## On paper: a million clicks a second",
            projection(measured.basis, Assumptions()),
        ]
    )


def replace_section(document: str, new: str) -> str:
    """Replaces the text between the marks of a document; raises ValueError without marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"
