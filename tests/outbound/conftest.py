"""Provides a registry with endpoints, and runs the webhooks process inside the test's."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from redis.asyncio import Redis

from ingest.conversions.decision import initial_state
from ingest.publishing.publishers import ConversionPublisher, PostedConversion
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import StreamProducer, new_producer
from linkjolt import redis_keys
from linkjolt.conversion_ids import make_conversion_id
from linkjolt.datasets import Dataset
from linkjolt.events import Conversion
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.registry.store import Registry
from linkjolt.settings import EdgeSettings, SharedSettings
from linkjolt.webhooks.queue import Delivery, DeliveryQueue, newest_rounds
from linkjolt.webhooks.signing import make_secret
from outbound.app import WebhookDelivery
from outbound.resolver import Resolver
from tests.sealers import any_sealer

SECRET = make_secret()
# Quick ones, of which the last are never reached but by what fails for good.
DELAYS = (0.0, 0.05, 0.05, 0.05)


class Line:
    """Publishes conversions and creates endpoints that receive them."""

    def __init__(self, redis: Redis, conversions: ConversionPublisher) -> None:
        self.redis = redis
        self.registry = Registry(redis, any_sealer())
        self.queue = DeliveryQueue(redis)
        self._conversions = conversions

    async def endpoint(self, url: str, **fields: Any) -> Webhook:
        known: dict[str, Any] = {
            "number": 0,
            "account": 1,
            "url": url,
            "events": ("conversion.created",),
            "secrets": (WebhookSecret(SECRET),),
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        return await self.registry.create(Webhook(**(known | fields)))

    async def convert(self, count: int = 1, **fields: Any) -> list[Conversion]:
        """Publishes `count` conversions."""
        made: list[Conversion] = []
        for number in range(count):
            now_ms = int(datetime.now(UTC).timestamp() * 1000)
            conversion = Conversion(
                conversion_id=make_conversion_id(0, now_ms),
                account=fields.get("account", 1),
                event="sale",
                time_ms=now_ms,
                currency="USD",
                order_value_minor=fields.get("order_value_minor", 9999),
                commission_minor=2999,
                status="pending",
                attribution="tracking_code",
                order_id=f"{now_ms}-{number}",
                campaign=fields.get("campaign", 2),
                affiliate=fields.get("affiliate", 3),
            )
            digest = redis_keys.order_digest(Dataset(1), "sale", conversion.conversion_id)
            await self._conversions.publish(
                PostedConversion(conversion, initial_state(conversion), digest, "said")
            )
            made.append(conversion)
        return made

    async def deliveries(self, webhook: Webhook) -> list[Delivery]:
        """Reads the deliveries of an endpoint, the newest first."""
        found = await self.queue.read_pending(webhook.number, 1_000)
        # No aggregator stores the log here.
        found = newest_rounds([*found, *await self.queue.read_unstored(webhook.number, 1_000)])
        return sorted(found, key=lambda one: one.key, reverse=True)

    async def webhook(self, webhook: Webhook) -> Webhook:
        return await self.registry.get(Webhook, webhook.account, webhook.number)

    @asynccontextmanager
    async def delivering(
        self, delays: Sequence[float] = DELAYS, resolver: Resolver | None = None
    ) -> AsyncGenerator[None]:
        """Runs the webhooks process, with private targets allowed."""
        stop = asyncio.Event()
        settings = SharedSettings(webhook_allow_private=True)
        process = WebhookDelivery(self.redis, settings, any_sealer(), delays, resolver)
        running = asyncio.create_task(process.run(stop))
        try:
            yield
        finally:
            stop.set()
            await running


@pytest.fixture
async def line(redis: Redis, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Line]:
    spool = open_spool(tmp_path_factory.mktemp("spool"), 1 << 20, new_producer)
    outlet = StreamProducer(redis, redis_keys.conversions(0), spool, 1_000)
    yield Line(redis, ConversionPublisher(outlet, 0, EdgeSettings()))
    await spool.close()
