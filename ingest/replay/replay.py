"""`linkjolt replay`: the requests of a web server's log, sent to an edge as clicks."""

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

from ingest.replay.access_log import LoggedRequest, Malformed, read_line
from ingest.replay.client import Tally, reachable, send_all
from linkjolt.money import Percentage
from linkjolt.reasons import Reason, Rejected
from linkjolt.redis_keys import ACCOUNT_DEFAULT
from linkjolt.registry.checks import URL_MAX_CHARACTERS
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.instance import find_redis_url, read_run
from linkjolt.runtime.lifecycle import run
from linkjolt.settings import Shared, load
from linkjolt.storage.redis import RedisError, connect

NAME = "Replay"
DESTINATION = "https://replay.example"
_NAMED_MAX = 5
Named = TypeVar("Named", Campaign, Affiliate)


class Survey(msgspec.Struct):
    """What a first reading of a log finds; `malformed` names the first few by line number."""

    lines: int = 0
    requests: int = 0
    paths: dict[str, None] = {}
    malformed: list[tuple[int, str]] = []


def read_log(file: str) -> Iterator[LoggedRequest | Malformed]:
    with open(file, encoding="latin-1", newline="\n") as lines:
        for line in lines:
            yield read_line(line.rstrip("\r\n"))


def survey(file: str) -> Survey:
    found = Survey()
    for line in read_log(file):
        found.lines += 1
        if isinstance(line, LoggedRequest):
            found.requests += 1
            found.paths[line.path] = None
        elif len(found.malformed) < _NAMED_MAX:
            found.malformed.append((found.lines, line.reason))
    return found


def code_of(path: str) -> str:
    """The tracking code of a path: readable, and by its hash different for every path."""
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", path).strip("-")[:40].rstrip("-") or "root"
    return f"{slug}-{blake2s(path.encode('latin-1'), digest_size=4).hexdigest()}"


def destination_of(path: str) -> str:
    """An address for a path: percent-encoded where it is not yet, so no macro is in it; bounded."""
    encoded = quote(path.encode("latin-1"), safe="/%:@!$&'()*+,;=~")
    encoded = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", encoded)
    return re.sub(r"%.?$", "", (DESTINATION + encoded)[:URL_MAX_CHARACTERS])


async def ensure_links(registry: Registry, paths: Sequence[str], now: datetime) -> int:
    """Creates the links that are missing, in the campaign `Replay`; answers how many."""
    missing = [path for path in paths if not await _is_link(registry, code_of(path))]
    if not missing:
        return 0
    campaign = await _named(registry, _campaign(now))
    affiliate = await _named(
        registry, Affiliate(number=0, account=ACCOUNT_DEFAULT, name=NAME, created_at=now)
    )
    links = [_link(path, campaign.number, affiliate.number, now) for path in missing]
    return _created(await registry.create_many(links))


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
        tracking_code=code_of(path),
        destination=destination_of(path),
        created_at=now,
    )


def _created(outcomes: Sequence[Link | Rejected]) -> int:
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


async def _named(registry: Registry, wanted: Named) -> Named:
    """The entry of this name that exists, else the one that is wanted, created."""
    async for entry in registry.each(type(wanted), ACCOUNT_DEFAULT):
        if entry.name == wanted.name:
            return entry
    return await registry.create(wanted)


async def replay_log(
    file: str, redis_url: str, edge_url: str, per_second: float, stop: asyncio.Event
) -> bool:
    """Replays a whole log and prints the summary; False when a request failed or was not sent."""
    if not await reachable(edge_url):
        raise click.ClickException(f"no edge takes connections at {edge_url}")
    found = survey(file)
    redis = connect(redis_url)
    try:
        created = await ensure_links(Registry(redis), list(found.paths), datetime.now(UTC))
    except (RedisError, Rejected) as error:
        raise click.ClickException(f"cannot create the links: {error}") from error
    finally:
        await redis.aclose()
    requests = (line for line in read_log(file) if isinstance(line, LoggedRequest))
    coded = ((code_of(request.path), request) for request in requests)
    started_at = time.monotonic()
    with click.progressbar(length=found.requests, label="replay", file=sys.stderr) as bar:
        tally = await send_all(coded, edge_url, per_second, stop, bar.update)
    seconds = time.monotonic() - started_at
    click.echo(summary(found, tally, created, seconds))
    return tally.accepted == found.requests


def summary(found: Survey, tally: Tally, created: int, seconds: float) -> str:
    """A few lines for people: what was read, sent, accepted, and what was not."""
    malformed = found.lines - found.requests
    failed = ", ".join(f"{status}: {count}" for status, count in tally.failed.most_common())
    rate = tally.sent / seconds if seconds else 0
    rows = [
        f"lines      {found.lines}",
        f"malformed  {malformed}",
        *(f"           line {number} {reason}" for number, reason in found.malformed),
        *(["           ..."] if malformed > len(found.malformed) else []),
        f"links      {len(found.paths)}, {created} of them new",
        f"sent       {tally.sent} in {seconds:.1f} s, {rate:.0f} a second",
        f"accepted   {tally.accepted}",
        f"failed     {tally.failed.total()}" + (f" ({failed})" if failed else ""),
    ]
    return "\n".join(rows)


class Rate(click.ParamType[float]):
    """Requests a second, above 0, or `max`, which is 0 for as fast as it goes."""

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
@click.option("--rate", type=Rate(), default="max", help="Requests a second, or max.")
@click.option("--data", help="Data directory of the running instance.")
@click.option("--edge-url", help="Edge to send to; default: the running instance's.")
@click.option("--redis-url", help="Registry to create links in; default: the instance's.")
def replay(
    file: str, rate: float, data: str | None, edge_url: str | None, redis_url: str | None
) -> None:
    """Sends the requests of a web server's access log (combined format) as clicks.

    Each path becomes a tracking link of the campaign "Replay". A line that is no request is
    counted and named; the status is 1 only when a request failed.
    """
    outcome: list[bool] = []

    async def main(stop: asyncio.Event) -> None:
        settings = load(Shared, overrides={"data": data, "redis_url": redis_url})
        found_url = find_redis_url(settings.data, settings.redis_url)
        outcome.append(
            await replay_log(file, found_url, edge_url or _edge_url(settings), rate, stop)
        )

    run(main)
    sys.exit(0 if outcome == [True] else 1)


def _edge_url(settings: Shared) -> str:
    running = read_run(settings.data)
    return running.edge_url if running else settings.edge_url()
