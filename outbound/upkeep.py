"""Keeps the queues of all endpoints within their bounds, and shows how full they are."""

import asyncio
import time
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import RedisError
from linkjolt.webhooks.deliveries.backlog import (
    QueueBounds,
    bounds_now,
    read_backlogs,
    read_redis_max_bytes,
)
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.queue import DeliveryQueue
from outbound import metrics
from outbound.former_deliveries import FormerDeliveries

_EVERY_SECONDS = 1.0
_FORMER_EVERY_SECONDS = 60.0
# A feed that read the endpoints before the deletion may still queue for one.
_PURGE_SECONDS = 10.0
log = structlog.get_logger()


class QueueUpkeep:
    """Bounds the queues by what is free, adopts former deliveries, empties deleted endpoints."""

    def __init__(
        self, redis: Redis, endpoints: Endpoints, queue: DeliveryQueue, settings: SharedSettings
    ) -> None:
        self._redis = redis
        self._endpoints = endpoints
        self._queue = queue
        self._bounds = QueueBounds(
            pending=settings.webhook_backlog_count, pending_bytes=settings.webhook_backlog_bytes
        )
        queue.bounds = self._bounds
        self._former = FormerDeliveries(redis)
        self._former_at = 0.0
        self._dropped = 0
        # By endpoint: when it was first seen to be deleted.
        self._deleted_at: dict[int, float] = {}

    async def adopt_pending(self) -> None:
        """Adopts what a former release left pending; before senders start."""
        with suppress(RedisError):
            await self._endpoints.refresh()
            for webhook in self._endpoints.existing:
                await self._former.adopt_pending(webhook)

    async def run(self, stop: asyncio.Event) -> None:
        """Does one step a second until `stop`."""
        while not stop.is_set():
            try:
                await self.step()
            except (RedisError, OSError) as error:
                log.warning("webhook queues not looked after", error=str(error)[:200])
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _EVERY_SECONDS)

    async def step(self) -> None:
        await self._endpoints.refresh()
        await self._purge_deleted()
        await self._bound()
        if time.monotonic() >= self._former_at:
            await self._adopt_former()

    async def _bound(self) -> None:
        numbers = [webhook.number for webhook in self._endpoints.existing]
        backlogs = [*(await read_backlogs(self._redis, numbers)).values()]
        maximum = await read_redis_max_bytes(self._redis)
        self._queue.bounds = bounds_now(self._bounds, backlogs, maximum)
        metrics.PENDING.set(sum(backlog.pending for backlog in backlogs))
        metrics.WAITING_ENDPOINTS.set(
            sum(any(not one.is_replay for one in backlog.ranges) for backlog in backlogs)
        )
        metrics.LOG_BYTES.set(sum(backlog.log_bytes for backlog in backlogs))
        dropped = sum(backlog.dropped for backlog in backlogs)
        metrics.LOG_DROPPED.set(dropped)
        if dropped > self._dropped:
            log.error("delivery log dropped: no aggregator stores it in time", dropped=dropped)
        self._dropped = dropped

    async def _adopt_former(self) -> None:
        """Adopts as much as the log has room for, and the rest with the next steps."""
        most_bytes = self._queue.bounds.log_bytes
        for webhook in self._endpoints.existing:
            await self._former.adopt_pending(webhook)
            while await self._former.adopt_page(webhook, most_bytes):
                backlogs = await read_backlogs(self._redis, [webhook.number])
                if backlogs[webhook.number].log_bytes > most_bytes // 2:
                    return
        self._former_at = time.monotonic() + _FORMER_EVERY_SECONDS

    async def _purge_deleted(self) -> None:
        now = time.monotonic()
        for webhook in self._endpoints.all:
            if webhook.deleted_at is None:
                continue
            first_seen = self._deleted_at.setdefault(webhook.number, now)
            # Those deleted long ago once: after a start there may be many.
            recent = time.time() - webhook.deleted_at.timestamp() < _PURGE_SECONDS
            if now == first_seen or (recent and now - first_seen < _PURGE_SECONDS):
                await self._queue.delete(webhook.number)
