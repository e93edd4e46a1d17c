"""The edge's budgets: LinkJolt beside nginx, nginx+Lua and Starlette, in alternating pairs."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from loadtests.bench.linkjolt_peer import EDGE, EDGE_CONVERSIONS
from loadtests.bench.loads import all_clicks, all_conversions, steady_clicks
from loadtests.bench.nginx import BARE, LUA
from loadtests.bench.peer import Peer, Serving
from loadtests.bench.plan import Bench, Plan
from loadtests.bench.rows import Pair, Row, judged, middle, ratio_of, spread
from loadtests.bench.starlette_peer import STARLETTE
from loadtests.bench.turn import Load, Turn, take_turn

_P99_MAX_MS = 5.0
_CONVERSIONS_MIN = 15_000


def alternate(
    plan: Plan, peers: Sequence[Peer], appendfsync: str, load: Callable[[Plan, Serving], Load]
) -> list[list[Turn]]:
    """ABAB: each peer's turns, in the order of the peers."""
    rounds = [
        [take_turn(plan, peer, appendfsync, load) for peer in peers] for _ in range(plan.pairs)
    ]
    return [list(turns) for turns in zip(*rounds, strict=True)]


def described(turns: Sequence[Turn]) -> list[str]:
    """A line for each turn, its problems below it."""
    return [line for turn in turns for line in (f"{turn.peer}: {turn.says}", *turn.problems)]


def problems_of(turns: Sequence[Turn]) -> list[str]:
    return [problem for turn in turns for problem in turn.problems]


def pairs_of(ours: Sequence[Turn], theirs: Sequence[Turn]) -> list[Pair]:
    return [Pair(a.figure, b.figure) for a, b in zip(ours, theirs, strict=True)]


def clicks_against(plan: Plan, peer: Peer, appendfsync: str, at_least: float) -> list[Row]:
    """One row; without a budget (0) it is only shown."""
    ours, theirs = alternate(plan, [EDGE, peer], appendfsync, all_clicks)
    pairs = pairs_of(ours, theirs)
    ratio = ratio_of(pairs)
    problems = problems_of([*ours, *theirs])
    verdict = judged(ratio >= at_least, problems)
    row = Row(
        name=f"durable clicks/s against {peer.name}, appendfsync {appendfsync}",
        target=f">= {at_least:g}x" if at_least else "none",
        figure=f"{ratio:.2f}x" + (", disqualified or in error" if problems else ""),
        verdict="shown" if not at_least and verdict == "pass" else verdict,
        detail=(
            f"LinkJolt {spread([turn.figure for turn in ours], '/s')}",
            f"{peer.name} {spread([turn.figure for turn in theirs], '/s')}",
            "ratios of the pairs: " + ", ".join(f"{pair.ratio:.2f}" for pair in pairs),
            *(line for both in zip(ours, theirs, strict=True) for line in described(both)),
        ),
    )
    return [row]


def conversions(plan: Plan) -> list[Row]:
    """Single posts, each an order of its own."""
    (turns,) = alternate(plan, [EDGE_CONVERSIONS], "always", all_conversions)
    figures = [turn.figure for turn in turns]
    figure = middle(figures)
    row = Row(
        name="durable conversions/s on one core, single POSTs, appendfsync always",
        target=f">= {_CONVERSIONS_MIN:,}/s",
        figure=f"{figure:,.0f}/s",
        verdict=judged(figure >= _CONVERSIONS_MIN, problems_of(turns)),
        detail=(f"LinkJolt {spread(figures, '/s')}", *described(turns)),
    )
    return [row]


class _Round(NamedTuple):
    """Saturations, then steady loads: ours at half of our own, both at half of the slower one's.

    A machine's speed changes within minutes, so each round has its own. The load of `half` is put
    on bare nginx, too: what it shows is the machine's and the client's.
    """

    tops: list[Turn]
    half: Turn
    control: Turn
    ours: Turn
    theirs: Turn


def latency(plan: Plan) -> list[Row]:
    """At half of LinkJolt's saturation; beside nginx+Lua at half of the slower one's."""
    rounds = [_latency_round(plan) for _ in range(plan.pairs)]
    return [_half_row(rounds), _compared_row(rounds)]


def _latency_round(plan: Plan) -> _Round:
    tops = [take_turn(plan, peer, "always", all_clicks) for peer in (EDGE, LUA)]
    common = partial(steady_clicks, per_second=min(top.figure for top in tops) / 2)
    half = partial(steady_clicks, per_second=tops[0].figure / 2)
    return _Round(
        tops,
        take_turn(plan, EDGE, "always", half),
        take_turn(plan, BARE, "always", half),
        take_turn(plan, EDGE, "always", common),
        take_turn(plan, LUA, "always", common),
    )


def _half_row(rounds: Sequence[_Round]) -> Row:
    figures = [each.half.figure for each in rounds]
    turns = [turn for each in rounds for turn in (each.tops[0], each.half, each.control)]
    control = [each.control.figure for each in rounds]
    p99 = middle(figures)
    return Row(
        name="p99 of a redirect at half of saturation, appendfsync always",
        target=f"<= {_P99_MAX_MS:g} ms",
        figure=f"{p99:.2f} ms",
        verdict=judged(p99 <= _P99_MAX_MS, problems_of(turns)),
        detail=(
            f"LinkJolt {spread(figures, ' ms', 2)}",
            f"bare nginx under the same load {spread(control, ' ms', 2)}",
            *described(turns),
        ),
    )


def _compared_row(rounds: Sequence[_Round]) -> Row:
    ours, theirs = [each.ours for each in rounds], [each.theirs for each in rounds]
    ratio = ratio_of(pairs_of(ours, theirs))
    return Row(
        name="p99 of a redirect against nginx+Lua, both at half of the slower one's saturation",
        target="<= 1x",
        figure=f"{ratio:.2f}x",
        verdict=judged(ratio <= 1, problems_of([*ours, *theirs])),
        detail=(
            f"LinkJolt {spread([turn.figure for turn in ours], ' ms', 2)}",
            f"nginx+Lua {spread([turn.figure for turn in theirs], ' ms', 2)}",
            *(line for both in zip(ours, theirs, strict=True) for line in described(both)),
        ),
    )


def _against(peer: Peer, appendfsync: str, at_least: float) -> Callable[[Plan], list[Row]]:
    return partial(clicks_against, peer=peer, appendfsync=appendfsync, at_least=at_least)


_WRK = frozenset({"wrk"})
_NGINX = _WRK | {"nginx"}
_LUA = _NGINX | {"nginx+Lua"}
EDGE_BENCHES = (
    Bench("lua", "clicks beside nginx+Lua, on disk", _LUA, _against(LUA, "always", 2)),
    Bench("everysec", "the same without fsync", _LUA, _against(LUA, "everysec", 2.5)),
    Bench("bare", "clicks beside bare nginx", _NGINX, _against(BARE, "always", 0.4)),
    Bench("starlette", "clicks beside Starlette", _WRK, _against(STARLETTE, "always", 0)),
    Bench("latency", "how long a redirect takes", _LUA, latency),
    Bench("conversions", "conversions, one a POST", _WRK, conversions),
)
