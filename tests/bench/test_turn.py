"""A turn disqualifies a peer that loses events; each peer takes a real turn."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from loadtests.bench import debian, programs
from loadtests.bench.loads import saturating_clicks, saturating_conversions, steady_clicks
from loadtests.bench.peers.linkjolt_peer import EDGE, EDGE_CONVERSIONS
from loadtests.bench.peers.nginx import BARE, LUA, bare_config, find_nginx, lua_config
from loadtests.bench.peers.peer import Peer
from loadtests.bench.peers.starlette_peer import STARLETTE
from loadtests.bench.plan import BenchFailed, BenchPlan, Cores, pick_cores
from loadtests.bench.turn import CpuUsage, describe_shares, event_problem, take_turn


def needs(*tools: str) -> pytest.MarkDecorator:
    lacking = [tool.name for tool in debian.find_missing(tools)]
    return pytest.mark.skipif(bool(lacking), reason=f"not installed: {', '.join(lacking)}")


@pytest.fixture
def plan(tmp_path: Path) -> BenchPlan:
    allowed = os.sched_getaffinity(0) if sys.platform == "linux" else set[int]()
    if len(allowed) < 2:
        pytest.skip("pinning to two cores needs Linux and two cores")
    return BenchPlan(folder=tmp_path, cores=pick_cores(allowed), seconds=1, pairs=1)


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (1_000, None),
        (1_256, None),
        (999, "DISQUALIFIED: 1 of 1,000 answered left no event"),
        (1_257, "DISQUALIFIED: 1,257 events for 1,000 answers"),
    ],
)
def test_events_must_be_as_many_as_answers_but_for_those_cut_off(
    events: int, problem: str | None
) -> None:
    assert event_problem(1_000, events, cut_off=256) == problem


def test_a_turn_that_other_programs_disturbed_says_so() -> None:
    before = CpuUsage(measured_at=0, worker=0, redis=0, load=0, cores=0, disk_wait=0)
    after = CpuUsage(measured_at=2, worker=1.9, redis=0.5, load=1.0, cores=3.5, disk_wait=0.2)
    assert (
        describe_shares(before, after)
        == "worker 95%, redis 25%, load 50%, others 5% of a core, disk 10%"
    )
    disturbed = CpuUsage(measured_at=2, worker=1.5, redis=0.5, load=1.0, cores=4.0, disk_wait=0)
    assert describe_shares(before, disturbed).endswith("others 50% of a core, disk 0%: DISTURBED")


def test_the_worker_gets_a_core_of_its_own() -> None:
    assert pick_cores({3, 1, 2}) == Cores(worker=1, load=2, redis=2)
    assert pick_cores({3, 1, 2}, redis=3) == Cores(worker=1, load=2, redis=3)
    with pytest.raises(BenchFailed, match="two cores"):
        pick_cores({0})
    with pytest.raises(BenchFailed, match="core 0 is not free"):
        pick_cores({0, 1}, redis=0)


def test_a_program_runs_on_its_core_and_is_ended_with_it(plan: BenchPlan, tmp_path: Path) -> None:
    core = plan.cores.load
    with programs.running_program(["/bin/sleep", "60"], core, tmp_path / "log", {}) as child:
        assert os.sched_getaffinity(child.pid) == {core}
        assert child.poll() is None
    assert child.returncode < 0


def test_a_command_that_fails_stops_the_bench_with_its_last_words(plan: BenchPlan) -> None:
    with pytest.raises(BenchFailed, match="oh no"):
        programs.run_command(["/bin/sh", "-c", "echo oh no >&2; exit 3"], plan.cores.load, 10)


def test_a_command_that_takes_too_long_is_ended(plan: BenchPlan) -> None:
    with pytest.raises(BenchFailed, match=r"longer than 0\.1 s"):
        programs.run_command(["/bin/sleep", "60"], plan.cores.load, 0.1)


@pytest.mark.long
@needs("wrk")
def test_every_redirect_of_the_edge_leaves_one_event(plan: BenchPlan) -> None:
    turn = take_turn(plan, EDGE, "everysec", saturating_clicks)
    assert turn.problems == ()
    assert turn.figure > 0


@pytest.mark.long
@needs("wrk")
def test_every_post_of_a_new_order_leaves_one_event(plan: BenchPlan) -> None:
    turn = take_turn(plan, EDGE_CONVERSIONS, "everysec", saturating_conversions)
    assert turn.problems == ()
    assert turn.figure > 0


@pytest.mark.long
def test_steady_clicks_are_timed_without_wrk(plan: BenchPlan) -> None:
    turn = take_turn(plan, EDGE, "everysec", partial(steady_clicks, per_second=200))
    assert turn.problems == ()
    assert turn.figure > 0


@pytest.mark.long
@needs("wrk", "nginx", "nginx+Lua")
@pytest.mark.parametrize("peer", [LUA, STARLETTE], ids=lambda peer: peer.name)
def test_a_peer_publishes_an_event_for_each_of_its_redirects(plan: BenchPlan, peer: Peer) -> None:
    assert take_turn(plan, peer, "everysec", saturating_clicks).problems == ()


@pytest.mark.long
@needs("wrk", "nginx")
def test_a_peer_that_redirects_without_an_event_is_disqualified(plan: BenchPlan) -> None:
    forgetful = Peer("forgetful", "bench:nothing", BARE.serve)
    problems = take_turn(plan, forgetful, "everysec", saturating_clicks).problems
    assert [problem.partition(":")[0] for problem in problems] == ["DISQUALIFIED"]


@needs("nginx", "nginx+Lua")
def test_nginx_accepts_both_configurations(tmp_path: Path) -> None:
    url = "redis://:secret@127.0.0.1:6379/0"
    for text in (bare_config(tmp_path, 8000), lua_config(tmp_path, 8000, url)):
        path = tmp_path / "nginx.conf"
        path.write_text(text)
        nginx = find_nginx()
        assert nginx
        words = [nginx, "-t", "-q", "-e", str(tmp_path / "log"), "-c", str(path)]
        subprocess.run(words, check=True, timeout=20)
