"""Fifty dashboards open on one reports process while clicks come in: how quick, how fresh.

`python -m loadtests.dashboards [--dashboards 50] [--clicks-per-second 3000] [--seconds 60]` starts
an instance of its own. Each dashboard listens to the live feed and asks every ten seconds for what
the overview asks for. Ends with status 1 where a request failed or the audit is not clean.
"""

import asyncio
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx2
import uvloop

from linkjolt.demo import Demo, open_demo
from linkjolt.instance import Run
from linkjolt.redis_client import connect
from loadtests.clicker import click as send_clicks
from loadtests.clicker import percentile
from loadtests.http_client import FIREFOX
from loadtests.outage import instance

_REFRESH_SECONDS = 10.0
_API_P99_MAX_SECONDS = 0.150
_STALE_P99_MAX_SECONDS = 1.5
_GROWTH_MAX = 1.5
_SERIES = {
    "from": "24h",
    "interval": "hour",
    "compare": "previous",
    "metrics": "clicks,unique_clicks,conversions,cr,revenue,commission,epc,aov",
    "sort": "time",
}
_TOPS = tuple(
    {"from": "24h", "group_by": name, "metrics": "clicks,conversions,revenue", "limit": "8"}
    for name in ("link", "affiliate", "campaign", "country", "referrer_host", "device")
)


@dataclass
class Seen:
    """What all dashboards saw: seconds that reports took, how old their data was, ticks."""

    took: list[float] = field(default_factory=list[float])
    stale: list[float] = field(default_factory=list[float])
    failed: int = 0
    ticks: int = 0
    shown: int = 0
    resident_mb: list[float] = field(default_factory=list[float])


async def _look(client: httpx2.AsyncClient, seen: Seen, until: float) -> None:
    """The overview, again and again, first at a moment by chance."""
    await asyncio.sleep(random.random() * min(_REFRESH_SECONDS, (until - time.monotonic()) / 2))
    while time.monotonic() < until:
        began = time.monotonic()
        await asyncio.gather(*(_ask(client, seen, query) for query in (_SERIES, *_TOPS)))
        await asyncio.sleep(max(0.0, _REFRESH_SECONDS - (time.monotonic() - began)))


async def _ask(client: httpx2.AsyncClient, seen: Seen, query: dict[str, str]) -> None:
    began = time.perf_counter()
    answer = await client.get("/v1/reports", params=query)
    seen.took.append(time.perf_counter() - began)
    if answer.status_code != 200:
        seen.failed += 1
        return
    as_of = datetime.fromisoformat(answer.json()["meta"]["data_as_of"])
    seen.stale.append((datetime.now(UTC) - as_of).total_seconds())


async def _listen(url: str, key: str, seen: Seen) -> None:
    """The live feed, read as it comes; events are counted, not decoded."""
    host, port = urlsplit(url).hostname or "", urlsplit(url).port or 80
    reader, writer = await asyncio.open_connection(host, port)
    head = f"GET /v1/live HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n\r\n"
    writer.write(head.encode())
    try:
        while data := await reader.read(1 << 16):
            seen.ticks += data.count(b"event: tick")
            seen.shown += data.count(b"event: click")
    finally:
        writer.close()


async def _watch_memory(pid: int, seen: Seen) -> None:
    while True:
        seen.resident_mb.append(_resident_mb(pid))
        await asyncio.sleep(2)


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "VmRSS" in line) / 1024


async def open_dashboards(run: Run, demo: Demo, pid: int, count: int, seconds: float) -> Seen:
    """So many dashboards for so long; `pid` is that of the process that serves them."""
    seen = Seen()
    until = time.monotonic() + seconds
    headers = {"Authorization": f"Bearer {demo.key}"}
    limits = httpx2.Limits(max_connections=count * 7)
    async with httpx2.AsyncClient(
        base_url=run.reports_url, headers=headers, timeout=30, limits=limits
    ) as client:
        feeds = [
            asyncio.create_task(_listen(run.reports_url, demo.key, seen)) for _ in range(count)
        ]
        feeds.append(asyncio.create_task(_watch_memory(pid, seen)))
        await asyncio.gather(*(_look(client, seen, until) for _ in range(count)))
        for feed in feeds:
            feed.cancel()
        await asyncio.gather(*feeds, return_exceptions=True)
    return seen


def drive(url: str, per_second: float, seconds: float) -> None:
    """Clicks at a steady rate, in a process of its own."""
    uvloop.run(send_clicks(url, per_second, seconds))


def table(seen: Seen, count: int, seconds: float) -> str:
    """Figures, budgets and verdicts, a line each."""
    api, stale = percentile(seen.took, 0.99), percentile(seen.stale, 0.99)
    middle = max(seen.resident_mb[: len(seen.resident_mb) // 2 + 1])
    growth = seen.resident_mb[-1] / middle
    lines = [
        ("API p50", f"{percentile(seen.took, 0.5) * 1000:.0f} ms", "", ""),
        ("API p99", f"{api * 1000:.0f} ms", "150 ms", _verdict(api <= _API_P99_MAX_SECONDS)),
        ("age of data p50", f"{percentile(seen.stale, 0.5):.2f} s", "", ""),
        ("age of data p99", f"{stale:.2f} s", "1.5 s", _verdict(stale <= _STALE_P99_MAX_SECONDS)),
        (
            "resident, end over middle",
            f"{growth:.2f} ({seen.resident_mb[-1]:.0f} MB)",
            f"{_GROWTH_MAX}",
            _verdict(growth <= _GROWTH_MAX),
        ),
        ("reports", f"{len(seen.took)}, {seen.failed} failed", "", _verdict(not seen.failed)),
        ("ticks a dashboard and second", f"{seen.ticks / count / seconds:.1f}", "", ""),
        ("events shown", f"{seen.shown}", "", ""),
    ]
    return "\n".join(
        f"{name:30} {figure:>20} {most:>8}  {said}" for name, figure, most, said in lines
    )


def _verdict(kept: bool) -> str:
    return "PASS" if kept else "FAIL"


async def _demo(run: Run, data: str) -> Demo:
    async with connect(run.redis_url) as redis:
        return await open_demo(redis, data)


def _first_click(run: Run, demo: Demo, url: str) -> None:
    """Returns when it is stored: from then on reports know how fresh they are."""
    httpx2.get(url, headers={"User-Agent": FIREFOX})
    headers = {"Authorization": f"Bearer {demo.key}"}
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        answer = httpx2.get(f"{run.reports_url}/v1/reports", headers=headers).json()
        if answer["totals"]["clicks"] and answer["meta"]["data_as_of"]:
            return
        time.sleep(0.1)
    raise click.ClickException("the first click was not stored within 20 s")


@click.command()
@click.option("--dashboards", default=50, show_default=True)
@click.option("--clicks-per-second", default=3_000.0, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(dashboards: int, clicks_per_second: float, seconds: float) -> None:
    """Opens dashboards under load and tells how quick and how fresh they were."""
    with tempfile.TemporaryDirectory() as data, instance(data) as run:
        demo = uvloop.run(_demo(run, data))
        url = f"{run.edge_url}/{demo.tracking_code}?sub1=dashboards"
        _first_click(run, demo, url)
        spawn = multiprocessing.get_context("spawn")
        clicks = spawn.Process(target=drive, args=(url, clicks_per_second, seconds))
        clicks.start()
        pid = run.pids.warehouse
        seen = uvloop.run(open_dashboards(run, demo, pid, dashboards, seconds))
        clicks.join(60)
        audit = subprocess.run(
            [sys.executable, "-m", "linkjolt", "audit", "--data", data],
            capture_output=True,
            text=True,
            check=False,
        )
    click.echo(f"{dashboards} dashboards, {clicks_per_second:g} clicks/s, {seconds:g} s")
    click.echo(table(seen, dashboards, seconds))
    click.echo(f"audit: {audit.stdout.strip().splitlines()[-1]}")
    sys.exit(1 if seen.failed or audit.returncode else 0)


if __name__ == "__main__":
    main()
