"""`linkjolt report` and `linkjolt top`: reports and the live feed, as text in a terminal."""

import shutil
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path

import click
import httpx2
import msgspec

from linkjolt.position import SEQUENCE_BITS
from linkjolt.reasons import Problem
from linkjolt.runtime.instance import read_run
from linkjolt.settings import mask
from linkjolt.up.demo import Demo
from reports.live.events import token
from reports.terminal.text import Board, decoder, heard, picture, plain, table

_url = click.option("--url", help="Where reports are served; else by the running instance.")
_key = click.option("--key", envvar="LINKJOLT_KEY", show_envvar=True, help="Else the demo's.")
_data = click.option("--data", envvar="LINKJOLT_DATA", default="./data", show_default=True)


@click.command()
@_url
@_key
@_data
@click.option("--from", help="A date, an instant, or today, yesterday, 24h, 7d, 30d, mtd.")
@click.option("--to", help="A date or an instant, not included.")
@click.option("--timezone", help="IANA name, such as Europe/Berlin.")
@click.option("--interval", help="minute, 15m, hour, day, week or month.")
@click.option("--group-by", help="Up to three dimensions, by comma.")
@click.option("--metrics", help="By comma.")
@click.option("--sort", help="A metric or dimension; -NAME begins at the top.")
@click.option("--limit", help="Rows at most.")
@click.option("--compare", help="With an earlier period: previous or year.")
@click.option("--filter", "filters", multiple=True, help="Such as country=US,BR. Repeatable.")
@click.option("--csv", "path", is_flag=False, flag_value="-", metavar="[FILE]", help="Write CSV.")
def report(filters: Sequence[str], path: str | None, **asked: str | None) -> None:
    """Print a report as a table, or write it as CSV."""
    client = _open(asked.pop("url"), asked.pop("key"), asked.pop("data") or "")
    query = parameters({**asked, "format": "json" if path is None else "csv"}, filters)
    with client, _ask(client, f"/v1/reports?{query}") as answer:
        if path is None:
            click.echo(table(decoder.decode(answer.read())))
            return
        with click.open_file(path, "wb", lazy=True) as file:
            for part in answer.iter_bytes():
                file.write(part)


@click.command()
@_url
@_key
@_data
@click.option("--seconds", type=float, default=float("inf"), help="End after so many seconds.")
@click.option("--once", is_flag=True, help="Print what there is and end.")
def top(seconds: float, once: bool, url: str | None, key: str | None, data: str) -> None:
    """Watch clicks and conversions as they are stored; in a pipe, a line for each step."""
    # Ctrl-C is how it is meant to end.
    with suppress(KeyboardInterrupt), closing(_hear(_open(url, key, data), seconds)) as boards:
        for board in islice(boards, 1 if once else None):
            _draw(picture(board), once)


def _draw(lines: Sequence[str], once: bool) -> None:
    if once:
        click.echo("\n".join(lines))
    elif not sys.stdout.isatty():
        click.echo("  ".join(lines[:4]))
    else:
        width, height = shutil.get_terminal_size()
        shown = "".join(f"{line[:width]}\x1b[K\n" for line in lines[: height - 1])
        # Written over what was there: a screen that is cleared first flickers.
        click.echo(f"\x1b[H{shown}\x1b[J", nl=False)


def _open(url: str | None, key: str | None, data: str) -> httpx2.Client:
    """A client of what was given, else of what runs under the data directory."""
    run = None if url else read_run(data)
    if not (base := url or (run.reports_url if run else "")):
        raise click.ClickException(f"nothing runs under {data}: start `linkjolt up` or give --url")
    # The demo's key goes to its own instance only, whatever --url names.
    with suppress(OSError, ValueError):
        demo = Path(data, "demo.json") if run else Path()
        key = key or msgspec.json.decode(demo.read_bytes(), type=Demo).key
    # The HTTP client's own complaint about a key that cannot be sent would show it.
    if not (key and key.isascii() and key.isprintable()):
        raise click.ClickException("no API key: make one by `linkjolt keys create`, see --key")
    headers, wait = {"Authorization": f"Bearer {key}"}, httpx2.Timeout(10, read=60)
    try:
        # What runs on this machine is behind no proxy.
        return httpx2.Client(base_url=base, headers=headers, timeout=wait, trust_env=bool(url))
    except httpx2.InvalidURL:
        raise click.ClickException("--url is none, such as http://127.0.0.1:8001") from None


@contextmanager
def _ask(client: httpx2.Client, path: str, since: str = "") -> Generator[httpx2.Response]:
    """An answer to be read; a ClickException says in a line why there is none."""
    try:
        with client.stream("GET", path, headers={"Last-Event-ID": since}) as answer:
            if answer.status_code != 200:
                raise click.ClickException(refusal(answer.status_code, answer.read()))
            yield answer
    except httpx2.HTTPError as error:
        said = str(error) or type(error).__name__
        raise click.ClickException(f"{mask(str(client.base_url))}: {said}") from None
    except (ValueError, KeyError):
        raise click.ClickException("that is no answer of this version of LinkJolt") from None


def _hear(client: httpx2.Client, seconds: float) -> Generator[Board]:
    """The board at each tick, over as many connections as it takes; it begins a minute ago."""
    # Streams that the server does not have are nothing to it.
    since = token(dict.fromkeys(range(64), int(time.time() - 60) * 1000 << SEQUENCE_BITS))
    wait, board, until = 2.0, Board(), time.monotonic() + seconds
    with client:
        while time.monotonic() < until:
            try:
                with _ask(client, "/v1/live", since) as answer:
                    for event in httpx2.EventSource(answer):
                        board, since = heard(board, event.event, event.data), event.id or since
                        wait = wait if event.retry is None else event.retry / 1000
                        if event.event == "tick":
                            yield board
                        if time.monotonic() >= until:
                            return
            except click.ClickException as error:
                if board == Board():
                    raise
                click.echo(f"trying again: {error.message}", err=True)
            time.sleep(max(0.0, min(wait, until - time.monotonic())))


def parameters(fields: Mapping[str, str | None], filters: Sequence[str]) -> httpx2.QueryParams:
    """The query of a report. UsageError for a filter without a name."""
    parts = [text.partition("=") for text in filters]
    if not all(equals for _, equals, _ in parts):
        raise click.UsageError("--filter: must be NAME=VALUES")
    given = [(name, text) for name, text in fields.items() if text is not None]
    return httpx2.QueryParams([*given, *((name, text) for name, _, text in parts)])


def refusal(status: int, body: bytes) -> str:
    """One line of a problem's code, field and detail."""
    try:
        said = msgspec.json.decode(body, type=Problem)
    except ValueError:
        return f"the answer is {status}, and none of LinkJolt's: is --url right?"
    return plain(": ".join([said.code, *(one.field for one in said.errors), said.detail]))
