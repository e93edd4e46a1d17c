"""While Redis does not answer, what hangs on other conversions is made up for later, or refused."""

import asyncio
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx2
import msgspec
import pytest
from redis.asyncio import Redis

from ingest.app import create_app, open_edge
from ingest.registry_snapshot import SqliteRegistrySnapshot
from linkjolt import redis_keys
from linkjolt.datasets import Account
from linkjolt.money import Flat
from linkjolt.registry.entries import Rate
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import call
from tests.ingest.conftest import Shop
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_earners import CODE, ID, accepted, order, rebill
from tests.waiting import wait_until

FIRST = {"commission": Flat(Decimal(10), first_order_only=True)}


@asynccontextmanager
async def redis_stopped(redis: Redis) -> AsyncGenerator[None]:
    pid = int((await call(redis, "INFO", "server"))["process_id"])
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
async def impatient(shop: Shop, redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Shop]:
    """The shop behind another edge, which waits for Redis for a moment only."""
    data = str(tmp_path / "impatient")
    settings = Settings(
        redis_url=redis_server.url,
        data=data,
        secret_key_file=str(shop.edge.sealer.path),
        redis_timeout_seconds=0.2,
    )
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
            yield Shop(edge, shop.redis, shop.registry, client, shop.link, shop.key)


async def queued(shop: Shop, body: dict[str, object]) -> dict[str, object]:
    """Posts an order while Redis is stopped, and waits until it is stored."""
    # What the edge needs of the registry is in memory.
    assert (await shop.post({**order("before", **CODE)})).status_code in (200, 201)
    async with redis_stopped(shop.redis):
        answer = await shop.post(body)
    assert answer.status_code == 202, answer.text

    async def is_stored() -> bool:
        return len(await shop.conversions()) == 2

    await wait_until(is_stored)
    return answer.json()


def _spooled(shop: Shop) -> int:
    """Counts events on disk: while there are some, what is posted waits behind them."""
    return shop.edge.conversion_publishers[0].producer.spooled_events


async def test_a_first_order_that_was_queued_is_paid_and_claims_later(impatient: Shop) -> None:
    await change_campaign(impatient, **FIRST)
    answer = await queued(impatient, order("o1", **ID, **CODE))
    assert (answer["commission_amount"], answer["commission_reason"]) == (
        10,
        "first_order_unchecked",
    )

    async def is_claimed() -> bool:
        claims = await call(impatient.redis, "KEYS", redis_keys.customer(0, "*"))
        return bool(claims) and not _spooled(impatient)

    await wait_until(is_claimed)
    later = await accepted(impatient, order("o2", **ID, **CODE))
    assert (later["commission_amount"], later["commission_reason"]) == (0, "not_first_order")


async def test_a_customer_of_a_queued_order_is_known_later(impatient: Shop) -> None:
    await change_campaign(impatient, lifetime=True)
    await queued(impatient, order("o1", **ID, **CODE))

    async def is_known() -> bool:
        claims = await call(impatient.redis, "KEYS", redis_keys.earner(0, "*"))
        return len(claims) == 2 and not _spooled(impatient)

    await wait_until(is_known)
    later = await accepted(impatient, order("o2", **ID))
    assert (later["affiliate_id"], later["attribution"]["method"]) == ("aff_1", "customer")


async def test_who_earned_before_is_not_guessed(impatient: Shop) -> None:
    await accepted(impatient, order("o1", **CODE))
    async with redis_stopped(impatient.redis):
        bodies = [rebill(order_id="o1"), rebill(order_id="o1", **CODE), order("o2", **ID)]
        answers = [await impatient.post(body) for body in bodies]
    assert [answer.status_code for answer in answers] == [503] * 3
    assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)


@pytest.mark.parametrize("duplicates", ["allow", "rebill"])
async def test_an_idempotency_key_that_cannot_be_claimed_makes_no_conversion(
    impatient: Shop, duplicates: str
) -> None:
    await change_campaign(impatient, duplicates=duplicates)
    once = {"Idempotency-Key": "k1"}
    assert (await impatient.post(order("before", **CODE), **once)).status_code == 201
    async with redis_stopped(impatient.redis):
        refused = await impatient.post(order("o1", **CODE), **{"Idempotency-Key": "k2"})
    assert refused.status_code == 503
    assert len(await impatient.conversions()) == 1


async def test_amounts_are_converted_by_the_rates_of_the_snapshot(impatient: Shop) -> None:
    await change_campaign(impatient, commission=Flat(Decimal(5)))
    now = datetime.now(UTC)
    rate = Rate(
        number=0,
        account=Account(1),
        from_="JPY",
        to="USD",
        rate=Decimal("0.0067"),
        valid_from=datetime(2020, 1, 1, tzinfo=UTC),
        created_at=now,
    )
    made = await impatient.registry.create(rate)
    gone = await impatient.registry.create(msgspec.structs.replace(rate, rate=Decimal(1)))
    await impatient.registry.delete(Rate, Account(1), gone.number, now)
    snapshot = SqliteRegistrySnapshot(Path(impatient.edge.settings.data, "edge"))
    now_ms = int(now.timestamp() * 1000)

    async def is_copied() -> bool:
        table = await snapshot.rates(made.account)
        return table.find("JPY", "USD", now_ms) == "1 JPY = 0.0067 USD"

    await wait_until(is_copied)
    await snapshot.close()
    answer = await queued(
        impatient, {**order("o1", **CODE), "order_value": 1000, "currency": "JPY"}
    )
    assert answer["commission_amount"] == 746
