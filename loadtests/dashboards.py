"""Measures speed and freshness of fifty dashboards on one reports process under clicks.

`python -m loadtests.dashboards [--dashboards 50] [--clicks-per-second 3000] [--seconds 60]` starts
an instance of its own. Each dashboard listens to the live feed and requests the overview's reports
every ten seconds. Exits with 0 whatever the verdicts, and with 1 if something broke: a request
failed, a feed ended, or the audit is not clean.
"""

import asyncio
import math
import multiprocessing
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import httpx2
import uvloop

from loadtests.chaos_instance import Instance, RunFailed, wait_for
from loadtests.clicker import Tally, percentile
from loadtests.clicker import click_steadily as send_clicks
from loadtests.freshness import Probe
from loadtests.live_reader import FeedCounts, age_seconds, listen

REFRESH_SECONDS = 10.0
_API_P99_MAX_SECONDS = 0.150
_AGE_P99_MAX_SECONDS = 1.5
_GROWTH_MAX = 1.5
_LINKS = 4
_SERIES = {
    "from": "24h",
    "interval": "hour",
    "compare": "previous",
    "metrics": "clicks,unique_clicks,conversions,cr,revenue,commission,epc,aov",
}
_TOPS = {
    "from": "24h",
    "dimensions": "link,affiliate,campaign,country,referrer_host,device",
    "metrics": "clicks,conversions,revenue",
    "limit": "8",
}
_OVERVIEW = (("/v1/reports", _SERIES), ("/v1/reports/top", _TOPS))


@dataclass
class DashboardFigures:
    """Figures of all dashboards: seconds of reports, ages of data in seconds, feeds, memory."""

    report_seconds: list[float] = field(default_factory=list[float])
    report_ages: list[float] = field(default_factory=list[float])
    tick_ages: list[float] = field(default_factory=list[float])
    feeds: list[FeedCounts] = field(default_factory=list[FeedCounts])
    resident_mb: list[float] = field(default_factory=list[float])
    reports_failed: int = 0


async def _refresh_overview(
    client: httpx2.AsyncClient, figures: DashboardFigures, after: float, until: float
) -> None:
    """Requests the overview every ten seconds, for the first time `after` seconds from now."""
    await asyncio.sleep(after)
    while (began := time.monotonic()) < until:
        await asyncio.gather(*(_request_report(client, figures, *query) for query in _OVERVIEW))
        await asyncio.sleep(max(0.0, began + REFRESH_SECONDS - time.monotonic()))


async def _request_report(
    client: httpx2.AsyncClient, figures: DashboardFigures, path: str, query: dict[str, str]
) -> None:
    began, answer = time.perf_counter(), None
    with suppress(httpx2.HTTPError):
        answer = await client.get(path, params=query)
    figures.report_seconds.append(time.perf_counter() - began)
    if answer is None or answer.status_code != 200:
        figures.reports_failed += 1
        return
    figures.report_ages.append(age_seconds(answer.json()["meta"]["data_as_of"]))


async def _watch_memory(pid: int, figures: DashboardFigures) -> None:
    while True:
        figures.resident_mb.append(_resident_mb(pid))
        await asyncio.sleep(1)


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if "VmRSS" in line) / 1024


async def open_dashboards(instance: Instance, count: int, seconds: float) -> DashboardFigures:
    """Opens `count` dashboards for some seconds, their overviews spread over a refresh."""
    until = time.monotonic() + seconds
    url, key = instance.reports_url, instance.key
    figures = DashboardFigures(feeds=[FeedCounts() for _ in range(count)])
    headers = {"Authorization": f"Bearer {key}"}
    warehouse_pid = instance.pids().warehouse
    assert warehouse_pid is not None
    limits = httpx2.Limits(max_connections=count * len(_OVERVIEW))
    async with (
        httpx2.AsyncClient(base_url=url, headers=headers, timeout=30, limits=limits) as client,
        asyncio.TaskGroup() as tasks,
    ):
        background = [tasks.create_task(_watch_memory(warehouse_pid, figures))]
        for number, feed in enumerate(figures.feeds):
            ages = None if number else figures.tick_ages
            background.append(tasks.create_task(listen(url, key, feed, ages)))
        gap = min(REFRESH_SECONDS, seconds / 2) / count
        await asyncio.gather(
            *(_refresh_overview(client, figures, gap * n, until) for n in range(count))
        )
        for task in background:
            task.cancel()
    return figures


def drive_clicks(urls: list[str], per_second: float, seconds: float) -> Counter[int]:
    """Sends clicks at a steady rate, in a process of its own; returns counts by status."""

    async def click_all() -> list[Tally]:
        each = per_second / len(urls), seconds, 64 // len(urls)
        # A dead edge answers nothing, and the requests that are due would never end.
        async with asyncio.timeout(seconds + 60):
            return await asyncio.gather(*(send_clicks(url, *each) for url in urls))

    tallies = uvloop.run(click_all())
    return Counter(status for tally in tallies for _, _, status in tally.answers)


def table(figures: DashboardFigures, seconds: float) -> str:
    """Formats figures, budgets and verdicts, one per line."""
    start, middle, end = (figures.resident_mb[at] for at in (0, len(figures.resident_mb) // 2, -1))
    growth = end / middle
    ticks = [feed.ticks / seconds for feed in figures.feeds]
    lines = [
        *_percentile_lines("API", figures.report_seconds, _API_P99_MAX_SECONDS),
        *_percentile_lines("age of data at a live tick", figures.tick_ages, _AGE_P99_MAX_SECONDS),
        *_percentile_lines("age of data of a report", figures.report_ages, _AGE_P99_MAX_SECONDS),
        ("resident at start, middle, end", f"{start:.0f}, {middle:.0f}, {end:.0f} MB", "", ""),
        ("end over middle", f"{growth:.2f}", f"{_GROWTH_MAX}", _verdict(growth, _GROWTH_MAX)),
        (
            "reports",
            f"{len(figures.report_seconds)}, {figures.reports_failed} failed",
            "0",
            _verdict(figures.reports_failed, 0),
        ),
        ("ticks a dashboard and second", f"{min(ticks):.2f} to {max(ticks):.2f}", "", ""),
        ("events a dashboard", f"{sum(f.events for f in figures.feeds) / len(ticks):.0f}", "", ""),
    ]
    return "\n".join(
        f"{name:30} {figure:>20} {limit:>8}  {verdict}" for name, figure, limit, verdict in lines
    )


def _percentile_lines(
    name: str, seconds: list[float], limit: float
) -> list[tuple[str, str, str, str]]:
    shown = seconds or [math.nan]
    p50, p99 = percentile(shown, 0.5), percentile(shown, 0.99)
    return [
        (f"{name}, p50", f"{p50 * 1000:.0f} ms", "", ""),
        (f"{name}, p99", f"{p99 * 1000:.0f} ms", f"{limit * 1000:.0f} ms", _verdict(p99, limit)),
    ]


def _verdict(figure: float, limit: float) -> str:
    return "PASS" if figure <= limit else "FAIL"


async def _first_click(instance: Instance) -> list[str]:
    """Creates links and clicks one, so that reports have a freshness; returns the links' URLs."""
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with (
        httpx2.AsyncClient(base_url=instance.edge_url) as edge,
        httpx2.AsyncClient(base_url=instance.reports_url, headers=headers) as reports,
    ):
        codes = await instance.make_links(_LINKS)
        await Probe(edge, reports).seconds_until_visible(codes[0])
        await wait_for("a report has a data_as_of", lambda: _is_dated(reports), 10)
    return [f"{instance.edge_url}/{code}?sub1=load" for code in codes]


async def _is_dated(reports: httpx2.AsyncClient) -> bool:
    return (await reports.get("/v1/reports")).json()["meta"]["data_as_of"] is not None


async def load(instance: Instance, count: int, rate: float, seconds: float) -> list[str]:
    """Runs the dashboards under load, prints the figures and returns the failures."""
    await instance.start()
    urls = await _first_click(instance)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        driving = asyncio.get_running_loop().run_in_executor(
            pool, drive_clicks, urls, rate, seconds
        )
        figures = await open_dashboards(instance, count, seconds)
        statuses = await driving
    audit = await instance.audit()
    await instance.stop()
    click.echo(f"{count} dashboards, {rate:g} clicks/s, {seconds:g} s\n{table(figures, seconds)}")
    click.echo(f"clicks by status: {dict(statuses)}")
    click.echo(f"audit: {'clean' if audit and audit.clean else 'NOT CLEAN'}")
    checks: dict[str, object] = {
        f"a feed ended: {feed.error}": feed.error for feed in figures.feeds
    }
    checks["reports failed"] = figures.reports_failed
    checks["clicks were not redirected"] = set(statuses) != {302}
    checks["the audit is not clean"] = not (audit and audit.clean)
    return [what for what, true in checks.items() if true]


@click.command()
@click.option("--dashboards", default=50, show_default=True, type=click.IntRange(1))
@click.option("--clicks-per-second", default=3_000.0, show_default=True)
@click.option("--seconds", default=60.0, show_default=True)
def main(dashboards: int, clicks_per_second: float, seconds: float) -> None:
    """Opens dashboards under load and prints how fast and how fresh they were."""
    with tempfile.TemporaryDirectory(prefix="dashboards-") as name:
        # All dashboards have the demo's key.
        listening = {"LINKJOLT_LIVE_CLIENTS_PER_KEY_MAX": "10000"}
        instance = Instance(Path(name, "data"), 1, listening)
        try:
            problems = uvloop.run(load(instance, dashboards, clicks_per_second, seconds))
        except (RunFailed, TimeoutError) as error:
            problems = [str(error) or "the clicks did not end"]
        finally:
            instance.end()
    click.echo("".join(f"BROKE: {problem}\n" for problem in problems), nl=False)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
