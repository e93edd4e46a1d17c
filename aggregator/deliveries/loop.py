"""Runs the delivery log beside the aggregator's loop, which never waits for it."""

import asyncio
import time
from contextlib import suppress

import msgspec
import structlog
from redis.asyncio import Redis

from aggregator import metrics
from aggregator.deliveries.ranges import BacklogRanges
from aggregator.deliveries.replays import Refiller, Replays
from aggregator.deliveries.store import DeliveryStore
from aggregator.warehouse.migrate import TableOptions
from linkjolt.runtime.back_off import BackOff
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError
from linkjolt.webhooks.deliveries.backlog import (
    QueueBounds,
    bounds_now,
    read_backlogs,
    read_redis_max_bytes,
)
from linkjolt.webhooks.deliveries.log import WarehouseDeliveryLog
from linkjolt.webhooks.endpoints import Endpoints

_EVERY_SECONDS = 0.5
_PAUSE_FIRST_SECONDS = 0.5
_PAUSE_MAX_SECONDS = 30.0
_FLUSH_SECONDS = 2.0
_TTL = "toDateTime(intDiv(version, 1000), 'UTC') + toIntervalDay({days})"
log = structlog.get_logger()


class _Definition(msgspec.Struct, frozen=True):
    sql: str


class DeliveryLogLoop:
    """Stores the delivery log step by step; a failure is logged and tried again."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, settings: Settings) -> None:
        self._clickhouse = clickhouse
        self._settings = settings
        self._redis = redis
        self._endpoints = Endpoints(redis)
        self._store = DeliveryStore(redis, clickhouse, self._endpoints)
        refiller = Refiller(redis)
        self._bounds = QueueBounds(
            pending=settings.webhook_backlog_count, pending_bytes=settings.webhook_backlog_bytes
        )
        self._ranges = BacklogRanges(clickhouse, refiller)
        self._replays = Replays(redis, WarehouseDeliveryLog(clickhouse), refiller)
        self._retries = BackOff(_PAUSE_FIRST_SECONDS, _PAUSE_MAX_SECONDS)
        self._keeps_days = False

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop`, then stores what is finished until then (2 s at most)."""
        while not stop.is_set():
            wait_seconds = await self._try_step()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_seconds)
        deadline = time.monotonic() + _FLUSH_SECONDS
        while await self._try_step() == 0 and time.monotonic() < deadline:
            pass

    async def _try_step(self) -> float:
        """Runs one step and returns the seconds to wait before the next."""
        try:
            more = await self.step()
        except (ClickHouseFailed, RedisError, OSError) as error:
            metrics.DELIVERY_LOG_RETRIES.inc()
            log.warning("delivery log retries, nothing is lost", error=str(error)[:300])
            return next(self._retries)
        except Exception:
            # The aggregator goes on whatever becomes of this log.
            metrics.DELIVERY_LOG_RETRIES.inc()
            log.exception("delivery log failed")
            return next(self._retries)
        self._retries.reset()
        return 0.0 if more else _EVERY_SECONDS

    async def step(self) -> bool:
        """Stores what is finished, then queues what waits; returns whether there is more."""
        if not self._keeps_days:
            await self._keep_days()
        await self._endpoints.refresh()
        more = await self._store.step()
        await self._store.purge_deleted()
        if not more:
            # A replay reads all that was finished before it.
            more = await self._queue_waiting()
        return more

    async def _queue_waiting(self) -> bool:
        """Queues the next pages of all replays and ranges; returns whether there are more."""
        webhooks = {webhook.number: webhook for webhook in self._endpoints.existing}
        backlogs = await read_backlogs(self._redis, [*webhooks])
        maximum = await read_redis_max_bytes(self._redis)
        bounds = bounds_now(self._bounds, [*backlogs.values()], maximum)
        now_ms, more = time.time_ns() // 1_000_000, False
        for number, backlog in backlogs.items():
            if backlog.ranges:
                more |= await self._ranges.step(webhooks[number], backlog, bounds, now_ms)
                more |= await self._replays.step(number, backlog, now_ms)
        return more

    async def _keep_days(self) -> None:
        """Makes the table keep its rows for the days of the setting."""
        ttl = _TTL.format(days=self._settings.webhook_log_days)
        sql = (
            "SELECT create_table_query AS sql FROM system.tables"
            " WHERE database = currentDatabase() AND name = 'deliveries'"
        )
        [definition] = await self._clickhouse.read(sql, _Definition)
        if ttl not in definition.sql:
            cluster = TableOptions(cluster=self._settings.clickhouse_cluster).on_cluster
            await self._clickhouse.execute(
                f"ALTER TABLE deliveries {cluster} MODIFY TTL {ttl}"
                " SETTINGS materialize_ttl_after_modify = 0"
            )
        self._keeps_days = True
