"""The tables as Markdown: a page of results, and the part of docs/scaling.md between its marks."""

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
# Of fewer links neither speed nor memory is theirs alone.
_MANY_LINKS = 1_000
_UNITS = """\
`us` are microseconds of processor a click, summed over the processes of a kind, beyond what they \
use when idle. The aggregator's contain the embedded ClickHouse: raw table and all rollups. Its \
idle use is a share of a core. `clicks/s` is what all processes and wrk reached together on the \
cores of this one machine, durable (`appendfsync always`). `edge MiB` is the memory of the \
largest edge."""


class ScalingResults(msgspec.Struct, frozen=True, kw_only=True):
    """All that one run found; `basis` is None where the point that all share was not measured."""

    day: date
    command: str
    machine: Machine
    sweeps: Mapping[str, Sequence[tuple[str, Point]]]
    costs: Mapping[Point, Cost]
    created_links: Sequence[CreatedLinks]
    basis: ProjectionBasis | None


def aligned_table(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first row the heads."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows = [" | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    rule = "|".join("-" * (width + 2) for width in widths)
    return "\n".join([f"| {rows[0]} |", f"|{rule}|", *(f"| {row} |" for row in rows[1:])])


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
    """A table for each thing that grows."""
    size = BASE.size
    shared = (
        f"Where nothing else is said: {size.edges} edge, {BASE.connections} connections,"
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
    """The plan, marked as what it is."""
    if basis is None:
        return "No plan: the point that it is made from was not measured."
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
    """What stands between the marks of the document."""
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
    """The document with what stands between its marks exchanged; ValueError without marks."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{begin}\n\n{new}\n\n{end}{after}"
