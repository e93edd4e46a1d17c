"""Provides an aggregator on real servers, and a producer that publishes as an edge does."""

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.delivery.step import Aggregation, StepOutcome
from aggregator.delivery.streams import Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance.audit import Audit, audit
from ingest.conversions.decision import initial_state
from ingest.publishing.publishers import ClickPublisher, ConversionPublisher, PostedConversion
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import StreamProducer, new_producer
from linkjolt import redis_keys
from linkjolt.balance.balance import read_balance
from linkjolt.balance.stale import NEVER_STALE, StaleRule
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.datasets import Dataset
from linkjolt.events import Click, Conversion
from linkjolt.settings import AggregatorSettings, EdgeSettings
from linkjolt.storage.clickhouse import ClickHouse
from tests.waiting import wait_until

KEY = b"k" * 32


class Number(msgspec.Struct, frozen=True):
    n: int


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Line:
    """One shard from publishing to the warehouse, step by step; slices are 50 ms wide."""

    redis: Redis
    clickhouse: ClickHouse
    clicks: ClickPublisher
    conversions: ConversionPublisher
    click_ids: ClickIdGenerator
    aggregation: Aggregation

    def restart(self, batch_rows: int = 100_000) -> None:
        """Replaces the aggregator by a new one, which remembers nothing."""
        self.aggregation = new_aggregation(self.redis, self.clickhouse, batch_rows)

    async def click(self, count: int = 1, **fields: str) -> list[Click]:
        clicks = [self.make_click(**fields) for _ in range(count)]
        for click in clicks:
            await self.clicks.publish(msgspec.json.encode(click).decode())
        return clicks

    def make_click(self, **fields: str) -> Click:
        known = {"account": 1, "link": 7, "campaign": 2, "affiliate": 3}
        click_id = self.click_ids.make(7)
        return msgspec.convert({"click_id": click_id, **known, **fields}, Click)

    def make_conversion(self, number: int, click_id: str = "") -> Conversion:
        return Conversion(
            conversion_id=f"conv_{number:026}",
            account=Dataset(1),
            event="sale",
            time_ms=now_ms(),
            currency="USD",
            order_value_minor=9999,
            commission_minor=2999,
            status="pending",
            attribution="click" if click_id else "tracking_code",
            order_id=f"order_{number}",
            campaign=2,
            affiliate=3,
            link=7,
            click_id=click_id,
        )

    async def convert(self, conversion: Conversion) -> None:
        # An unverified one reserves its order among those of its click.
        click_id = conversion.click_id if conversion.order_scope == "pixel" else ""
        digest = redis_keys.order_digest(
            Dataset(1), conversion.event, conversion.order_id, click_id=click_id
        )
        posted = PostedConversion(conversion, initial_state(conversion), digest, "fingerprint")
        await self.conversions.publish(posted)

    async def step_until_idle(self) -> None:
        """Steps until everything published before is stored."""

        async def idle() -> bool:
            await self.aggregation.step()
            balance = await read_balance(self.redis, self.clickhouse, 1)
            return all(stream.waiting == 0 for stream in balance.streams)

        # If a stream's ids are ahead of the clock, only time closes its slices.
        await wait_until(idle)

    async def step(self) -> StepOutcome:
        return await self.aggregation.step()

    async def audit(self, rule: StaleRule = NEVER_STALE) -> Audit:
        return await audit(self.redis, self.clickhouse, 1, rule)

    async def count(self, sql: str) -> int:
        return (await self.clickhouse.read(f"SELECT toInt64({sql}", Number))[0].n


def new_aggregation(redis: Redis, clickhouse: ClickHouse, batch_rows: int = 100_000) -> Aggregation:
    settings = AggregatorSettings(slice_ms=50, batch_rows=batch_rows)
    return Aggregation(Streams(redis), clickhouse, VisitorSalts(redis, 72), settings)


@pytest.fixture
async def line(redis: Redis, clickhouse: ClickHouse, tmp_path: Path) -> AsyncGenerator[Line]:
    settings = EdgeSettings()
    spool = open_spool(tmp_path, 1 << 20, new_producer)
    clicks = StreamProducer(redis, redis_keys.clicks(0), spool, 1_000)
    conversions = StreamProducer(redis, redis_keys.conversions(0), spool, 1_000)
    yield Line(
        redis,
        clickhouse,
        ClickPublisher(clicks, settings),
        ConversionPublisher(conversions, 0, settings),
        ClickIdGenerator(1, KEY),
        new_aggregation(redis, clickhouse),
    )
    await spool.close()


def ids(clicks: Sequence[Click]) -> set[str]:
    return {click.click_id for click in clicks}
