"""The loads of a turn: wrk as fast as it goes, or clicks at a steady rate."""

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from loadtests.bench import traffic, wrk
from loadtests.bench.linkjolt_peer import ask
from loadtests.bench.openloop import Timed
from loadtests.bench.peer import Serving
from loadtests.bench.plan import Failed, Plan
from loadtests.bench.programs import finish
from loadtests.bench.turn import Load

WARM_UP_SECONDS = 1


def all_clicks(plan: Plan, serving: Serving) -> Load:
    """As many clicks as 256 connections get answered."""
    _expect_redirect(serving)
    arguments = [str(traffic.write_codes(plan.folder))]
    runs = _twice(plan, serving, traffic.CLICKS_SCRIPT, arguments, arguments)
    return _saturating(runs, asked=1)


def all_conversions(plan: Plan, serving: Serving) -> Load:
    """As many conversions, each with a new order id, as 256 connections get answered."""
    script = traffic.CONVERSIONS_SCRIPT
    warm_up, measured = ([traffic.CODES[0], prefix, serving.key] for prefix in ("warm", "order"))
    return _saturating(_twice(plan, serving, script, warm_up, measured), asked=0)


def _expect_redirect(serving: Serving) -> None:
    """wrk sees errors only: that an answer is a 302 is looked at here."""
    status, _ = ask(serving.port, f"/{traffic.CODES[0]}", headers=traffic.HEADERS)
    if status != 302:
        raise Failed(f"the answer is {status} where 302 is due")


def _twice(
    plan: Plan,
    serving: Serving,
    script: Path,
    warm_up: Sequence[str],
    measured: Sequence[str],
) -> list[wrk.Measured]:
    core = plan.cores.load
    return [
        wrk.run(serving.port, WARM_UP_SECONDS, core, script, warm_up),
        wrk.run(serving.port, plan.seconds, core, script, measured),
    ]


def _saturating(runs: list[wrk.Measured], asked: int) -> Load:
    return Load(
        figure=runs[-1].per_second,
        says=f"{runs[-1].per_second:,.0f}/s",
        answered=asked + sum(run.answered for run in runs),
        # wrk hangs up at its end with a request on every connection under way.
        cut=len(runs) * traffic.CONNECTIONS,
        problems=tuple(problem for run in runs for problem in run.problems()),
    )


def steady_clicks(plan: Plan, serving: Serving, per_second: float) -> Load:
    """Clicks at a steady rate, whether answered or not; the figure is p99 in milliseconds."""
    _expect_redirect(serving)
    numbers = (serving.port, per_second, WARM_UP_SECONDS, plan.seconds, traffic.CONNECTIONS)
    command = [sys.executable, "-P", "-m", "loadtests.bench.openloop", *map(str, numbers)]
    printed = finish(command, plan.cores.load, plan.seconds + 60)
    timed = msgspec.json.decode(printed, type=Timed)
    return Load(
        figure=timed.p99_ms,
        says=f"{per_second:,.0f}/s: {timed.describe()}",
        answered=1 + timed.answered,
        cut=timed.due - timed.answered,
        problems=tuple(timed.problems()),
    )
