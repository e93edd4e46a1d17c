"""Scaling varies one dimension at a time, and its projection follows from the costs."""

import os
import sys
from collections import Counter
from datetime import date
from pathlib import Path

import msgspec
import pytest

from loadtests.bench import debian
from loadtests.bench.machine import Machine
from loadtests.scaling.links import choose_codes, code_of
from loadtests.scaling.measure import ScalingSettings, measure
from loadtests.scaling.page import BEGIN, END, ScalingResults, replace_section, section
from loadtests.scaling.point import (
    BASE,
    ClickBytes,
    Cost,
    CreatedLinks,
    InstanceSize,
    Point,
    build_sweeps,
    by_size,
    median_cost,
)
from loadtests.scaling.projection import Assumptions, ProjectionBasis, project_needs
from loadtests.scaling.usage import Usage, cost_of
from tests.chaos.environment import ROOT

COST = Cost(
    per_second=20_000,
    edge_us=30,
    redis_us=4,
    aggregator_us=26,
    aggregator_main_us=6,
    aggregator_idle=0.05,
    frame_events=100,
    redis_in_bytes=250,
    redis_out_bytes=250,
    waiting_bytes=300,
    edge_mib=80,
)
BASIS = ProjectionBasis(COST, ClickBytes(request_bytes=200, answer_bytes=240), sync_ms=0.1)
REST = Usage(
    measured_at=0,
    edge=0,
    redis=0,
    aggregator=0,
    aggregator_main=0,
    events=0,
    frames=0,
    received_bytes=0,
    sent_bytes=0,
    memory_bytes=0,
)


def test_one_thing_grows_at_a_time_from_a_point_that_all_share() -> None:
    sweeps = build_sweeps(1_000_000)
    assert list(sweeps) == ["edges", "connections", "links", "shards"]
    assert all(BASE in [point for _, point in points] for points in sweeps.values())
    assert [name for name, _ in sweeps["links"]] == [
        "10",
        "1,000",
        "100,000",
        "1,000,000",
        "1,000,000, each as often",
    ]
    assert [name for name, _ in build_sweeps(1_000)["links"]] == ["10", "1,000"]


def test_a_point_of_several_sweeps_is_measured_once_with_others_of_its_size() -> None:
    points = [point for sweep in build_sweeps(1_000_000).values() for _, point in sweep]
    sizes = by_size(points)
    measured = [point for some in sizes.values() for point in some]
    assert len(measured) == len(set(measured)) == len(set(points))
    assert {point.connections for point in sizes[InstanceSize()]} == {16, 64, 256, 1_024}
    assert all(point.size == size for size, some in sizes.items() for point in some)


def test_each_figure_has_its_own_median() -> None:
    costs = [
        msgspec.structs.replace(COST, edge_us=edge, redis_us=redis)
        for edge, redis in ((1, 30), (2, 10), (9, 20))
    ]
    assert (median_cost(costs).edge_us, median_cost(costs).redis_us) == (2, 20)


def test_a_cost_leaves_out_what_idling_takes() -> None:
    changed = msgspec.structs.replace
    rested = changed(REST, measured_at=2, aggregator=0.2)
    after = changed(
        REST,
        measured_at=10,
        edge=0.3,
        redis=0.04,
        aggregator=1.26,
        aggregator_main=0.06,
        events=10_000,
        frames=100,
        received_bytes=2_500_000,
        sent_bytes=2_500_000,
        memory_bytes=3_000_000,
    )
    cost = cost_of((REST, rested), (REST, after), 20_000, 80)
    assert cost.edge_us == pytest.approx(30)
    assert cost.redis_us == pytest.approx(4)
    # 1.26 s, of which 10 s of idling took a tenth of a core.
    assert cost.aggregator_us == pytest.approx(26)
    assert cost.aggregator_main_us == pytest.approx(6)
    assert cost.aggregator_idle == pytest.approx(0.1)
    assert (cost.redis_in_bytes, cost.redis_out_bytes) == (250, 250)
    assert (cost.frame_events, cost.waiting_bytes) == (100, 300)


def test_every_line_of_the_plan_follows_from_its_figures() -> None:
    found = {line.name: line.figure for line in project_needs(BASIS, Assumptions())}
    assert found == {
        "edge cores": "60 on 4 hosts",
        "aggregator cores": "12 on 1 host",
        "ClickHouse cores": "80 on 5 hosts",
        # 4 us and a hundredth of 100 us of fsync, by half of a second.
        "Redis shards, appendfsync always": "10 on 2 hosts",
        "all of these": "12 hosts",
        "Redis memory for 60 s that wait": "18 GB, 1.8 GB a shard",
        "Redis memory for 600 s that wait": "180 GB, 18.0 GB a shard",
        "Redis memory for 3,600 s that wait": "1,080 GB, 108.0 GB a shard",
        # 200 and 132 bytes, 8 bits each, a million times.
        "network into the edges, from visitors": "2.7 Gbit/s",
        "network out of the edges, to visitors": "3.0 Gbit/s",
        "network into Redis, from the edges": "2.0 Gbit/s",
        "network out of Redis, to aggregators": "2.0 Gbit/s",
        "network into ClickHouse, copies among it": "4.0 Gbit/s",
    }
    half = {
        line.name: line.figure
        for line in project_needs(BASIS, Assumptions(clicks_per_second=500_000))
    }
    assert half["edge cores"] == "30 on 2 hosts"


def measured(costs: dict[Point, Cost], basis: ProjectionBasis | None) -> ScalingResults:
    return ScalingResults(
        day=date(2027, 1, 31),
        command="python -m loadtests.scaling",
        machine=Machine((("CPU", "a fast one"),)),
        sweeps=build_sweeps(1_000_000),
        costs=costs,
        created_links=[
            CreatedLinks(10_000, 5_000, 8_000, 500),
            CreatedLinks(1_000, 5_000, 0, 600),
            CreatedLinks(10, 90, 0, 9_000),
        ],
        basis=basis,
    )


def test_the_section_shows_command_machine_tables_and_plan() -> None:
    points = [point for sweep in build_sweeps(1_000_000).values() for _, point in sweep]
    text = section(measured(dict.fromkeys(points, COST), BASIS))
    for part in (
        "`python -m loadtests.scaling`, 2027-01-31.",
        "- CPU: a fast one",
        "### As edges grow",
        "| 1,000,000, each as often | 20,000 ",
        "- 1,000 links were made at 5,000/s through `POST /v1/links/bulk`;"
        " 600 bytes of Redis each\n"
        "- 10,000 links were made at 5,000/s through `POST /v1/links/bulk`, 8,000/s through the"
        " registry; 500 bytes of Redis each\n",
        "**On paper, not measured**: 1,000,000 clicks/s",
        "1,000,000/s x 30.0 us / 0.5",
        "Assumed, and not measured:",
    ):
        assert part in text
    assert "failed" not in text
    # Of ten links neither speed nor memory is theirs alone.
    assert "- 10 links" not in text


def test_a_point_that_failed_is_shown_and_without_the_shared_one_there_is_no_plan() -> None:
    text = section(measured({}, None))
    assert "| failed " in text
    assert "No plan" in text


def test_only_the_text_between_the_marks_is_replaced() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = replace_section(document, "new")
    assert new == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replace_section(new, "new") == new
    with pytest.raises(ValueError, match="lacks"):
        replace_section("no marks", "new")


def test_the_document_has_the_marks() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text()
    assert (text.count(BEGIN), text.count(END)) == (1, 1)
    assert "new" in replace_section(text, "new")


def test_clicks_follow_zipfs_law_or_are_even_and_differ_by_seed() -> None:
    zipf, even = (Counter(choose_codes(100, spread, 1)) for spread in ("zipf", "even"))
    assert zipf[code_of(1)] / zipf[code_of(10)] == pytest.approx(10, rel=0.1)
    assert even[code_of(1)] / even[code_of(100)] == pytest.approx(1, rel=0.2)
    assert choose_codes(100, "even", 1) != choose_codes(100, "even", 2)


@pytest.mark.long
@pytest.mark.skipif(
    sys.platform != "linux" or bool(debian.find_missing({"wrk"})), reason="it needs Linux and wrk"
)
async def test_a_point_is_measured_on_an_instance_of_its_size(tmp_path: Path) -> None:
    size = InstanceSize(edges=2, links=10, shards=2)
    point = Point(size=size, connections=16)
    settings = ScalingSettings(tmp_path, 1, 1, max(os.sched_getaffinity(0)))
    found = await measure(settings, size, [point])
    cost = found.costs[point]
    # Redis may need less than the kernel's clock can tell.
    assert min(cost.per_second, cost.edge_us, cost.aggregator_us) > 0
    assert cost.redis_us >= 0
    assert 1 <= cost.frame_events <= 16
    # A click in Redis is 100 to 500 bytes, and is sent there once and read from there.
    assert 100 < cost.redis_in_bytes < 2_000
    assert 100 < cost.redis_out_bytes < 5_000
    assert (found.created_links.links, found.created_links.registry_per_second) == (10, 0)
    assert found.click_bytes.request_bytes > 100 < found.click_bytes.answer_bytes
