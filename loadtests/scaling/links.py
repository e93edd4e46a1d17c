"""Creates tracking links in any number and chooses the order of their clicks."""

import random
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import msgspec
from redis.asyncio import Redis

from linkjolt import datasets
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Link
from linkjolt.registry.store import PAGE_MAX, Registry
from linkjolt.storage.redis import call, connect
from loadtests.bench import traffic
from loadtests.chaos_instance import Instance, RunFailed
from loadtests.mix import zipf
from loadtests.scaling.point import CreatedLinks, Spread

# Links created through the bulk route; the others are written the same way without HTTP.
_BULK_MAX = 10_000
# More than are answered in one measurement, so that the list does not start again.
_CODES_CHOSEN = 200_000
# The numbers of the demo's campaign and affiliate.
_CAMPAIGN, _AFFILIATE = 1, 1


class _BulkAnswer(msgspec.Struct):
    accepted: int


def code_of(number: int) -> str:
    return f"s{number:07}"


async def create_links(instance: Instance, count: int) -> CreatedLinks:
    """Creates links of the demo's campaign, numbered from 1, and measures speed and memory."""
    bulk_count = min(count, _BULK_MAX)
    async with connect(instance.redis_url, timeout_seconds=30) as redis:
        before = (await call(redis, "INFO", "memory"))["used_memory"]
        bulk_seconds = await _time(_create_by_bulk(instance, bulk_count))
        seconds = await _time(_create_in_registry(redis, bulk_count, count))
        after = (await call(redis, "INFO", "memory"))["used_memory"]
    return CreatedLinks(
        links=count,
        bulk_per_second=bulk_count / bulk_seconds,
        registry_per_second=(count - bulk_count) / seconds,
        redis_bytes=(after - before) / count,
    )


async def _time(creating: Coroutine[None, None, None]) -> float:
    began = time.perf_counter()
    await creating
    return time.perf_counter() - began


async def _create_by_bulk(instance: Instance, count: int) -> None:
    headers = {"Authorization": f"Bearer {instance.key}"}
    async with httpx2.AsyncClient(
        base_url=instance.edge_url, headers=headers, timeout=60
    ) as client:
        for first in range(1, count + 1, PAGE_MAX):
            links = [
                {
                    "campaign_id": f"cmp_{_CAMPAIGN}",
                    "affiliate_id": f"aff_{_AFFILIATE}",
                    "destination": traffic.DESTINATION,
                    "tracking_code": code_of(number),
                }
                for number in range(first, min(first + PAGE_MAX, count + 1))
            ]
            answer = await client.post("/v1/links/bulk", json={"links": links})
            accepted = msgspec.json.decode(answer.content, type=_BulkAnswer).accepted
            if accepted != len(links):
                raise RunFailed(f"{accepted} of {len(links)} links were created")


async def _create_in_registry(redis: Redis, after: int, last: int) -> None:
    now = datetime.now(UTC)
    registry = Registry(redis)
    for first in range(after + 1, last + 1, PAGE_MAX):
        numbers = range(first, min(first + PAGE_MAX, last + 1))
        created = await registry.create_many([_link(number, now) for number in numbers])
        if refused := next((one for one in created if isinstance(one, Rejected)), None):
            raise RunFailed(f"a link was refused: {refused}")


def _link(number: int, now: datetime) -> Link:
    return Link(
        number=0,
        account=datasets.ACCOUNT_DEFAULT,
        campaign=_CAMPAIGN,
        affiliate=_AFFILIATE,
        tracking_code=code_of(number),
        destination=traffic.DESTINATION,
        created_at=now,
    )


def choose_codes(count: int, spread: Spread, seed: int) -> list[str]:
    """Chooses codes in the order of their clicks, another order for each seed."""
    chance = random.Random(seed)
    if spread == "zipf":
        numbers = chance.choices(range(1, count + 1), cum_weights=zipf(count), k=_CODES_CHOSEN)
    else:
        numbers = [chance.randint(1, count) for _ in range(_CODES_CHOSEN)]
    return [code_of(number) for number in numbers]


def write_codes(path: Path, codes: Sequence[str]) -> Path:
    """Writes one code a line, as `clicks.lua` reads them."""
    path.write_text("\n".join(codes) + "\n")
    return path
