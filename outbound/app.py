"""The webhooks process: its feed, a sender for each endpoint, and what wakes them."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from linkjolt.registry.entries import Webhook
from linkjolt.settings import Shared
from linkjolt.storage.redis import RedisError
from linkjolt.webhooks.queue import Queue
from outbound import metrics
from outbound.endpoints import Hooks
from outbound.feed import Feed
from outbound.retries import DELAYS_SECONDS
from outbound.sender import Sender

_BLOCK_MS = 1_000
_PAUSE_SECONDS = 1.0
_PULSE_SECONDS = 0.5
log = structlog.get_logger()


class Deliveries:
    """Reads events and delivers them until it is told to stop."""

    def __init__(
        self, redis: Redis, settings: Shared, delays: Sequence[float] = DELAYS_SECONDS
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._delays = delays
        self._hooks = Hooks(redis)
        self._queue = Queue(redis)
        self._feed = Feed(redis, self._hooks, self._queue, settings.shards)
        self._forgotten: set[int] = set()
        self._senders: dict[int, tuple[Sender, asyncio.Task[None]]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; what is under way then is tried again by the next process."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._read(stop)),
                tasks.create_task(self._pulse(tasks)),
            ]
            await stop.wait()
            for task in [*running, *(task for _, task in self._senders.values())]:
                task.cancel()

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                for number in await self._feed.step(_BLOCK_MS):
                    if number in self._senders:
                        self._senders[number][0].wake()
            except RedisError as error:
                metrics.RETRIES.inc()
                log.warning("webhooks wait for Redis, nothing is lost", error=str(error)[:200])
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _pulse(self, tasks: asyncio.TaskGroup) -> None:
        """Has a sender for each active endpoint, and wakes those for whom something is due."""
        while True:
            with suppress(RedisError):
                await self._hooks.refresh()
                await self._appoint(tasks)
                await self._forget_deleted()
                due = await self._queue.next_due_ms([*self._senders])
                now_ms = time.time_ns() // 1_000_000
                for number, due_ms in due.items():
                    if due_ms <= now_ms:
                        self._senders[number][0].wake()
            await asyncio.sleep(_PULSE_SECONDS)

    async def _appoint(self, tasks: asyncio.TaskGroup) -> None:
        active = {webhook.number: webhook for webhook in self._hooks.active}
        for number, (sender, task) in [*self._senders.items()]:
            # Changed, disabled or deleted: what it has under way is due again after its lease.
            if active.get(number) != sender.webhook or task.done():
                task.cancel()
                del self._senders[number]
        for number, webhook in active.items():
            if number not in self._senders:
                self._senders[number] = self._new(webhook, tasks)
        metrics.ENDPOINTS.set(len(active))

    async def _forget_deleted(self) -> None:
        for webhook in self._hooks.all:
            if webhook.deleted_at is not None and webhook.number not in self._forgotten:
                await self._queue.forget(webhook.number)
                self._forgotten.add(webhook.number)

    def _new(self, webhook: Webhook, tasks: asyncio.TaskGroup) -> tuple[Sender, asyncio.Task[None]]:
        allow = self._settings.webhook_allow_private
        sender = Sender(self._redis, self._queue, webhook, delays=self._delays, allow_private=allow)
        return sender, tasks.create_task(sender.run())
