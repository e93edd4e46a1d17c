"""Provides endpoints with a queue, and the aggregator's delivery log, on real servers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.deliveries.loop import DeliveryLogLoop
from linkjolt import redis_keys
from linkjolt.redis_keys import Stream
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.registry.store import Registry
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.webhooks.deliveries.backlog import Backlog, read_backlogs
from linkjolt.webhooks.deliveries.log import WarehouseDeliveryLog
from linkjolt.webhooks.queue import ClaimedDelivery, Delivery, DeliveryAttempt, DeliveryQueue
from tests.sealers import any_sealer

NOW_MS = 1_700_000_000_000


@dataclass
class Hooks:
    """Endpoints and their deliveries, from the queue to the warehouse."""

    redis: Redis
    clickhouse: ClickHouse

    def __post_init__(self) -> None:
        self.registry = Registry(self.redis, any_sealer())
        self.queue = DeliveryQueue(self.redis)
        self.log = WarehouseDeliveryLog(self.clickhouse)
        self.restart()

    def restart(self, **settings: Any) -> None:
        """Replaces the aggregator's loop by a new one."""
        self.loop = DeliveryLogLoop(self.redis, self.clickhouse, AggregatorSettings(**settings))

    async def endpoint(self, **fields: Any) -> Webhook:
        known: dict[str, Any] = {
            "number": 0,
            "account": 1,
            "url": "https://shop.example/hook",
            "events": ("conversion.created",),
            "secrets": (WebhookSecret("whsec_x"),),
            "created_at": datetime(2020, 1, 1, tzinfo=UTC),
        }
        return await self.registry.create(Webhook(**(known | fields)))

    async def enqueue(
        self, webhook: int, *deliveries: Delivery, stream: Stream | None = None
    ) -> int:
        stream = stream or redis_keys.conversions(0)
        return await self.queue.enqueue([(webhook, one) for one in deliveries], NOW_MS, stream)

    async def deliver(self, webhook: int, count: int = 1_000, status: int = 200) -> list[Delivery]:
        """Claims what is due and records each with one more attempt."""
        claimed = await self.queue.claim(webhook, NOW_MS * 2, count)
        await self.queue.record(webhook, [(one, attempted(one, status), 0) for one in claimed])
        return [one.delivery for one in claimed]

    async def step(self) -> bool:
        """Runs one step of the aggregator's loop."""
        return await self.loop.step()

    async def store(self) -> None:
        while await self.step():
            pass

    async def backlog(self, webhook: int) -> Backlog:
        return (await read_backlogs(self.redis, [webhook]))[webhook]


def attempted(claimed: ClaimedDelivery, status: int) -> Delivery:
    one = claimed.delivery
    attempt = DeliveryAttempt(at_ms=NOW_MS, took_ms=3, status=status, answer="thanks")
    state = "delivered" if status == 200 else "failed"
    return msgspec.structs.replace(
        one, state=state, attempt=one.attempt + 1, tries=(*one.tries, attempt)
    )


def delivery(number: int, **fields: Any) -> Delivery:
    """A delivery of an event `number` milliseconds after a fixed instant."""
    known: dict[str, Any] = {
        "webhook_id": f"msg_{number}",
        "event": "conversion.created",
        "body": f'{{"number":{number}}}',
        "event_ms": NOW_MS - 1_000_000 + number,
        "account": 1,
    }
    return msgspec.convert(known | fields, Delivery)


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [one.webhook_id for one in deliveries]


@pytest.fixture
def hooks(redis: Redis, clickhouse: ClickHouse) -> Hooks:
    return Hooks(redis, clickhouse)
