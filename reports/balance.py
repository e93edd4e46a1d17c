"""Reads the balance of this installation, for its route and periodically for /metrics."""

import asyncio
from datetime import datetime

import structlog
from redis.asyncio import Redis

from linkjolt.balance.balance import Balance, oldest_waiting_seconds, read_balance
from linkjolt.balance.stale import StaleRule
from linkjolt.balance.stored_counts import StoredCounts
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError
from reports import metrics
from reports.freshness import data_as_of

_REFRESH_SECONDS = 10.0
_log = structlog.get_logger()


class BalanceReader:
    """Reads the balance; counts again only the hours that may have changed."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, shards: int, rule: StaleRule) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._shards = shards
        self._rule = rule
        self._counts = StoredCounts()
        self._lock = asyncio.Lock()

    async def read(self) -> Balance:
        """Reads the current balance. Raises ClickHouseFailed or RedisError."""
        async with self._lock:
            as_of = await data_as_of(self._redis, self._clickhouse, self._shards)
            balance = await read_balance(
                self._redis, self._clickhouse, self._shards, self._counts, self._rule
            )
        _set_metrics(balance, as_of)
        return balance

    async def refresh_metrics(self) -> None:
        """Reads the balance every ten seconds to refresh the metrics, until cancelled."""
        task = asyncio.current_task()
        while not (task and task.cancelling()):
            try:
                await self.read()
            except (ClickHouseFailed, RedisError, OSError) as error:
                _log.warning("balance not read", error=str(error)[:200])
            await asyncio.sleep(_REFRESH_SECONDS)


def _set_metrics(balance: Balance, data_as_of: datetime | None) -> None:
    oldest_seconds = 0.0
    for stream in balance.streams:
        for state in ("accepted", "stored", "rejected", "waiting", "difference"):
            metrics.BALANCE_EVENTS.labels(stream.stream, state).set(getattr(stream, state))
        seconds = oldest_waiting_seconds(stream, balance.as_of)
        metrics.OLDEST_WAITING_SECONDS.labels(stream.stream).set(seconds)
        oldest_seconds = max(oldest_seconds, seconds)
    # Until every stream was read once, the oldest waiting event is the most that is known.
    behind_seconds = oldest_seconds
    if data_as_of:
        behind_seconds = max(0.0, (balance.as_of - data_as_of).total_seconds())
    metrics.BEHIND_SECONDS.set(behind_seconds)
    metrics.STALE_BACKLOGS.set(len(balance.stale))
    metrics.BALANCE_SPOOLED.set(balance.spooled)
    metrics.BALANCE_SHED.set(balance.shed)
