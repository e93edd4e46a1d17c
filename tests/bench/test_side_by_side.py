"""Two real edges are loaded and timed at the same time."""

import pytest

from loadtests.bench.peers.linkjolt_peer import EDGE, edge_at
from loadtests.bench.plan import BenchPlan
from loadtests.bench.programs import ROOT
from loadtests.side_by_side import compare
from tests.bench.test_turn import needs, plan

__all__ = ["plan"]


@pytest.mark.long
@needs("wrk")
def test_both_are_loaded_and_their_time_is_read(plan: BenchPlan) -> None:
    ((ours, theirs),) = compare([EDGE, edge_at(ROOT, "other")], plan.folder, "everysec", 1, 2)
    # Each got clicks and spent time of its own; how much is no matter of a test.
    assert ours > 0
    assert theirs > 0
