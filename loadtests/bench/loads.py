"""Loads a peer in a turn: by wrk up to saturation, or by clicks at a steady rate."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.bench import traffic, wrk
from loadtests.bench.openloop import ClickLatencies
from loadtests.bench.peers.linkjolt_peer import send_request
from loadtests.bench.peers.peer import ServedPeer
from loadtests.bench.plan import BenchFailed, BenchPlan
from loadtests.bench.programs import run_command
from loadtests.bench.turn import LoadResult

WARM_UP_SECONDS = 1


def saturating_clicks(plan: BenchPlan, serving: ServedPeer) -> LoadResult:
    """Clicks as fast as 256 connections are answered."""
    _expect_redirect(serving)
    arguments = [str(traffic.write_codes(plan.folder))]
    runs = _warm_up_and_measure(plan, serving, traffic.CLICKS_SCRIPT, arguments, arguments)
    return _saturating_result(runs, extra_answered=1)


def saturating_conversions(plan: BenchPlan, serving: ServedPeer) -> LoadResult:
    """Posts conversions, each with a new order id, as fast as 256 connections are answered."""
    script = traffic.CONVERSIONS_SCRIPT
    warm_up, measured = ([traffic.CODES[0], prefix, serving.key] for prefix in ("warm", "order"))
    return _saturating_result(
        _warm_up_and_measure(plan, serving, script, warm_up, measured), extra_answered=0
    )


def _expect_redirect(serving: ServedPeer) -> None:
    """Checks that an answer is a 302, as wrk only counts errors."""
    status, _ = send_request(serving.port, f"/{traffic.CODES[0]}", headers=traffic.HEADERS)
    if status != 302:
        raise BenchFailed(f"the answer is {status} where 302 is due")


def _warm_up_and_measure(
    plan: BenchPlan,
    serving: ServedPeer,
    script: Path,
    warm_up: Sequence[str],
    measured: Sequence[str],
) -> list[wrk.WrkSummary]:
    core = plan.cores.load
    return [
        wrk.run(serving.port, WARM_UP_SECONDS, core, script, warm_up),
        wrk.run(serving.port, plan.seconds, core, script, measured),
    ]


def _saturating_result(runs: list[wrk.WrkSummary], extra_answered: int) -> LoadResult:
    return LoadResult(
        figure=runs[-1].per_second,
        summary=f"{runs[-1].per_second:,.0f}/s",
        answered=extra_answered + sum(run.answered for run in runs),
        # At its end wrk closes connections with a request in flight on each.
        cut_off=len(runs) * traffic.CONNECTIONS,
        problems=tuple(problem for run in runs for problem in run.problems()),
    )


def steady_clicks(plan: BenchPlan, serving: ServedPeer, per_second: float) -> LoadResult:
    """Clicks at a steady rate, whether or not answered; the figure is p99 in milliseconds."""
    _expect_redirect(serving)
    numbers = (serving.port, per_second, WARM_UP_SECONDS, plan.seconds, traffic.CONNECTIONS)
    command = [sys.executable, "-P", "-m", "loadtests.bench.openloop", *map(str, numbers)]
    printed = run_command(command, plan.cores.load, plan.seconds + 60)
    timed = msgspec.json.decode(printed, type=ClickLatencies)
    return LoadResult(
        figure=timed.p99_ms,
        summary=f"{per_second:,.0f}/s: {timed.describe()}",
        answered=1 + timed.answered,
        cut_off=timed.due - timed.answered,
        problems=tuple(timed.problems()),
    )
