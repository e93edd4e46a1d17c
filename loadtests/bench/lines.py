"""The budget of conversions in bulk: lines of NDJSON through one edge, each durable."""

import sys

import msgspec

from loadtests.bench import traffic
from loadtests.bench.edge import alternate, described, problems_of
from loadtests.bench.lineloop import Lines
from loadtests.bench.linkjolt_peer import EDGE_CONVERSIONS
from loadtests.bench.loads import WARM_UP_SECONDS
from loadtests.bench.peer import Serving
from loadtests.bench.plan import Bench, Plan
from loadtests.bench.programs import finish
from loadtests.bench.rows import Row, judged, middle, spread
from loadtests.bench.turn import Load

_LINES_MIN = 100_000
# Enough that one body is taken in while another's answer is on its way.
_CONNECTIONS = 4


def all_lines(plan: Plan, serving: Serving) -> Load:
    """As many lines, each an order of its own, as a few connections get answered."""
    runs = [
        _run(plan, serving, seconds, prefix)
        for seconds, prefix in ((WARM_UP_SECONDS, "warm"), (plan.seconds, "order"))
    ]
    return Load(
        figure=runs[-1].per_second,
        says=runs[-1].describe(),
        answered=sum(run.taken for run in runs),
        cut=0,
        problems=tuple(problem for run in runs for problem in run.problems()),
    )


def _run(plan: Plan, serving: Serving, seconds: int, prefix: str) -> Lines:
    words = (serving.port, seconds, _CONNECTIONS, traffic.CODES[0], prefix, serving.key)
    command = [sys.executable, "-P", "-m", "loadtests.bench.lineloop", *map(str, words)]
    return msgspec.json.decode(finish(command, plan.cores.load, seconds + 60), type=Lines)


def lines(plan: Plan) -> list[Row]:
    """Bodies of 1,000 to 10,000 lines."""
    (turns,) = alternate(plan, [EDGE_CONVERSIONS], "always", all_lines)
    figures = [turn.figure for turn in turns]
    figure = middle(figures)
    row = Row(
        name="durable conversions/s on one core, NDJSON, appendfsync always",
        target=f">= {_LINES_MIN:,}/s",
        figure=f"{figure:,.0f}/s",
        verdict=judged(figure >= _LINES_MIN, problems_of(turns)),
        detail=(f"LinkJolt {spread(figures, '/s')}", *described(turns)),
    )
    return [row]


LINE_BENCHES = (Bench("lines", "conversions, many a POST", frozenset(), lines),)
