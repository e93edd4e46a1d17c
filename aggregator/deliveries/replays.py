"""Queues logged deliveries again whose replay was asked for: in their order, a page at a time."""

from redis.asyncio import Redis

from aggregator import metrics
from linkjolt import redis_keys
from linkjolt.storage.lua import LuaScript
from linkjolt.storage.redis import call
from linkjolt.webhooks.deliveries.backlog import RANGE_DONE, Backlog, BacklogRange
from linkjolt.webhooks.deliveries.delivery import Delivery, format_key, parse_key, requeued
from linkjolt.webhooks.deliveries.log import WarehouseDeliveryLog
from linkjolt.webhooks.queue import pending_keys, queueing, read_queue_script

# Of one endpoint in Redis; the log holds the rest.
_LATER_MAX = 1_000
_PAGE_MIN = 200


class Refiller:
    """Queues deliveries of a range in one call with the range's new start: once."""

    def __init__(self, redis: Redis) -> None:
        self._script = LuaScript(redis, read_queue_script("refill"))

    async def refill(
        self,
        webhook: int,
        found: BacklogRange,
        start: str,
        deliveries: list[Delivery],
        now_ms: int,
        *,
        later: bool,
        closing: bool = False,
    ) -> int:
        """Queues deliveries and moves the start of their range.

        `closing`: later events are queued again. Returns how many deliveries are new; -1 if the
        range starts elsewhere now.
        """
        flags = [int(later), int(closing)]
        arguments: list[str | int | float | bytes] = [found.name, found.start, start, *flags]
        for one in deliveries:
            arguments += queueing(one, now_ms)
        [queued] = await self._script([(pending_keys(webhook), arguments)])
        metrics.DELIVERIES_QUEUED.inc(max(queued, 0))
        return queued


class Replays:
    """Works on the first replay of each endpoint."""

    def __init__(self, redis: Redis, log: WarehouseDeliveryLog, refiller: Refiller) -> None:
        self._redis = redis
        self._log = log
        self._refiller = refiller

    async def step(self, webhook: int, backlog: Backlog, now_ms: int) -> bool:
        """Queues the next page; returns whether there may be more, and room for it."""
        replays = [one for one in backlog.ranges if one.is_replay]
        if not replays:
            return False
        # Their names are the times at which they were asked for.
        found = min(replays, key=lambda one: one.name)
        waiting = int(await call(self._redis, "ZCARD", redis_keys.webhook_later(webhook)))
        room = _LATER_MAX - waiting
        if room < _PAGE_MIN:
            return False
        to_ms = parse_key(found.end)[0]
        page = await self._log.range(webhook, room, parse_key(found.start), to_ms, found.only)
        start = format_key(page[-1].key) if len(page) == room else RANGE_DONE
        # Those that were finished later have been sent since.
        asked = [one for one in page if one.finished_ms <= found.asked_ms]
        deliveries = [requeued(one) for one in await self._log.with_bodies(asked) if one.body]
        later = not found.only
        await self._refiller.refill(webhook, found, start, deliveries, now_ms, later=later)
        return len(replays) > 1 or start != RANGE_DONE
