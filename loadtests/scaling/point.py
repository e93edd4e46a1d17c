"""Declares the points to measure, their costs, and the median of several measurements."""

import statistics
from collections.abc import Sequence
from typing import Literal

import msgspec

# The distribution of clicks over links: Zipf's law, or uniform.
Spread = Literal["zipf", "even"]


class InstanceSize(msgspec.Struct, frozen=True, kw_only=True):
    """The size with which an instance is started."""

    edges: int = 1
    links: int = 1_000
    shards: int = 1


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """One load on an instance."""

    size: InstanceSize = InstanceSize()
    connections: int = 256
    spread: Spread = "zipf"


class ClickBytes(msgspec.Struct, frozen=True):
    """Bytes of a click's request and of its answer."""

    request_bytes: int
    answer_bytes: int


class CreatedLinks(msgspec.Struct, frozen=True):
    """The links of an instance, the rate by each way (0: unused), and Redis bytes per link."""

    links: int
    bulk_per_second: float
    registry_per_second: float
    redis_bytes: float


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    `_us` are microseconds of CPU per event, without the idle use; the aggregator's include the
    embedded ClickHouse, `aggregator_main_us` only the process's main thread. `_idle` is a share
    of a core. `_bytes` are per event.
    """

    per_second: float
    edge_us: float
    redis_us: float
    aggregator_us: float
    aggregator_main_us: float
    aggregator_idle: float
    frame_events: float
    redis_in_bytes: float
    redis_out_bytes: float
    waiting_bytes: float
    edge_mib: float


class InstanceCosts(msgspec.Struct, frozen=True):
    """The measurements of one instance."""

    costs: dict[Point, Cost]
    click_bytes: ClickBytes
    created_links: CreatedLinks


BASE = Point()


def build_sweeps(links_max: int) -> dict[str, list[tuple[str, Point]]]:
    """Builds the labelled points by the dimension that grows; the rest is as in BASE."""
    return {
        "edges": [(str(n), Point(size=InstanceSize(edges=n))) for n in (1, 2)],
        "connections": [(f"{n:,}", Point(connections=n)) for n in (16, 64, 256, 1_024)],
        "links": [_links_point(n, spread) for n, spread in _LINK_SWEEP if n <= links_max],
        "shards": [(str(n), Point(size=InstanceSize(shards=n))) for n in (1, 2, 3, 4)],
    }


_LINK_SWEEP: tuple[tuple[int, Spread], ...] = (
    (10, "zipf"),
    (1_000, "zipf"),
    (100_000, "zipf"),
    (1_000_000, "zipf"),
    (1_000_000, "even"),
)


def _links_point(links: int, spread: Spread) -> tuple[str, Point]:
    name = f"{links:,}" if spread == "zipf" else f"{links:,}, each as often"
    return name, Point(size=InstanceSize(links=links), spread=spread)


def by_size(points: Sequence[Point]) -> dict[InstanceSize, list[Point]]:
    """Groups distinct points by the instance size that they need."""
    sizes: dict[InstanceSize, list[Point]] = {}
    for point in dict.fromkeys(points):
        sizes.setdefault(point.size, []).append(point)
    return sizes


def median_cost(costs: Sequence[Cost]) -> Cost:
    """Takes the median of each figure."""
    return Cost(
        **{
            field: statistics.median(getattr(cost, field) for cost in costs)
            for field in Cost.__struct_fields__
        }
    )
