"""Implements `linkjolt replay`: sends the requests of a web server's log to an edge as clicks."""

import asyncio
import re
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import blake2s
from typing import TypeVar
from urllib.parse import quote

import click
import msgspec

from ingest.replay.access_log import LoggedRequest, MalformedLine, read_line
from ingest.replay.client import EdgeAddress, ReplayTally, is_reachable, send_all
from linkjolt.auth.audit_sources import source_of_command
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.money import Percentage
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import URL_MAX_CHARACTERS
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.instance import find_redis_url, read_run
from linkjolt.runtime.lifecycle import run
from linkjolt.settings import SharedSettings, load
from linkjolt.storage.redis import RedisError, connect
from linkjolt.web.tls import local_client_context

NAME = "Replay"
DESTINATION = "https://replay.example"
_SHOWN_MALFORMED_MAX = 5
NamedEntry = TypeVar("NamedEntry", Campaign, Affiliate)


class LogSurvey(msgspec.Struct):
    """Counts from a first reading of a log; `malformed` holds the first few line numbers."""

    lines: int = 0
    requests: int = 0
    paths: dict[str, None] = {}
    malformed: list[tuple[int, str]] = []


def read_log(file: str) -> Iterator[LoggedRequest | MalformedLine]:
    with open(file, encoding="latin-1", newline="\n") as lines:
        for line in lines:
            yield read_line(line.rstrip("\r\n"))


def survey_log(file: str) -> LogSurvey:
    survey = LogSurvey()
    for line in read_log(file):
        survey.lines += 1
        if isinstance(line, LoggedRequest):
            survey.requests += 1
            survey.paths[line.path] = None
        elif len(survey.malformed) < _SHOWN_MALFORMED_MAX:
            survey.malformed.append((survey.lines, line.reason))
    return survey


def tracking_code_of(path: str) -> str:
    """Returns a path's tracking code: readable, and unique by its hash."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", path).strip("-")[:40].rstrip("-") or "root"
    return f"{slug}-{blake2s(path.encode('latin-1'), digest_size=4).hexdigest()}"


def destination_of(path: str) -> str:
    """Returns a URL for a path: bounded, and percent-encoded, so that it holds no macro."""
    encoded = quote(path.encode("latin-1"), safe="/%:@!$&'()*+,;=~")
    encoded = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", encoded)
    return re.sub(r"%.?$", "", (DESTINATION + encoded)[:URL_MAX_CHARACTERS])


async def ensure_links(registry: Registry, paths: Sequence[str], now: datetime) -> int:
    """Creates the missing links in the campaign `Replay`; returns how many."""
    missing = [path for path in paths if not await _is_link(registry, tracking_code_of(path))]
    if not missing:
        return 0
    campaign = await _find_or_create(registry, _campaign(now))
    affiliate = await _find_or_create(
        registry, Affiliate(number=0, account=ACCOUNT_DEFAULT, name=NAME, created_at=now)
    )
    links = [_link(path, campaign.number, affiliate.number, now) for path in missing]
    return _count_created(await registry.create_many(links))


def _campaign(now: datetime) -> Campaign:
    return Campaign(
        number=0,
        account=ACCOUNT_DEFAULT,
        name=NAME,
        currency="USD",
        commission=Percentage(rate=Decimal(10)),
        created_at=now,
    )


def _link(path: str, campaign: int, affiliate: int, now: datetime) -> Link:
    return Link(
        number=0,
        account=ACCOUNT_DEFAULT,
        campaign=campaign,
        affiliate=affiliate,
        tracking_code=tracking_code_of(path),
        destination=destination_of(path),
        created_at=now,
    )


def _count_created(outcomes: Sequence[Link | Rejected]) -> int:
    for outcome in outcomes:
        if isinstance(outcome, Rejected) and outcome.reason is not Reason.tracking_code_taken:
            raise outcome
    return sum(isinstance(outcome, Link) for outcome in outcomes)


async def _is_link(registry: Registry, code: str) -> bool:
    try:
        await registry.link_by_code(ACCOUNT_DEFAULT, code)
    except Rejected:
        return False
    return True


async def _find_or_create(registry: Registry, new_entry: NamedEntry) -> NamedEntry:
    """Returns the existing entry of this name, else creates it."""
    async for entry in registry.iterate(type(new_entry), ACCOUNT_DEFAULT):
        if entry.name == new_entry.name:
            return entry
    return await registry.create(new_entry)


async def replay_log(
    file: str, redis_url: str, edge: EdgeAddress, per_second: float, stop: asyncio.Event
) -> bool:
    """Replays a whole log and prints the summary; False when a request failed or was not sent."""
    if not await is_reachable(edge):
        raise click.ClickException(f"no edge takes connections at {edge.url}")
    survey = survey_log(file)
    redis = connect(redis_url)
    registry = Registry(redis, source=source_of_command("replay"))
    try:
        created = await ensure_links(registry, list(survey.paths), datetime.now(UTC))
    except (RedisError, Rejected) as error:
        raise click.ClickException(f"cannot create the links: {error}") from error
    finally:
        await redis.aclose()
    requests = (line for line in read_log(file) if isinstance(line, LoggedRequest))
    coded = ((tracking_code_of(request.path), request) for request in requests)
    started_at = time.monotonic()
    with click.progressbar(length=survey.requests, label="replay", file=sys.stderr) as bar:
        tally = await send_all(coded, edge, per_second, stop, bar.update)
    seconds = time.monotonic() - started_at
    click.echo(summary(survey, tally, created, seconds))
    return tally.accepted == survey.requests


def summary(survey: LogSurvey, tally: ReplayTally, created: int, seconds: float) -> str:
    """Formats the summary: lines read, requests sent, accepted and failed."""
    malformed = survey.lines - survey.requests
    failed = ", ".join(f"{status}: {count}" for status, count in tally.failed.most_common())
    rate = tally.sent / seconds if seconds else 0
    rows = [
        f"lines      {survey.lines}",
        f"malformed  {malformed}",
        *(f"           line {number} {reason}" for number, reason in survey.malformed),
        *(["           ..."] if malformed > len(survey.malformed) else []),
        f"links      {len(survey.paths)}, {created} of them new",
        f"sent       {tally.sent} in {seconds:.1f} s, {rate:.0f} a second",
        f"accepted   {tally.accepted}",
        f"failed     {tally.failed.total()}" + (f" ({failed})" if failed else ""),
    ]
    return "\n".join(rows)


class RateType(click.ParamType[float]):
    """Requests a second, above 0, or `max`, which becomes 0: no limit."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if value == "max":
            return 0.0
        try:
            rate = float(str(value))
        except ValueError:
            rate = 0.0
        if not 0 < rate < float("inf"):
            self.fail(f"{value!r} is neither max nor a number above 0", param, ctx)
        return rate


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--rate", type=RateType(), default="max", help="Requests per second, or max.")
@click.option("--data", help="Data directory of the running instance.")
@click.option("--edge-url", help="Edge to send to; default: the running instance's.")
@click.option("--redis-url", help="Registry to create links in; default: the instance's.")
def replay(
    file: str, rate: float, data: str | None, edge_url: str | None, redis_url: str | None
) -> None:
    """Sends the requests of a web server's access log (combined format) as clicks.

    Each path becomes a tracking link of the campaign "Replay". Malformed lines are counted and
    listed; the exit status is 1 only when a request failed.
    """
    outcome: list[bool] = []

    async def main(stop: asyncio.Event) -> None:
        settings = load(SharedSettings, overrides={"data": data, "redis_url": redis_url})
        found_url = find_redis_url(settings.data, settings.redis_url)
        outcome.append(
            await replay_log(file, found_url, _edge_address(settings, edge_url), rate, stop)
        )

    run(main)
    sys.exit(0 if outcome == [True] else 1)


def _edge_address(settings: SharedSettings, edge_url: str | None) -> EdgeAddress:
    running = None if edge_url else read_run(settings.data)
    if not running:
        return EdgeAddress(edge_url or settings.edge_url())
    cert = running.tls_cert
    return EdgeAddress(running.edge_url, True, local_client_context(cert) if cert else None)
