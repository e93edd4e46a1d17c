"""Listeners of the live feed may join and leave at any time."""

import asyncio
from datetime import datetime

from prometheus_client import REGISTRY
from redis.asyncio import Redis

from linkjolt.datasets import Dataset
from linkjolt.storage.clickhouse import ClickHouse
from reports.live.feed import LiveFeed
from reports.live.store import Audience, LiveStore


async def test_one_who_comes_while_the_last_one_leaves_is_welcome(
    redis: Redis, clickhouse: ClickHouse
) -> None:
    """This happens when one page replaces another."""

    class Held(LiveStore):
        asked, go = asyncio.Event(), asyncio.Event()

        async def data_as_of(self) -> datetime | None:
            self.asked.set()
            await self.go.wait()
            return await super().data_as_of()

    store = Held(redis, clickhouse, 2)
    feed = LiveFeed(store)
    store.go.set()
    first = await feed.join(Audience(Dataset(7)), None)
    store.go.clear()
    store.asked.clear()
    coming = asyncio.create_task(feed.join(Audience(Dataset(7)), None))
    await store.asked.wait()
    feed.leave(first)
    store.go.set()
    hello = await (await coming).next_text()
    assert hello is not None
    assert b"event: hello" in hello
    assert REGISTRY.get_sample_value("linkjolt_live_clients") == 1
