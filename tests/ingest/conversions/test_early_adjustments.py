"""An adjustment that comes before its order waits for it, whatever happens to Redis meanwhile."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from redis.asyncio import Redis

from ingest import metrics
from ingest.app import create_app, open_edge
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import RedisConnectionError, connect
from tests.ingest.conftest import Shop, make_key, make_link
from tests.ingest.conversions.test_adjustments import adjust
from tests.ingest.conversions.test_http import ORDER
from tests.ingest.producers import Lossy
from tests.waiting import wait_until

PATH = "/v1/adjustments"
ORDER_ID = ORDER["order_id"]


async def park(shop: Shop, kind: str, adjustment_id: str, **fields: object) -> httpx2.Response:
    body = {"order_id": ORDER_ID, "kind": kind, "adjustment_id": adjustment_id, **fields}
    return await shop.post(body, path=PATH)


async def listed(shop: Shop) -> list[dict[str, Any]]:
    return (await shop.get(f"{PATH}?order_id={ORDER_ID}")).json()["data"]


async def history(shop: Shop, conversion_id: str) -> list[str]:
    read = (await shop.get(f"/v1/conversions/{conversion_id}")).json()
    return [entry["kind"] for entry in read.get("history", ())]


async def wait_for_history(shop: Shop, conversion_id: str, *kinds: str) -> None:
    async def is_there() -> bool:
        return await history(shop, conversion_id) == ["created", *kinds]

    await wait_until(is_there)


def counted(outcome: str) -> float:
    [family] = metrics.EARLY_ADJUSTMENTS.collect()
    values = [s.value for s in family.samples if s.labels.get("outcome") == outcome]
    return values[0] if values else 0.0


def waiting_by_metric() -> float:
    [family] = metrics.EARLY_WAITING.collect()
    return family.samples[0].value


async def test_a_refund_and_an_approval_before_the_sale_are_made_in_their_order(
    shop: Shop,
) -> None:
    applied = counted("applied")
    refund = await park(shop, "refund", "r1", amount="20.50")
    assert refund.status_code == 202
    waiting = refund.json()
    expires_at = datetime.fromisoformat(waiting.pop("expires_at"))
    assert abs(expires_at - datetime.now(UTC) - timedelta(hours=72)) < timedelta(minutes=5)
    assert waiting == {
        "status": "waiting",
        "adjustment_id": "r1",
        "order_id": ORDER_ID,
        "event": "sale",
    }
    await park(shop, "approve", "r2")
    await park(shop, "pay", "r3")
    assert [entry["adjustment_id"] for entry in await listed(shop)] == ["r1", "r2", "r3"]
    await wait_until(lambda: waiting_by_metric() == 3)
    sale = (await shop.post(ORDER)).json()
    await wait_for_history(shop, sale["conversion_id"], "refunded", "approved", "paid")
    assert await listed(shop) == []
    await wait_until(lambda: counted("applied") == applied + 3)
    [refunded, *_] = await shop.adjustments()
    assert refunded.effect.order_value_minor == -2050
    assert refunded.author.startswith("key_")
    again = await park(shop, "refund", "r1", amount="20.5")
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


async def test_while_it_waits_the_same_answers_again_and_another_under_its_id_is_refused(
    shop: Shop,
) -> None:
    first = await park(shop, "refund", "r1", amount="10.00")
    again = await park(shop, "refund", "r1", amount=10)
    assert (again.status_code, again.json()) == (202, first.json())
    other = await park(shop, "refund", "r1", amount=11)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")
    assert other.json()["errors"][0]["field"] == "adjustment_id"
    entries = [{"order_id": ORDER_ID, "kind": "approve", "adjustment_id": i} for i in ("r1", "r2")]
    many = (await shop.post(entries, path=PATH)).json()
    assert [result["status"] for result in many["data"]] == [409, 202]
    assert many["data"][1]["waiting"]["adjustment_id"] == "r2"
    assert (many["accepted"], many["rejected"]) == (1, 1)


async def test_what_cannot_be_made_is_listed_with_its_reason(shop: Shop) -> None:
    refused = counted("refused")
    await park(shop, "refund", "r1", amount=1000)
    await shop.post(ORDER)
    await wait_until(lambda: counted("refused") == refused + 1)
    [entry] = await listed(shop)
    assert (entry["status"], entry["kind"], entry["amount"]) == ("failed", "refund", 1000)
    assert (entry["code"], entry["errors"][0]["field"]) == ("amount_exceeds", "amount")
    assert await shop.adjustments() == []


async def test_what_came_before_is_made_before_what_comes_now(shop: Shop) -> None:
    """Neither waits for the loop: each adjustment first makes those that waited."""
    for name, path in (("one", PATH), ("two", "")):
        order = {**ORDER, "order_id": name}
        approval = {"order_id": name, "kind": "approve", "adjustment_id": "a1"}
        assert (await shop.post(approval, path=PATH)).status_code == 202
        sale = (await shop.post(order)).json()
        if path:
            pay = {"order_id": name, "kind": "pay", "adjustment_id": "a2"}
            assert (await shop.post(pay, path=PATH)).status_code == 201
        else:
            assert (await adjust(shop, sale, kind="pay", adjustment_id="a2")).status_code == 201
        assert await history(shop, sale["conversion_id"]) == ["created", "approved", "paid"]


async def test_an_order_that_was_spooled_gets_what_waits_for_it(shop: Shop) -> None:
    await park(shop, "refund", "r1", amount=10)
    producer = shop.edge.conversion_publishers[0].producer
    producer.publish = Lossy(producer.publish, 1, executed=False)
    queued = await shop.post(ORDER)
    assert queued.status_code == 202
    await wait_for_history(shop, queued.json()["conversion_id"], "refunded")


REFUSED = [
    ("", "order_id"),
    ("order_id=", "order_id"),
    ("order_id=a&order_id=b", "order_id"),
    ("order_id=a&event=Sale", "event"),
    ("order_id=a&page=1", "page"),
]


@pytest.mark.parametrize(("query", "field"), REFUSED)
async def test_a_list_without_an_order_is_refused(shop: Shop, query: str, field: str) -> None:
    answer = await shop.get(f"{PATH}?{query}")
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == field


class Restarted:
    """A Redis of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.server = RedisServer(folder, appendfsync="always")
        self.start()

    def start(self) -> None:
        self._child = self.server.start()
        self.server.wait_ready(self._child)

    def stop(self) -> None:
        self._child.kill()
        self._child.wait(10)


@asynccontextmanager
async def shop_of(redis: Redis, server: RedisServer, folder: Path) -> AsyncGenerator[Shop]:
    registry = Registry(redis)
    link = await make_link(registry)
    key = await make_key(registry, ["conversions:write"])
    settings = Settings(redis_url=server.url, data=str(folder), redis_timeout_seconds=5)
    async with open_edge(settings, asyncio.Event()) as edge:
        transport = httpx2.ASGITransport(app=create_app(edge))
        async with httpx2.AsyncClient(transport=transport, base_url="http://edge") as client:
            yield Shop(edge, redis, registry, client, link, key)


async def test_what_waits_survives_a_kill_of_redis_and_the_loop_its_absence(
    tmp_path: Path,
) -> None:
    own = Restarted(tmp_path / "redis")
    redis = connect(own.server.url)
    try:
        async with shop_of(redis, own.server, tmp_path / "edge") as shop:
            assert (await park(shop, "refund", "r1", amount=10)).status_code == 202
            assert (await park(shop, "approve", "r2")).status_code == 202
            # The edge must know the link before Redis goes.
            assert (await shop.post({**ORDER, "order_id": "before"})).status_code == 201
            own.stop()
            # What is not on disk is refused, not accepted.
            refused = await park(shop, "refund", "r3", amount=1)
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            entry = {"order_id": "o2", "kind": "refund", "adjustment_id": "r4"}
            many = (await shop.post([entry, entry], path=PATH)).json()
            assert [result["status"] for result in many["data"]] == [503, 503]
            with pytest.raises((RedisConnectionError, OSError)):
                await shop.edge.early.apply_due(0)
            queued = await shop.post(ORDER)
            assert queued.status_code == 202
            own.start()
            await wait_for_history(shop, queued.json()["conversion_id"], "refunded", "approved")
    finally:
        await redis.aclose()
        own.stop()
