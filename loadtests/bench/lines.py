"""Benches conversions in bulk: lines of NDJSON through one edge, each durable."""

import sys

import msgspec

from loadtests.bench import budgets, traffic
from loadtests.bench.edge import all_problems, alternate_turns, describe_turns
from loadtests.bench.lineloop import LineCounts
from loadtests.bench.loads import WARM_UP_SECONDS
from loadtests.bench.peers.linkjolt_peer import EDGE_CONVERSIONS
from loadtests.bench.peers.peer import ServedPeer
from loadtests.bench.plan import Bench, BenchPlan
from loadtests.bench.programs import run_command
from loadtests.bench.rows import BenchRow, describe_spread, judge, median
from loadtests.bench.turn import LoadResult

# Enough that one body is received while another's answer is on its way.
_CONNECTIONS = 4


def saturating_lines(plan: BenchPlan, serving: ServedPeer) -> LoadResult:
    """Posts lines, each with its own order, as fast as a few connections are answered."""
    runs = [
        _run(plan, serving, seconds, prefix)
        for seconds, prefix in ((WARM_UP_SECONDS, "warm"), (plan.seconds, "order"))
    ]
    return LoadResult(
        figure=runs[-1].per_second,
        summary=runs[-1].describe(),
        answered=sum(run.taken for run in runs),
        cut_off=0,
        problems=tuple(problem for run in runs for problem in run.problems()),
    )


def _run(plan: BenchPlan, serving: ServedPeer, seconds: int, prefix: str) -> LineCounts:
    arguments = (serving.port, seconds, _CONNECTIONS, traffic.CODES[0], prefix, serving.key)
    command = [sys.executable, "-P", "-m", "loadtests.bench.lineloop", *map(str, arguments)]
    return msgspec.json.decode(run_command(command, plan.cores.load, seconds + 60), type=LineCounts)


def measure_lines(plan: BenchPlan) -> list[BenchRow]:
    """Measures bodies of 1,000 to 10,000 lines."""
    (turns,) = alternate_turns(plan, [EDGE_CONVERSIONS], "always", saturating_lines)
    figures = [turn.figure for turn in turns]
    figure = median(figures)
    row = BenchRow(
        name="durable conversions/s on one core, NDJSON, appendfsync always",
        target=str(budgets.CONVERSION_LINES),
        figure=f"{figure:,.0f}/s",
        verdict=judge(budgets.CONVERSION_LINES.allows(figure), all_problems(turns)),
        detail=(f"LinkJolt {describe_spread(figures, '/s')}", *describe_turns(turns)),
    )
    return [row]


LINE_BENCHES = (Bench("lines", "conversions, many a POST", frozenset(), measure_lines),)
