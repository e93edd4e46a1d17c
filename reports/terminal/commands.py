"""Runs `linkjolt report` and `linkjolt top`: reports and the live feed in a terminal."""

import shutil
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from http.cookiejar import CookieJar, DefaultCookiePolicy
from itertools import islice
from pathlib import Path

import click
import httpx2
import msgspec

from linkjolt.position import SEQUENCE_BITS
from linkjolt.reasons import Problem
from linkjolt.runtime.demo_file import Demo
from linkjolt.runtime.instance import read_run
from linkjolt.settings import mask
from linkjolt.web.tls import LOCAL_HEADERS, local_client_context
from reports.live.events import resume_token
from reports.terminal.text import (
    TopState,
    apply_event,
    decoder,
    format_table,
    printable,
    render_top,
)

_url_option = click.option("--url", help="Where reports are served; else by the running instance.")
_key_option = click.option(
    "--key", envvar="LINKJOLT_KEY", show_envvar=True, help="Else the demo's."
)
_data_option = click.option("--data", envvar="LINKJOLT_DATA", default="./data", show_default=True)


@click.command()
@_url_option
@_key_option
@_data_option
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
    client = _open_client(asked.pop("url"), asked.pop("key"), asked.pop("data") or "")
    query = query_parameters({**asked, "format": "json" if path is None else "csv"}, filters)
    with client, _get(client, f"/v1/reports?{query}") as answer:
        if path is None:
            click.echo(format_table(decoder.decode(answer.read())))
            return
        with click.open_file(path, "wb", lazy=True) as file:
            for part in answer.iter_bytes():
                file.write(part)


@click.command()
@_url_option
@_key_option
@_data_option
@click.option("--seconds", type=float, default=float("inf"), help="End after so many seconds.")
@click.option("--once", is_flag=True, help="Print what there is and end.")
def top(seconds: float, once: bool, url: str | None, key: str | None, data: str) -> None:
    """Watch clicks and conversions as they are stored; in a pipe, a line for each step."""
    # Ctrl-C is the usual way to end it.
    states = _follow_feed(_open_client(url, key, data), seconds)
    with suppress(KeyboardInterrupt), closing(states):
        for state in islice(states, 1 if once else None):
            _draw(render_top(state), once)


def _draw(lines: Sequence[str], once: bool) -> None:
    if once:
        click.echo("\n".join(lines))
    elif not sys.stdout.isatty():
        click.echo("  ".join(lines[:4]))
    else:
        width, height = shutil.get_terminal_size()
        shown = "".join(f"{line[:width]}\x1b[K\n" for line in lines[: height - 1])
        # Written over the former lines: clearing the screen first flickers.
        click.echo(f"\x1b[H{shown}\x1b[J", nl=False)


def _open_client(url: str | None, key: str | None, data: str) -> httpx2.Client:
    """Opens a client for the url and key, by default those of the instance under `data`."""
    run = None if url else read_run(data)
    if not (base := url or (run.reports_url if run else "")):
        raise click.ClickException(f"nothing runs under {data}: start `linkjolt up` or give --url")
    # The demo's key goes to its own instance only, whatever --url names.
    with suppress(OSError, ValueError):
        demo = Path(data, "demo.json") if run else Path()
        key = key or msgspec.json.decode(demo.read_bytes(), type=Demo).key
    # The HTTP client's own error about a key that cannot be sent would contain the key.
    if not (key and key.isascii() and key.isprintable()):
        raise click.ClickException("no API key: make one by `linkjolt keys create`, see --key")
    headers, timeout = {"Authorization": f"Bearer {key}"}, httpx2.Timeout(10, read=60)
    # The key is all that identifies this client, whatever a server would have it keep.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    try:
        return httpx2.Client(
            base_url=base,
            headers=headers | (LOCAL_HEADERS if run else {}),
            timeout=timeout,
            cookies=no_cookies,
            verify=local_client_context(run.tls_cert) if run and run.tls_cert else True,
            # An instance on this machine is not behind a proxy.
            trust_env=bool(url),
        )
    except httpx2.InvalidURL:
        raise click.ClickException("--url is none, such as http://127.0.0.1:8001") from None


@contextmanager
def _get(client: httpx2.Client, path: str, since: str = "") -> Generator[httpx2.Response]:
    """Sends a GET and yields the answer; a ClickException has one line on any failure."""
    try:
        with client.stream("GET", path, headers={"Last-Event-ID": since}) as answer:
            if answer.status_code != 200:
                raise click.ClickException(describe_problem(answer.status_code, answer.read()))
            yield answer
    except httpx2.HTTPError as error:
        message = str(error) or type(error).__name__
        raise click.ClickException(f"{mask(str(client.base_url))}: {message}") from None
    except (ValueError, KeyError):
        raise click.ClickException("that is no answer of this version of LinkJolt") from None


def _follow_feed(client: httpx2.Client, seconds: float) -> Generator[TopState]:
    """Yields the state at each tick, from a minute ago on; reconnects whenever it has to."""
    # The server ignores streams that it does not have.
    since = resume_token(dict.fromkeys(range(64), int(time.time() - 60) * 1000 << SEQUENCE_BITS))
    retry_seconds, state, ends_at = 2.0, TopState(), time.monotonic() + seconds
    with client:
        while time.monotonic() < ends_at:
            try:
                with _get(client, "/v1/live", since) as answer:
                    for event in httpx2.EventSource(answer):
                        state, since = (
                            apply_event(state, event.event, event.data),
                            event.id or since,
                        )
                        retry_seconds = retry_seconds if event.retry is None else event.retry / 1000
                        if event.event == "tick":
                            yield state
                        if time.monotonic() >= ends_at:
                            return
            except click.ClickException as error:
                if state == TopState():
                    raise
                click.echo(f"trying again: {error.message}", err=True)
            time.sleep(max(0.0, min(retry_seconds, ends_at - time.monotonic())))


def query_parameters(
    fields: Mapping[str, str | None], filters: Sequence[str]
) -> httpx2.QueryParams:
    """Builds the query of a report; UsageError for a filter without a name."""
    parts = [text.partition("=") for text in filters]
    if not all(equals for _, equals, _ in parts):
        raise click.UsageError("--filter: must be NAME=VALUES")
    present = [(name, text) for name, text in fields.items() if text is not None]
    return httpx2.QueryParams([*present, *((name, text) for name, _, text in parts)])


def describe_problem(status: int, body: bytes) -> str:
    """Describes a problem response in one line: its code, fields and detail."""
    try:
        problem = msgspec.json.decode(body, type=Problem)
    except ValueError:
        return f"the answer is {status}, and none of LinkJolt's: is --url right?"
    reasons = [f"{each.field}: {each.message}" for each in problem.errors] or [problem.detail]
    return printable(": ".join([problem.code, *reasons]))
