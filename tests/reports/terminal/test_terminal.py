"""`linkjolt report` and `linkjolt top` print the answers of a served reports listener."""

import asyncio
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import httpx2
import msgspec
import pytest
from click.testing import CliRunner, Result

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.runtime.demo_file import Demo
from linkjolt.runtime.instance import Pids, Run, hold, write_run
from linkjolt.storage.clickhouse import ClickHouse
from reports.live.events import SecondCounts, Tick, sse
from reports.terminal import text as terminal
from reports.terminal.commands import report, top
from tests.aggregator.rollups.sample import make_sample, store
from tests.reports.live import test_live
from tests.reports.live.test_live import Listening, put

listening = test_live.listening
END = datetime(2026, 11, 10, tzinfo=UTC)
PERIOD = ("--from", "2026-11-07", "--to", "2026-11-10")
NOW = datetime(2026, 11, 10, 12, 0, 30, 400_000, tzinfo=UTC)
NOON = int(datetime(2026, 11, 10, 12, tzinfo=UTC).timestamp())


async def run(command: click.Command, *words: str, key: str | None = "a-secret") -> Result:
    """Runs a command in a thread; the server answers from this loop meanwhile."""
    env = {"LINKJOLT_KEY": key, "LINKJOLT_DATA": None}
    result = await asyncio.to_thread(CliRunner().invoke, command, words, env=env)
    assert key is None or key not in result.output
    return result


async def ask(listening: Listening, command: click.Command, *words: str) -> Result:
    return await run(command, "--url", listening.url, *words, key=listening.secret)


async def answered(listening: Listening, **parameters: str) -> httpx2.Response:
    period = {"from": "2026-11-07", "to": "2026-11-10"}
    async with httpx2.AsyncClient(headers=listening.head()) as http:
        return await http.get(f"{listening.url}/v1/reports", params=period | parameters)


def answer(data: list[dict[str, Any]], totals: dict[str, Any]) -> terminal.JsonObject:
    meta = {
        **{"from": "2026-11-09T00:00:00Z", "to": "2026-11-10T00:00:00Z", "timezone": "UTC"},
        **{"data_as_of": "2026-11-10T00:00:00Z", "source": "raw", "incomplete": True},
    }
    return {"data": data, "totals": totals, "next_cursor": "more", "meta": meta}


def tick(*seconds: tuple[int, int, int, int], as_of: datetime | None = None) -> Tick:
    return Tick(as_of, NOW, [SecondCounts(*one) for one in seconds], 0, 0)


def after(board: terminal.TopState, name: str, told: object) -> terminal.TopState:
    return terminal.apply_event(board, name, msgspec.json.encode(told).decode())


@pytest.fixture
async def stored(clickhouse: ClickHouse, mirror: RegistryMirror) -> None:
    await store(clickhouse, make_sample(71, END - timedelta(days=3), END, 300, 40))


@pytest.mark.usefixtures("stored")
async def test_a_report_is_an_aligned_table_with_its_totals(listening: Listening) -> None:
    wanted = {"group_by": "campaign", "metrics": "clicks,revenue", "currency": "USD,"}
    words = ("--group-by", "campaign", "--metrics", "clicks,revenue", "--filter", "currency=USD,")
    result = await ask(listening, report, *PERIOD, *words)
    period, header, *rows, totals, last = result.output.splitlines()
    found = (await answered(listening, **wanted)).json()
    assert period == "from 2026-11-07 00:00:00+00:00 to 2026-11-10 00:00:00+00:00, UTC"
    assert header.split() == ["campaign", "campaign_name", "clicks", "revenue", "currency"]
    assert [line.split()[:3] for line in rows] == [
        [row["campaign"] or "-", row["campaign_name"] or "-", str(row["clicks"])]
        for row in found["data"]
    ]
    assert totals.split()[:3] == ["total", "-", str(found["totals"]["clicks"])]
    ends = [header.index(name) + len(name) for name in ("clicks", "revenue")]
    for line in (*rows, totals):
        # Amounts keep their cents, and numbers end under their name.
        assert line.split()[3][-3] == "."
        assert all(line[end - 1].isdigit() and line[end] == " " for end in ends)
    assert last == "data_as_of not known, source rollup"


@pytest.mark.usefixtures("stored")
async def test_the_period_is_printed_in_the_time_zone_of_the_report(listening: Listening) -> None:
    words = ("--from", "2026-10-24", "--to", "2026-10-26T12:30:00Z", "--timezone", "Europe/Berlin")
    result = await ask(listening, report, *words)
    first, *_ = result.output.splitlines()
    # The clocks of Berlin go back in between.
    begin, end = "2026-10-24 00:00:00+02:00", "2026-10-26 13:30:00+01:00"
    assert first == f"from {begin} to {end}, Europe/Berlin"


@pytest.mark.usefixtures("stored")
async def test_csv_goes_to_a_file_as_it_is_answered(listening: Listening, tmp_path: Path) -> None:
    words = (*PERIOD, "--group-by", "country", "--csv")
    result = await ask(listening, report, *words, str(tmp_path / "report.csv"))
    assert (result.exit_code, result.output) == (0, "")
    found = await answered(listening, group_by="country", format="csv")
    assert found.text.startswith('"country","clicks",')
    assert (tmp_path / "report.csv").read_bytes() == found.content
    # Without a file's name it goes to standard output.
    assert (await ask(listening, report, *words)).stdout_bytes == found.content


async def test_a_refusal_is_one_line_that_says_why(listening: Listening, tmp_path: Path) -> None:
    path = tmp_path / "report.csv"
    for result, said in (
        (await ask(listening, report, "--group-by=planet"), "invalid_field: group_by: 'planet'"),
        (await ask(listening, report, "--limit=0", f"--csv={path}"), "invalid_field: limit: must"),
        (await run(report, "--url", listening.url), "unauthorized: "),
        (await run(top, "--url", listening.url), "unauthorized: "),
    ):
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert result.output.startswith(f"Error: {said}")
    assert not path.exists()


async def test_a_filter_without_values_is_refused() -> None:
    result = await run(report, "--url", "http://127.0.0.1:1", "--filter", "country")
    assert (result.exit_code, "must be NAME=VALUES" in result.output) == (2, True)


@pytest.mark.parametrize("command", [report, top])
async def test_no_complaint_tells_a_secret(command: click.Command, tmp_path: Path) -> None:
    url, data = ("--url", "http://u:hidden@127.0.0.1:1"), ("--data", str(tmp_path))
    for result, said in (
        (await run(command, *url, *data, key=None), "make one by `linkjolt keys create`"),
        (await run(command, *url), "Error: http://***@127.0.0.1:1"),
        (await run(command, *data), "start `linkjolt up` or give --url"),
        (await run(command, *url, key="hidden\nhidden"), "no API key"),
        (await run(command, "--url", "http://u:hid:den@[:x"), "such as http://127"),
    ):
        assert (result.exit_code, result.output.count("\n")) == (1, 1)
        assert said in result.output
        assert "hid" not in result.output


async def test_what_runs_is_asked_by_the_demo_key(listening: Listening, tmp_path: Path) -> None:
    (tmp_path / "demo.json").write_bytes(msgspec.json.encode(Demo("tc", listening.secret, 1)))
    words = ("--data", str(tmp_path), "--metrics", "clicks", "--compare", "previous")
    with hold(str(tmp_path)):
        write_run(str(tmp_path), Run("", listening.url, "", "", Pids(1, None, 1, [])))
        result = await run(report, *words, key=None)
    assert listening.secret not in result.output
    assert [line.split() for line in result.output.splitlines()[1:-1]] == [
        ["clicks", "previous_clicks"],
        ["total", "0", "0"],
    ]


async def test_top_once_shows_counters_and_the_last_events(
    listening: Listening, clickhouse: ClickHouse, mirror: RegistryMirror
) -> None:
    end = datetime.now(UTC) - timedelta(seconds=2)
    sample = make_sample(72, end - timedelta(seconds=5), end, 30, 4)
    for row in sample.conversions:
        row.kind, row.attribution = "created", "click"
    await put(clickhouse, sample)
    result = await ask(listening, top, "--once")
    head, clicks, conversions, others, bars, *events = result.output.splitlines()
    assert head.endswith(" UTC  data_as_of not known")
    ours = [row for row in sample.clicks if row.account == 7]
    counted = sum(row.verdict in ("human", "duplicate") for row in ours)
    assert clicks.endswith(f"  {counted / 60:.1f} (60 s)")
    assert conversions.endswith(f"  {4 / 60:.1f} (60 s)")
    assert others.endswith(f"  {(len(ours) - counted) / 60:.1f} (60 s)")
    assert (len(bars), "█" in bars) == (60, True)
    last = sorted(row.time for row in (*ours, *sample.conversions))[:-11:-1]
    times = [datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S") for at in last]
    assert [line.split()[0] for line in events] == times


async def test_top_goes_on_where_a_connection_broke() -> None:
    # The first event of a connection tells again what was counted before.
    hello = sse("hello", tick((NOON + 25, 30, 0, 6)), "0-a")
    click_told = {"time": "2026-11-10T12:00:26.5Z", "verdict": "human", "link": "tc_1"}
    more = sse("click", click_told) + sse("tick", tick((NOON + 26, 30, 0, 0)), "0-c")
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9999\r\n"
    head += b"Set-Cookie: a=b; Path=/\r\n\r\n"
    answers = [head + b"retry: 1\n\n" + hello, b"HTTP/1.1 503 \r\n\r\n", head + hello + more]
    asked: list[bytes] = []

    async def live(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answers[len(asked) - 1])
        writer.close()

    async with await asyncio.start_server(live, "127.0.0.1", 0) as served:
        url = f"http://127.0.0.1:{served.sockets[0].getsockname()[1]}"
        result = await run(top, "--url", url, "--once")
    assert [b"\r\nlast-event-id: 0-a\r\n" in one.lower() for one in asked] == [False, True, True]
    assert not [one for one in asked if b"cookie" in one.lower()]
    assert result.stderr.count("trying again: ") == 2
    assert "clicks/s  6.0 (10 s)  1.0 (60 s)" in result.stdout
    assert "conversions/s  0.6 (10 s)  0.1 (60 s)" in result.stdout
    assert result.stdout.endswith("\n12:00:26  click  human  tc_1\n")


# A shell ignores Ctrl-C for what it runs in the background, and so would all its children.
_TOP = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from reports.terminal.commands import top
top()
"""


@pytest.mark.parametrize("tty", [True, False])
async def test_ctrl_c_ends_top_and_pipes_get_no_escapes(listening: Listening, tty: bool) -> None:
    reader, writer = os.openpty() if tty else os.pipe()
    words = (sys.executable, "-c", _TOP)
    env = os.environ | {"LINKJOLT_KEY": listening.secret}
    process = await asyncio.create_subprocess_exec(
        *words, "--url", listening.url, stdout=writer, stderr=asyncio.subprocess.PIPE, env=env
    )
    os.close(writer)
    shown = b""
    while shown.count(b"\x1b[J" if tty else b"\n") < 2:
        shown += await asyncio.to_thread(os.read, reader, 65_536)
    process.send_signal(signal.SIGINT)
    _, complaint = await process.communicate()
    os.close(reader)
    assert (process.returncode, complaint) == (0, b"")
    assert (shown.count(b"\x1b[H") >= 2, b"\x1b" in shown) == (tty, tty)
    assert shown.count(b"bots and others/s  0.0 (10 s)  0.0 (60 s)") >= 2


def test_a_table_says_what_its_numbers_do_not_hold() -> None:
    rows = [{"currency": "USD", "revenue": Decimal("2.50")}, {"currency": "JPY", "revenue": 300}]
    totals = {"revenue": None, "currency": None, "currencies": ["JPY", "USD"]}
    _, *lines, last = terminal.format_table(answer(rows, totals)).splitlines()
    assert lines == [
        "       currency  revenue  currencies",
        "       USD          2.50  -",
        "       JPY           300  -",
        "total  -               -  JPY USD",
    ]
    assert last.startswith("data_as_of 2026-11-10T00:00:00Z, source raw, INCOMPLETE, more rows")


def test_what_a_visitor_wrote_moves_no_cursor() -> None:
    evil = {"time": "2026-11-10T12:00:26Z", "referrer_host": "\x1b[2Jblog\r\n\x9b1m\u202e"}
    row = terminal.format_table(answer([evil], {"clicks": 1})).splitlines()[2]
    for text in (row, *after(terminal.TopState(), "click", evil).events):
        assert "blog" in text
        assert text.isprintable()


def test_rates_are_of_seconds_that_are_over() -> None:
    board = after(terminal.TopState(), "hello", tick((NOON - 31, 60, 0, 0), (NOON + 19, 3, 0, 1)))
    board = after(board, "tick", tick((NOON + 20, 20, 5, 0), (NOON + 30, 50, 0, 0)))
    board = after(board, "tick", tick((NOON + 20, 1, 0, 0), as_of=NOW - timedelta(seconds=1.5)))
    assert terminal.render_top(board) == [
        "12:00:30 UTC  data_as_of 1.5 s old",
        "clicks/s  2.1 (10 s)  0.4 (60 s)",
        "conversions/s  0.0 (10 s)  0.0 (60 s)",
        "bots and others/s  0.5 (10 s)  0.1 (60 s)",
        "▁" * 49 + "▂█" + "▁" * 9,
    ]
