"""Does the erasures and exports that accounts ask for, beside the aggregator's loop.

An erasure waits until all that was accepted before it is stored, empties the rows, and waits until
the streams have trimmed what was stored then. It ends with a second look, for what an edge had in
its spool, and with a rewrite of Redis's log, which holds the trimmed entries until then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog
from redis.asyncio import Redis

from aggregator import metrics
from aggregator.delivery.streams import Streams
from aggregator.privacy import warehouse
from linkjolt import redis_keys
from linkjolt.datasets import Dataset
from linkjolt.position import SEQUENCE_BITS, time_ms
from linkjolt.privacy.customers import (
    ANY_CAMPAIGN,
    earner_keys,
    first_order_keys,
    identities_of,
)
from linkjolt.privacy.jobs import PrivacyJob, PrivacyJobs
from linkjolt.redis_keys import Stream
from linkjolt.runtime.back_off import BackOff
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError, call
from linkjolt.web.requests import encode

_EVERY_SECONDS = 1.0
_PAUSE_FIRST_SECONDS = 0.5
_PAUSE_MAX_SECONDS = 30.0
_KEYS_AT_ONCE = 1_000
log = structlog.get_logger()


class PrivacyLoop:
    """Does jobs step by step; a failure is logged and tried again."""

    def __init__(
        self,
        redis: Redis,
        clickhouse: ClickHouse,
        settings: Settings,
        trimmable_position: Callable[[Stream], Awaitable[int]],
    ) -> None:
        self._redis = redis
        self._streams = Streams(redis)
        self._trimmable_position = trimmable_position
        self._retention_ms = int(settings.stream_retention_hours * 3_600_000)
        self._clickhouse = clickhouse
        self._shards = settings.shards
        self._jobs = PrivacyJobs(redis)
        self._retries = BackOff(_PAUSE_FIRST_SECONDS, _PAUSE_MAX_SECONDS)

    async def run(self, stop: asyncio.Event) -> None:
        """Steps until `stop`."""
        while not stop.is_set():
            wait_seconds = await self._try_step()
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), wait_seconds)

    async def _try_step(self) -> float:
        try:
            await self.step()
        except (ClickHouseFailed, RedisError, OSError) as error:
            log.warning("privacy jobs retry, none is lost", error=type(error).__name__)
            return next(self._retries)
        self._retries.reset()
        return _EVERY_SECONDS

    async def step(self) -> None:
        """Takes every open job one step further."""
        jobs = await self._jobs.read_open()
        metrics.PRIVACY_OPEN.set(len(jobs))
        for job in jobs:
            if job.state == "trimming":
                await self._end_when_trimmed(job)
            elif await self._is_stored_until(job.requested_at):
                await (self._erase(job) if job.kind == "erasure" else self._export(job))

    async def _is_stored_until(self, instant: datetime) -> bool:
        reply: dict[bytes, bytes] = await call(self._redis, "HGETALL", redis_keys.PROGRESS)
        stored_ms = {int(number): int(ms) for number, ms in reply.items()}
        wanted_ms = int(instant.timestamp() * 1000) + 1
        return all(
            stored_ms.get(stream.number, 0) >= wanted_ms
            for stream in redis_keys.streams(self._shards)
        )

    async def _export(self, job: PrivacyJob) -> None:
        found = await warehouse.export(self._clickhouse, job)
        await self._jobs.store_export(job.number, encode(found))
        await self._save_done(job, conversions=len(found))

    async def _erase(self, job: PrivacyJob) -> None:
        conversions, rejects = await warehouse.erase(self._clickhouse, job)
        erased = msgspec.structs.replace(
            job,
            state="trimming",
            conversions=job.conversions + conversions,
            rejects=job.rejects + rejects,
            claims=job.claims + await self._forget_claims(job),
            erased_at=_now(),
        )
        await self._jobs.save(erased)

    async def _end_when_trimmed(self, job: PrivacyJob) -> None:
        # No click has a customer.
        for shard in range(self._shards):
            stream = redis_keys.conversions(shard)
            if not await self._trim(stream, job.erased_at or job.requested_at):
                return
        conversions, rejects = await warehouse.erase(self._clickhouse, job)
        if conversions:
            # An edge had them in its spool: they are in the streams now.
            found = job.conversions + conversions, job.rejects + rejects
            again = msgspec.structs.replace(
                job, conversions=found[0], rejects=found[1], erased_at=_now()
            )
            await self._jobs.save(again)
            return
        # The customer must not be in the log that is written next.
        forgotten = msgspec.structs.replace(
            job,
            customer_id="",
            customer="",
            rejects=job.rejects + rejects,
            claims=job.claims + await self._forget_claims(job),
        )
        await self._jobs.save(forgotten)
        await self._save_done(forgotten, log_rewritten=await self._rewrite_log())

    async def _save_done(self, job: PrivacyJob, **found: int | bool) -> None:
        done = msgspec.structs.replace(
            job, state="done", customer_id="", customer="", finished_at=_now(), **found
        )
        await self._jobs.save(done)
        metrics.PRIVACY_DONE.labels(job.kind).inc()

    async def _trim(self, stream: Stream, instant: datetime) -> bool:
        """Drops what is past its retention; returns whether nothing up to an instant is left.

        The trimmer leaves some entries, of the newest the last.
        """
        until = (int(instant.timestamp() * 1000) + 1) << SEQUENCE_BITS
        if time.time_ns() // 1_000_000 < time_ms(until) + self._retention_ms:
            return False
        stored = await self._trimmable_position(stream)
        read = await self._streams.lowest_needed_position(stream)
        await self._streams.trim_until(stream, min(until, stored, read))
        oldest = await self._streams.oldest_position(stream)
        return oldest == 0 or oldest > until

    async def _forget_claims(self, job: PrivacyJob) -> int:
        """Deletes what says that the customer has ordered before, and whose he is."""
        last = int(await call(self._redis, "HGET", redis_keys.REGISTRY_NUMBERS, "campaign") or 0)
        forgotten = 0
        for start in range(ANY_CAMPAIGN, last + 1, _KEYS_AT_ONCE):
            campaigns = range(start, min(start + _KEYS_AT_ONCE, last + 1))
            keys = [key for campaign in campaigns for key in self._claims(job, campaign)]
            forgotten += await self._delete(keys)
        return forgotten

    def _claims(self, job: PrivacyJob, campaign: int) -> list[str]:
        of_customer = identities_of(job.customer_id, job.customer)
        keys: list[str] = []
        for number in warehouse.datasets_of(job.account):
            dataset = Dataset(number)
            keys += earner_keys(dataset, of_customer, campaign, self._shards)
            keys += first_order_keys(dataset, campaign, job.customer_id, job.customer, self._shards)
        return keys

    async def _delete(self, keys: Sequence[str]) -> int:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.unlink(key)
            return sum(await pipeline.execute())

    async def _rewrite_log(self) -> bool:
        """Lets Redis write its log anew; returns False where it refuses."""
        try:
            await call(self._redis, "BGREWRITEAOF")
        except RedisError as error:
            log.warning("redis refuses to rewrite its log", error=str(error)[:100])
            return False
        return True


def _now() -> datetime:
    return datetime.fromtimestamp(time.time_ns() // 1_000_000 / 1000, UTC)
