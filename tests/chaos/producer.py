"""Publishes clicks and conversions as an edge does, and remembers their ids."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from ingest.conversions.decision import initial_state
from ingest.publishing.publishers import ClickPublisher, ConversionPublisher, PostedConversion
from ingest.publishing.spool import Spool
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import StreamProducer, new_producer
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.datasets import Dataset
from linkjolt.events import Click, Conversion
from linkjolt.settings import EdgeSettings

CLICKS = 16


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Producer:
    """One worker on shard 0; close its spool at the end."""

    clicks: ClickPublisher
    conversions: ConversionPublisher
    ids: ClickIdGenerator
    spool: Spool
    click_ids: list[str] = field(default_factory=list[str])
    conversion_ids: list[str] = field(default_factory=list[str])

    async def publish(self) -> None:
        """Publishes clicks, a frame each, and conversions of half of them."""
        for number in range(CLICKS):
            click_id = self.ids.make(7)
            event = Click(click_id=click_id, account=Dataset(1), link=7, campaign=2, affiliate=3)
            await self.clicks.publish(msgspec.json.encode(event).decode())
            self.click_ids.append(click_id)
            if number % 2 == 0:
                await self._convert(click_id)

    async def _convert(self, click_id: str) -> None:
        number = len(self.conversion_ids)
        conversion = Conversion(
            conversion_id=f"conv_{number:026}",
            account=Dataset(1),
            event="sale",
            time_ms=_now_ms(),
            currency="USD",
            order_value_minor=9999,
            commission_minor=2999,
            status="pending",
            attribution="click",
            order_id=f"order_{number}",
            campaign=2,
            affiliate=3,
            link=7,
            click_id=click_id,
        )
        digest = redis_keys.order_digest(Dataset(1), conversion.event, conversion.order_id)
        posted = PostedConversion(conversion, initial_state(conversion), digest, "fingerprint")
        await self.conversions.publish(posted)
        self.conversion_ids.append(conversion.conversion_id)


def new_worker(redis: Redis, folder: Path) -> Producer:
    """Makes a producer with a spool under the folder."""
    spool = open_spool(folder / "spool", 1 << 20, new_producer)
    settings = EdgeSettings()
    return Producer(
        ClickPublisher(StreamProducer(redis, redis_keys.clicks(0), spool, 1_000), settings),
        ConversionPublisher(
            StreamProducer(redis, redis_keys.conversions(0), spool, 1_000), 0, settings
        ),
        ClickIdGenerator(1, b"k" * 32),
        spool,
    )
