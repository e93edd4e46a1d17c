"""Stops Redis under load and checks redirects, conversions and the counts afterwards.

`python -m loadtests.outage [--seconds 30] [--rate 3000]` starts an instance of its own, stops its
Redis-protocol server with SIGSTOP in mid-load, and exits with 1 if a promise is broken: every
redirect 302, p99 at most 20 ms after the outage's first second, conversions 202, and everything
reported once within 30 s of the return.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import click
import httpx2
import uvloop

from linkjolt.runtime.demo_file import Demo
from linkjolt.runtime.instance import Run, read_run
from linkjolt.storage.redis import connect
from linkjolt.up.demo import open_demo
from loadtests.clicker import Tally, percentile
from loadtests.clicker import click_steadily as send_clicks
from loadtests.http_client import FIREFOX

_BEFORE_SECONDS = 5.0
_AFTER_SECONDS = 5.0
_CATCH_UP_SECONDS = 30.0
_P99_MAX_SECONDS = 0.020


@contextlib.contextmanager
def running_instance(data: str, **variables: str) -> Generator[Run]:
    """Runs `linkjolt up` on free ports for the duration of the block."""
    arguments = ["up", "--demo", "--data", data, "--edge-port", "0", "--reports-port", "0"]
    with open(Path(data, "up.log"), "wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "linkjolt", *arguments],
            stdout=log,
            stderr=log,
            env=os.environ | variables,
        )
    try:
        yield _wait_ready(data, child)
    finally:
        child.terminate()
        child.wait(20)


def _wait_ready(data: str, child: subprocess.Popen[bytes]) -> Run:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and child.poll() is None:
        if "A report" in Path(data, "up.log").read_text() and (run := read_run(data)):
            return run
        time.sleep(0.1)
    raise click.ClickException("linkjolt up did not start")


async def _post_orders(run: Run, demo: Demo, begin: float, end: float) -> list[int]:
    """Posts a conversion every tenth of a second from `begin` to `end`; returns the statuses."""
    headers = {"Authorization": f"Bearer {demo.key}"}
    statuses: list[int] = []
    began = time.perf_counter()
    await asyncio.sleep(begin)
    async with httpx2.AsyncClient(base_url=run.edge_url, headers=headers, timeout=20) as shop:
        while time.perf_counter() - began < end:
            order = {
                "tracking_code": demo.tracking_code,
                "order_value": 10,
                "order_id": f"order_{len(statuses)}",
            }
            statuses.append((await shop.post("/v1/conversions", json=order)).status_code)
            await asyncio.sleep(0.1)
    return statuses


async def _stop_redis(pid: int, begin: float, seconds: float) -> None:
    await asyncio.sleep(begin)
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)


async def _reported_totals(run: Run, demo: Demo) -> tuple[int, int]:
    headers = {"Authorization": f"Bearer {demo.key}"}
    async with httpx2.AsyncClient(base_url=run.reports_url, headers=headers, timeout=20) as client:
        answer = await client.get("/v1/reports", params={"link": demo.tracking_code})
    if answer.status_code != 200:
        return 0, 0
    totals = answer.json()["totals"]
    return totals["clicks"], totals["conversions"]


async def run_outage(run: Run, data: str, rate: float, seconds: float) -> bool:
    """Runs the outage and prints the figures; True if every promise held."""
    redis = connect(run.redis_url)
    demo = await open_demo(redis, data)
    await redis.aclose()
    url = f"{run.edge_url}/{demo.tracking_code}"
    redis_pid = run.pids.redis
    assert redis_pid is not None
    httpx2.get(url, headers={"User-Agent": FIREFOX})
    redis_back_seconds = _BEFORE_SECONDS + seconds
    tally, orders, _ = await asyncio.gather(
        send_clicks(url, rate, redis_back_seconds + _AFTER_SECONDS),
        _post_orders(run, demo, _BEFORE_SECONDS + 1, redis_back_seconds - 1),
        _stop_redis(redis_pid, _BEFORE_SECONDS, seconds),
    )
    expected = len(tally.answers) + 1, len(orders)
    began = time.perf_counter()
    reported = await _reported_totals(run, demo)
    while reported != expected and time.perf_counter() - began < _CATCH_UP_SECONDS:
        await asyncio.sleep(0.2)
        reported = await _reported_totals(run, demo)
    caught_up = time.perf_counter() - began + _AFTER_SECONDS
    _show(tally, orders, redis_back_seconds)
    click.echo(
        f"reported     {reported} of {expected} (clicks, conversions), {caught_up:.1f} s after"
    )
    p99 = percentile(tally.seconds(_BEFORE_SECONDS + 1, redis_back_seconds), 0.99)
    only_302 = set(tally.statuses()) == {302}
    passed = only_302 and set(orders) == {202} and p99 <= _P99_MAX_SECONDS and reported == expected
    click.echo("PASS" if passed else "FAIL")
    return passed


def _show(tally: Tally, orders: list[int], redis_back_seconds: float) -> None:
    spans = (
        ("before", 0.0, _BEFORE_SECONDS),
        ("first second", _BEFORE_SECONDS, _BEFORE_SECONDS + 1),
        ("outage", _BEFORE_SECONDS + 1, redis_back_seconds),
        ("after", redis_back_seconds, redis_back_seconds + _AFTER_SECONDS),
    )
    for name, begin, end in spans:
        took = tally.seconds(begin, end)
        shown = "  ".join(
            f"{label} {percentile(took, share) * 1000:.1f}"
            for label, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))
        )
        click.echo(f"{name:12} {len(took)} clicks, ms: {shown}")
    click.echo(f"answers      {tally.statuses()}, conversions {sorted(set(orders))}")


@click.command()
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--rate", default=3_000.0, show_default=True)
def main(seconds: float, rate: float) -> None:
    """Stops Redis under load and prints its effect on visitors."""
    with tempfile.TemporaryDirectory() as data, running_instance(data) as run:
        passed = uvloop.run(run_outage(run, data, rate, seconds))
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
