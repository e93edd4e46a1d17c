"""Runs the webhooks process: one feed, and a sender for each active endpoint."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from linkjolt.registry.entries import Webhook
from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import RedisError
from linkjolt.webhooks.queue import DeliveryQueue
from outbound import metrics
from outbound.endpoints import Endpoints
from outbound.feed import WebhookFeed
from outbound.retries import DELAYS_SECONDS
from outbound.sender import EndpointSender

_BLOCK_MS = 1_000
_PAUSE_SECONDS = 1.0
_POLL_SECONDS = 0.5
log = structlog.get_logger()


class WebhookDelivery:
    """Reads events from the streams and delivers them."""

    def __init__(
        self, redis: Redis, settings: SharedSettings, delays: Sequence[float] = DELAYS_SECONDS
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._delays = delays
        self._endpoints = Endpoints(redis)
        self._queue = DeliveryQueue(redis)
        self._feed = WebhookFeed(redis, self._endpoints, self._queue, settings.shards)
        self._purged: set[int] = set()
        self._senders: dict[int, tuple[EndpointSender, asyncio.Task[None]]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`; deliveries in progress then are retried by the next process."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._read(stop)),
                tasks.create_task(self._poll(tasks)),
            ]
            await stop.wait()
            for task in [*running, *(task for _, task in self._senders.values())]:
                task.cancel()

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                for number in await self._feed.enqueue_new(_BLOCK_MS):
                    if number in self._senders:
                        self._senders[number][0].wake()
            except RedisError as error:
                metrics.RETRIES.inc()
                log.warning("webhooks wait for redis, nothing is lost", error=str(error)[:200])
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _poll(self, tasks: asyncio.TaskGroup) -> None:
        """Keeps a sender for each active endpoint, and wakes those with a delivery that is due."""
        while True:
            with suppress(RedisError):
                await self._endpoints.refresh()
                await self._update_senders(tasks)
                await self._purge_deleted()
                due = await self._queue.next_due_ms([*self._senders])
                now_ms = time.time_ns() // 1_000_000
                for number, due_ms in due.items():
                    if due_ms <= now_ms:
                        self._senders[number][0].wake()
            await asyncio.sleep(_POLL_SECONDS)

    async def _update_senders(self, tasks: asyncio.TaskGroup) -> None:
        active = {webhook.number: webhook for webhook in self._endpoints.active}
        for number, (sender, task) in [*self._senders.items()]:
            # Changed, disabled or deleted: deliveries in progress are due again after their lease.
            if active.get(number) != sender.webhook or task.done():
                task.cancel()
                del self._senders[number]
        for number, webhook in active.items():
            if number not in self._senders:
                self._senders[number] = self._start_sender(webhook, tasks)
        metrics.ENDPOINTS.set(len(active))

    async def _purge_deleted(self) -> None:
        for webhook in self._endpoints.all:
            if webhook.deleted_at is not None and webhook.number not in self._purged:
                await self._queue.delete(webhook.number)
                self._purged.add(webhook.number)

    def _start_sender(
        self, webhook: Webhook, tasks: asyncio.TaskGroup
    ) -> tuple[EndpointSender, asyncio.Task[None]]:
        allow = self._settings.webhook_allow_private
        sender = EndpointSender(
            self._redis, self._queue, webhook, delays=self._delays, allow_private=allow
        )
        return sender, tasks.create_task(sender.run())
