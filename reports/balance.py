"""The balance of this installation, for its route and, refreshed by itself, for /metrics."""

import asyncio
import time

import structlog
from redis.asyncio import Redis

from linkjolt.balance.balance import Balance, StreamBalance, read_balance
from linkjolt.balance.stored_counts import StoredCounts
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError
from reports import metrics

_EVERY_SECONDS = 10.0
log = structlog.get_logger()


class Balances:
    """Reads the balance, counting again only what may have changed."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, shards: int) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._shards = shards
        self._counts = StoredCounts()
        self._turn = asyncio.Lock()

    async def read(self) -> Balance:
        """The balance now. Raises ClickHouseFailed or RedisError."""
        async with self._turn:
            found = await read_balance(self._redis, self._clickhouse, self._shards, self._counts)
        _show(found)
        return found

    async def watch(self) -> None:
        """Keeps the metrics fresh, for ever."""
        task = asyncio.current_task()
        while not (task and task.cancelling()):
            try:
                await self.read()
            except (ClickHouseFailed, RedisError) as error:
                log.warning("balance not read", error=str(error)[:200])
            await asyncio.sleep(_EVERY_SECONDS)


def _show(balance: Balance) -> None:
    for stream in balance.streams:
        for state in ("accepted", "stored", "rejected", "waiting", "difference"):
            metrics.EVENTS.labels(stream.stream, state).set(getattr(stream, state))
        metrics.OLDEST_WAITING_SECONDS.labels(stream.stream).set(_age_seconds(stream))
    metrics.SPOOLED.set(balance.spooled)
    metrics.SHED.set(balance.shed)


def _age_seconds(stream: StreamBalance) -> float:
    if stream.oldest_waiting_ms is None:
        return 0.0
    return max(0.0, time.time() - stream.oldest_waiting_ms / 1000)
