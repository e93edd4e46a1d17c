"""Benches the edge beside nginx, nginx+Lua and Starlette, in alternating pairs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from loadtests.bench import budgets
from loadtests.bench.budgets import Budget
from loadtests.bench.loads import saturating_clicks, saturating_conversions, steady_clicks
from loadtests.bench.peers.linkjolt_peer import EDGE, EDGE_CONVERSIONS
from loadtests.bench.peers.nginx import BARE, LUA
from loadtests.bench.peers.peer import Peer, ServedPeer
from loadtests.bench.peers.starlette_peer import STARLETTE
from loadtests.bench.plan import Bench, BenchPlan
from loadtests.bench.rows import BenchRow, FigurePair, describe_spread, judge, median, median_ratio
from loadtests.bench.turn import LoadResult, Turn, take_turn


def alternate_turns(
    plan: BenchPlan,
    peers: Sequence[Peer],
    appendfsync: str,
    load: Callable[[BenchPlan, ServedPeer], LoadResult],
) -> list[list[Turn]]:
    """Takes turns in the order ABAB; returns each peer's turns, in the order of the peers."""
    rounds = [
        [take_turn(plan, peer, appendfsync, load) for peer in peers] for _ in range(plan.pairs)
    ]
    return [list(turns) for turns in zip(*rounds, strict=True)]


def describe_turns(turns: Sequence[Turn]) -> list[str]:
    """Formats a line for each turn, followed by its problems."""
    return [line for turn in turns for line in (f"{turn.peer}: {turn.summary}", *turn.problems)]


def all_problems(turns: Sequence[Turn]) -> list[str]:
    return [problem for turn in turns for problem in turn.problems]


def figure_pairs(ours: Sequence[Turn], theirs: Sequence[Turn]) -> list[FigurePair]:
    return [FigurePair(a.figure, b.figure) for a, b in zip(ours, theirs, strict=True)]


def compare_clicks(
    plan: BenchPlan, peer: Peer, appendfsync: str, budget: Budget | None
) -> list[BenchRow]:
    """Makes one row; without a budget it is only shown."""
    ours, theirs = alternate_turns(plan, [EDGE, peer], appendfsync, saturating_clicks)
    pairs = figure_pairs(ours, theirs)
    ratio = median_ratio(pairs)
    problems = all_problems([*ours, *theirs])
    verdict = judge(budget is None or budget.allows(ratio), problems)
    row = BenchRow(
        name=f"durable clicks/s against {peer.name}, appendfsync {appendfsync}",
        target=str(budget or "none"),
        figure=f"{ratio:.2f}x" + (", disqualified or in error" if problems else ""),
        verdict="shown" if budget is None and verdict == "pass" else verdict,
        detail=(
            f"LinkJolt {describe_spread([turn.figure for turn in ours], '/s')}",
            f"{peer.name} {describe_spread([turn.figure for turn in theirs], '/s')}",
            "ratios of the pairs: " + ", ".join(f"{pair.ratio:.2f}" for pair in pairs),
            *(line for both in zip(ours, theirs, strict=True) for line in describe_turns(both)),
        ),
    )
    return [row]


def measure_conversions(plan: BenchPlan) -> list[BenchRow]:
    """Measures single posts, each with an order of its own."""
    (turns,) = alternate_turns(plan, [EDGE_CONVERSIONS], "always", saturating_conversions)
    figures = [turn.figure for turn in turns]
    figure = median(figures)
    row = BenchRow(
        name="durable conversions/s on one core, single POSTs, appendfsync always",
        target=str(budgets.CONVERSIONS),
        figure=f"{figure:,.0f}/s",
        verdict=judge(budgets.CONVERSIONS.allows(figure), all_problems(turns)),
        detail=(f"LinkJolt {describe_spread(figures, '/s')}", *describe_turns(turns)),
    )
    return [row]


class _LatencyRound(NamedTuple):
    """Saturations, then steady loads: ours at half of our own, both at half of the slower one's.

    A machine's speed changes within minutes, so each round has its own. The load of `half` is
    also put on bare nginx: its figure is the share of machine and client.
    """

    saturations: list[Turn]
    half: Turn
    control: Turn
    ours: Turn
    theirs: Turn


def measure_latency(plan: BenchPlan) -> list[BenchRow]:
    """Measures p99 at half of LinkJolt's saturation, and with nginx+Lua at half of the slower's."""
    rounds = [_measure_latency_round(plan) for _ in range(plan.pairs)]
    return [_half_row(rounds), _compared_row(rounds)]


def _measure_latency_round(plan: BenchPlan) -> _LatencyRound:
    tops = [take_turn(plan, peer, "always", saturating_clicks) for peer in (EDGE, LUA)]
    common = partial(steady_clicks, per_second=min(top.figure for top in tops) / 2)
    half = partial(steady_clicks, per_second=tops[0].figure / 2)
    return _LatencyRound(
        tops,
        take_turn(plan, EDGE, "always", half),
        take_turn(plan, BARE, "always", half),
        take_turn(plan, EDGE, "always", common),
        take_turn(plan, LUA, "always", common),
    )


def _half_row(rounds: Sequence[_LatencyRound]) -> BenchRow:
    figures = [each.half.figure for each in rounds]
    turns = [turn for each in rounds for turn in (each.saturations[0], each.half, each.control)]
    control = [each.control.figure for each in rounds]
    p99 = median(figures)
    return BenchRow(
        name="p99 of a redirect at half of saturation, appendfsync always",
        target=str(budgets.REDIRECT_P99),
        figure=f"{p99:.2f} ms",
        verdict=judge(budgets.REDIRECT_P99.allows(p99), all_problems(turns)),
        detail=(
            f"LinkJolt {describe_spread(figures, ' ms', 2)}",
            f"bare nginx under the same load {describe_spread(control, ' ms', 2)}",
            *describe_turns(turns),
        ),
    )


def _compared_row(rounds: Sequence[_LatencyRound]) -> BenchRow:
    ours, theirs = [each.ours for each in rounds], [each.theirs for each in rounds]
    ratio = median_ratio(figure_pairs(ours, theirs))
    return BenchRow(
        name="p99 of a redirect against nginx+Lua, both at half of the slower one's saturation",
        target=str(budgets.REDIRECT_P99_TO_LUA),
        figure=f"{ratio:.2f}x",
        verdict=judge(budgets.REDIRECT_P99_TO_LUA.allows(ratio), all_problems([*ours, *theirs])),
        detail=(
            f"LinkJolt {describe_spread([turn.figure for turn in ours], ' ms', 2)}",
            f"nginx+Lua {describe_spread([turn.figure for turn in theirs], ' ms', 2)}",
            *(line for both in zip(ours, theirs, strict=True) for line in describe_turns(both)),
        ),
    )


def _comparison(
    peer: Peer, appendfsync: str, budget: Budget | None
) -> Callable[[BenchPlan], list[BenchRow]]:
    return partial(compare_clicks, peer=peer, appendfsync=appendfsync, budget=budget)


_WRK = frozenset({"wrk"})
_NGINX = _WRK | {"nginx"}
_LUA = _NGINX | {"nginx+Lua"}
EDGE_BENCHES = (
    Bench(
        "lua",
        "clicks beside nginx+Lua, on disk",
        _LUA,
        _comparison(LUA, "always", budgets.CLICKS_TO_LUA),
    ),
    Bench(
        "everysec",
        "the same without fsync",
        _LUA,
        _comparison(LUA, "everysec", budgets.CLICKS_TO_LUA_EVERYSEC),
    ),
    Bench(
        "bare",
        "clicks beside bare nginx",
        _NGINX,
        _comparison(BARE, "always", budgets.CLICKS_TO_BARE_NGINX),
    ),
    Bench("starlette", "clicks beside Starlette", _WRK, _comparison(STARLETTE, "always", None)),
    Bench("latency", "latency of a redirect", _LUA, measure_latency),
    Bench("conversions", "conversions, one a POST", _WRK, measure_conversions),
)
