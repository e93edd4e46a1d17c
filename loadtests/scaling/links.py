"""Tracking links in any number, and in which order they are clicked."""

import random
import time
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Link
from linkjolt.registry.store import PAGE_MAX, Registry
from linkjolt.storage.redis import call, connect
from loadtests.bench import traffic
from loadtests.chaos_instance import Failed, Instance
from loadtests.mix import zipf
from loadtests.scaling.point import Made, Spread

# At most; the others are written as the bulk route writes them, but without HTTP.
_BY_BULK = 10_000
# More than are answered in one measurement: none is clicked again because the list is at its end.
_CLICKED = 200_000
# The demo's.
_CAMPAIGN, _AFFILIATE = 1, 1


class _Bulk(msgspec.Struct):
    accepted: int


def code_of(number: int) -> str:
    return f"s{number:07}"


async def make(instance: Instance, count: int) -> Made:
    """Links of the demo's campaign, numbered from 1."""
    by_bulk = min(count, _BY_BULK)
    async with connect(instance.redis_url, timeout_seconds=30) as redis:
        before = (await call(redis, "INFO", "memory"))["used_memory"]
        bulk_seconds = await _seconds(_post(instance, by_bulk))
        seconds = await _seconds(_write(redis, by_bulk, count))
        after = (await call(redis, "INFO", "memory"))["used_memory"]
    return Made(
        links=count,
        bulk_per_second=by_bulk / bulk_seconds,
        registry_per_second=(count - by_bulk) / seconds,
        redis_bytes=(after - before) / count,
    )


async def _seconds(making: Coroutine[None, None, None]) -> float:
    began = time.perf_counter()
    await making
    return time.perf_counter() - began


async def _post(instance: Instance, count: int) -> None:
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
            made = msgspec.json.decode(answer.content, type=_Bulk).accepted
            if made != len(links):
                raise Failed(f"{made} of {len(links)} links were made")


async def _write(redis: Redis, after: int, last: int) -> None:
    now = datetime.now(UTC)
    registry = Registry(redis)
    for first in range(after + 1, last + 1, PAGE_MAX):
        numbers = range(first, min(first + PAGE_MAX, last + 1))
        made = await registry.create_many([_link(number, now) for number in numbers])
        if refused := next((one for one in made if isinstance(one, Rejected)), None):
            raise Failed(f"a link was refused: {refused}")


def _link(number: int, now: datetime) -> Link:
    return Link(
        number=0,
        account=redis_keys.ACCOUNT_DEFAULT,
        campaign=_CAMPAIGN,
        affiliate=_AFFILIATE,
        tracking_code=code_of(number),
        destination=traffic.DESTINATION,
        created_at=now,
    )


def clicked(count: int, spread: Spread, seed: int) -> list[str]:
    """Codes in the order of their clicks, another one for each seed."""
    chance = random.Random(seed)
    if spread == "zipf":
        numbers = chance.choices(range(1, count + 1), cum_weights=zipf(count), k=_CLICKED)
    else:
        numbers = [chance.randint(1, count) for _ in range(_CLICKED)]
    return [code_of(number) for number in numbers]


def write_codes(path: Path, codes: Sequence[str]) -> Path:
    """A code a line, as `clicks.lua` reads them."""
    path.write_text("\n".join(codes) + "\n")
    return path
