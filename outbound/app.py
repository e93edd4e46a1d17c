"""Runs the webhooks process: one feed, and a sender for each active endpoint."""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress

import structlog
from redis.asyncio import Redis

from linkjolt.logs import MinuteLine
from linkjolt.registry.entries import Webhook
from linkjolt.registry.sealed.entries import open_webhook
from linkjolt.registry.store import Registry
from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import RedisError
from linkjolt.storage.sealing import Sealer, SealError
from linkjolt.webhooks.allowed_targets import private_targets
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.queue import DeliveryQueue
from outbound import metrics
from outbound.endpoint_state import delete_state, forget_failures
from outbound.feed import WebhookFeed
from outbound.resolver import Resolver
from outbound.retries import DELAYS_SECONDS
from outbound.sender import EndpointSender
from outbound.upkeep import QueueUpkeep

_BLOCK_MS = 1_000
_PAUSE_SECONDS = 1.0
_POLL_SECONDS = 0.5
# Less than `linkjolt up` waits for this process.
_DRAIN_SECONDS = 2.5
# redis-py may swallow a cancellation.
_CANCEL_SECONDS = 0.5
log = structlog.get_logger()
_unopened = MinuteLine(logging.ERROR, "webhooks wait, their secrets do not open")


class WebhookDelivery:
    """Reads events from the streams and delivers them."""

    def __init__(
        self,
        redis: Redis,
        settings: SharedSettings,
        sealer: Sealer,
        delays: Sequence[float] = DELAYS_SECONDS,
        resolver: Resolver | None = None,
    ) -> None:
        self._redis = redis
        self._settings = settings
        self._sealer = sealer
        self._delays = delays
        self._resolver = resolver or Resolver()
        self._endpoints = Endpoints(redis)
        self._queue = DeliveryQueue(redis)
        self._feed = WebhookFeed(redis, self._endpoints, self._queue, settings.shards)
        self._upkeep = QueueUpkeep(redis, self._endpoints, self._queue, settings)
        # As stored, and with its secrets.
        self._opened: dict[int, tuple[Webhook, Webhook]] = {}
        self._purged: set[int] = set()
        self._forgiven: set[int] = set()
        self._senders: dict[int, EndpointSender] = {}
        # Those that were stopped, too, until what they have under way has ended.
        self._tasks: dict[asyncio.Task[None], int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until `stop`; waits a little for what is under way then."""
        await self._upkeep.adopt_pending()
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._read(stop)),
                tasks.create_task(self._poll(tasks, stop)),
                tasks.create_task(self._upkeep.run(stop)),
            ]
            await stop.wait()
            for task in running:
                task.cancel()
            for sender in self._senders.values():
                sender.stop()
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=_DRAIN_SECONDS)
            # The next process sends again what has no answer yet.
            while self._tasks:
                for task in self._tasks:
                    task.cancel()
                await asyncio.wait(self._tasks, timeout=_CANCEL_SECONDS)

    async def _read(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                for number in await self._feed.enqueue_new(_BLOCK_MS):
                    if number in self._senders:
                        self._senders[number].wake()
            except (RedisError, OSError) as error:
                metrics.RETRIES.inc()
                log.warning("webhooks wait for redis, nothing is lost", error=str(error)[:200])
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _poll(self, tasks: asyncio.TaskGroup, stop: asyncio.Event) -> None:
        """Keeps a sender for each active endpoint, and wakes those with a delivery that is due."""
        while not stop.is_set():
            with suppress(RedisError, OSError):
                await self._endpoints.refresh()
                if not stop.is_set():
                    self._update_senders(tasks)
                await self._clean_up()
                await self._wake_due()
            await asyncio.sleep(_POLL_SECONDS)

    async def _wake_due(self) -> None:
        due = await self._queue.next_due_ms([*self._senders])
        now_ms = time.time_ns() // 1_000_000
        for number, due_ms in due.items():
            if due_ms <= now_ms and number in self._senders:
                self._senders[number].wake()

    def _update_senders(self, tasks: asyncio.TaskGroup) -> None:
        active = {webhook.number: webhook for webhook in self._opened_endpoints()}
        for number, sender in [*self._senders.items()]:
            webhook = active.get(number)
            if webhook is None or webhook.url != sender.webhook.url or sender.stopping:
                sender.stop()
                del self._senders[number]
            else:
                sender.update(webhook)
        for number, webhook in active.items():
            if number not in self._senders:
                self._start_sender(webhook, tasks)
        metrics.ENDPOINTS.set(len(active))
        metrics.FAILING.set(sum(sender.is_failing for sender in self._senders.values()))

    def _opened_endpoints(self) -> list[Webhook]:
        """Returns the active endpoints with their secrets, each opened once.

        Deliveries of one whose secrets do not open wait in its queue: unsigned they are worthless.
        """
        opened: dict[int, tuple[Webhook, Webhook]] = {}
        for webhook in self._endpoints.active:
            known = self._opened.get(webhook.number)
            try:
                ready = (
                    known[1]
                    if known and known[0] is webhook
                    else open_webhook(webhook, self._sealer)
                )
            except SealError as error:
                _unopened.count(error=error)
                continue
            opened[webhook.number] = webhook, ready
        self._opened = opened
        return [ready for _, ready in opened.values()]

    async def _clean_up(self) -> None:
        """Forgets the failures of disabled endpoints, and whatever deleted ones had."""
        under_way = set(self._tasks.values())
        for webhook in self._endpoints.all:
            number = webhook.number
            if number in under_way or number in self._purged:
                continue
            if webhook.deleted_at is not None:
                await delete_state(self._redis, number)
                self._purged.add(number)
            elif webhook.status == "disabled" and number not in self._forgiven:
                await forget_failures(self._redis, number)
                self._forgiven.add(number)

    def _start_sender(self, webhook: Webhook, tasks: asyncio.TaskGroup) -> None:
        self._forgiven.discard(webhook.number)
        sender = EndpointSender(
            Registry(self._redis, self._sealer),
            self._queue,
            webhook,
            self._resolver,
            delays=self._delays,
            allowed=private_targets(self._settings),
        )
        task = tasks.create_task(sender.run())
        self._senders[webhook.number] = sender
        self._tasks[task] = webhook.number
        task.add_done_callback(self._tasks.pop)
