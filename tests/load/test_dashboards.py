"""A small load of dashboards sees the stored events and judges every figure by its budget."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from loadtests.dashboards import REFRESH_SECONDS, DashboardFigures, table
from loadtests.live_reader import FeedCounts, listen
from tests.chaos.environment import ROOT, plain_environ


@pytest.mark.long
def test_a_few_dashboards_see_what_is_stored_and_the_figures_are_printed() -> None:
    sizes = ["--dashboards", "3", "--clicks-per-second", "50", "--seconds", "6"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loadtests.dashboards", *sizes],
        env=plain_environ() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "3 dashboards, 50 clicks/s, 6 s"
    assert {"API, p99", "age of data at a live tick, p99", "end over middle"} <= set(by_name(lines))
    assert ", 0 failed" in by_name(lines)["reports"]
    assert lines[-2:] == ["clicks by status: {302: 300}", "audit: clean"]


def test_a_dashboard_under_load_asks_as_often_as_a_real_one() -> None:
    text = (ROOT / "reports/dashboard/frame/frame.js").read_text()
    assert f"const REFRESH_MS = {REFRESH_SECONDS * 1000:_.0f};" in text


def test_a_figure_beyond_its_budget_is_marked_as_failed() -> None:
    seen = DashboardFigures(
        report_seconds=[0.01, 0.2],
        report_ages=[0.5, 1.6],
        tick_ages=[0.5, 0.6],
        feeds=[FeedCounts(ticks=10), FeedCounts(ticks=20)],
        resident_mb=[100, 110, 120],
    )
    figures = by_name(table(seen, 5).splitlines())
    assert figures["API, p99"].split() == ["200", "ms", "150", "ms", "FAIL"]
    assert figures["age of data of a report, p99"].endswith("FAIL")
    assert figures["age of data at a live tick, p99"].endswith("PASS")
    assert figures["resident at start, middle, end"] == "100, 110, 120 MB"
    assert figures["end over middle"].endswith("PASS")
    assert figures["ticks a dashboard and second"] == "2.00 to 4.00"


def test_memory_that_grows_on_is_beyond_its_budget_and_a_feed_without_ticks_too() -> None:
    seen = DashboardFigures(
        report_seconds=[0.1], report_ages=[1], feeds=[FeedCounts()], resident_mb=[100, 100, 151]
    )
    figures = by_name(table(seen, 5).splitlines())
    assert figures["end over middle"].endswith("FAIL")
    assert figures["age of data at a live tick, p99"].endswith("FAIL")


async def test_events_are_counted_whole_however_their_bytes_are_cut() -> None:
    tick = f'event: tick\nid: 1-a\ndata: {{"data_as_of":"{datetime.now(UTC).isoformat()}"}}\n\n'
    body = ("event: click\ndata: {}\n\n" * 3 + tick) * 2
    answer = f"HTTP/1.1 200 OK\r\n\r\n{body}".encode()
    feed, ages = await listen_to(answer)
    assert (feed.ticks, feed.events, len(ages)) == (2, 6, 2)
    assert all(0 <= age < 60 for age in ages)
    assert feed.error == "after HTTP/1.1 200 OK"


async def test_a_refused_feed_reports_the_answer() -> None:
    feed, _ = await listen_to(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    assert feed.error == "after HTTP/1.1 503 Service Unavailable"


async def listen_to(answer: bytes) -> tuple[FeedCounts, list[float]]:
    """Listens to an answer that is sent a few bytes at a time; returns the counts and ages."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(0, len(answer), 7):
            writer.write(answer[at : at + 7])
            await writer.drain()
            await asyncio.sleep(0)
        writer.close()

    feed, ages = FeedCounts(), list[float]()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        await listen(f"http://127.0.0.1:{port}", "key", feed, ages)
    return feed, ages


def by_name(lines: list[str]) -> dict[str, str]:
    """Maps the name of each line to the rest of the line."""
    found = (line.partition("  ") for line in lines)
    return {name: rest.strip() for name, _, rest in found}
