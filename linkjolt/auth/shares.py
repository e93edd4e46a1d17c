"""Leases shares of rate limits from Redis ahead of use, so that requests are judged from memory."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import cast
from uuid import uuid4

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.auth import gcra, metrics
from linkjolt.auth.gcra import Limit
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import RedisError, call

# A request that finds no share waits this long for one; then Redis counts as unavailable.
_WAIT_SECONDS = 0.1
# A process does not ask again sooner: under a flood, it would ask for each cell.
_REFUSED_MIN_SECONDS = 0.05
_PROBE_SECONDS = 1.0
_ROUND_SECONDS = 1.0
# A share that is not used goes back, so that other processes get it; the bucket is forgotten later.
_RETURN_SECONDS = 2.0
_FORGET_SECONDS = 90.0
_BUCKETS_MAX = 20_000
_ALIVE_SECONDS = 10.0
_SCRIPT = read_script(Path(__file__).parent / "lease.lua")


class Bucket(msgspec.Struct, eq=False):
    """What a process knows of one limit: the cells that it holds, and what Redis said last.

    Instants are of the process's monotonic clock. `owed` cells were taken without a lease, or are
    to be given back if negative. `full_at` is the local limit's.
    """

    key: str
    limit: Limit
    share: int = 0
    owed: int = 0
    waiting: int = 0
    left: int = 0
    left_at: float = 0.0
    refused_until: float = 0.0
    full_at: float = 0.0
    used_at: float = 0.0
    answer: asyncio.Future[None] | None = None

    def remaining(self, now: float) -> int:
        """Estimates how many more requests may be sent at once."""
        if not self.share and now < self.refused_until:
            return 0
        new = int((now - self.left_at) / self.limit.interval_seconds)
        return max(0, min(self.limit.burst, self.share + self.left + new))


class Shares:
    """Holds this process's shares of all limits; run `run` beside it.

    While Redis is unavailable each process limits by itself, to its part of a limit.
    """

    def __init__(self, redis: Redis, clock: Callable[[], float] = time.monotonic) -> None:
        self._redis = redis
        self._script = LuaScript(redis, _SCRIPT)
        self.clock = clock
        self._buckets: OrderedDict[tuple[str, int], Bucket] = OrderedDict()
        self._asking: list[Bucket] = []
        self._exchange: asyncio.Task[None] | None = None
        self._is_available = True
        self._probe_at = 0.0
        self._processes = 1
        self._id = uuid4().hex

    @property
    def is_asking(self) -> bool:
        """Returns whether an exchange with Redis is under way."""
        return self._exchange is not None

    def bucket(self, limit: Limit, holder: int) -> Bucket:
        """Returns the bucket of a limit that is the holder's."""
        name = limit.name, holder
        bucket = self._buckets.get(name)
        if bucket is None or bucket.limit != limit:
            key = redis_keys.rate_limit(limit.name, str(holder))
            bucket = self._buckets[name] = Bucket(key, limit)
            if len(self._buckets) > _BUCKETS_MAX:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(name)
        return bucket

    async def take(self, bucket: Bucket) -> bool:
        """Takes a cell, mostly from memory; returns False until there is one again."""
        taken = self._take_from_memory(bucket)
        if taken is None and self._is_available:
            taken = await self._take_from_redis(bucket)
        return self._take_locally(bucket) if taken is None else taken

    def give_back(self, bucket: Bucket) -> None:
        """Gives a cell back that was taken for a request that another limit refused."""
        bucket.share += 1

    def take_unleased(self, bucket: Bucket) -> bool:
        """Takes a cell by what this process has counted, and Redis said last; waits for nothing."""
        now = bucket.used_at = self.clock()
        return now >= bucket.refused_until and self._take_of(bucket, bucket.limit)

    def report(self, bucket: Bucket) -> None:
        """Reports the cells that were taken without a lease, in the background."""
        self._ask(bucket)

    def is_refused(self, bucket: Bucket) -> bool:
        """Returns whether the next cell would be refused, from memory."""
        now = self.clock()
        until = gcra.retry_at(bucket.limit, bucket.full_at, now)
        return now < max(bucket.refused_until, until)

    def _take_from_memory(self, bucket: Bucket) -> bool | None:
        now = bucket.used_at = self.clock()
        if bucket.share > 0:
            bucket.share -= 1
            batch = bucket.limit.batch
            if batch and bucket.share <= batch // 2 and now >= bucket.refused_until:
                self._ask_ahead(bucket)
            return True
        return False if now < bucket.refused_until else None

    def _ask_ahead(self, bucket: Bucket) -> None:
        if self._is_available:
            self._ask(bucket)

    async def _take_from_redis(self, bucket: Bucket) -> bool | None:
        """Waits for a share; None where Redis grants none in time."""
        deadline = self.clock() + _WAIT_SECONDS
        taken: bool | None = None
        while taken is None and self._is_available:
            answer = self._ask(bucket)
            bucket.waiting += 1
            try:
                await asyncio.wait([answer], timeout=max(deadline - self.clock(), 0))
            finally:
                bucket.waiting -= 1
            if not answer.done():
                self._lose_redis()
            taken = self._take_from_memory(bucket)
        return taken

    def _take_locally(self, bucket: Bucket) -> bool:
        """Takes a cell of this process's part of the limit, and asks in passing for Redis."""
        now = self.clock()
        if now >= self._probe_at:
            self._probe_at = now + _PROBE_SECONDS
            self._ask(bucket)
        if now < bucket.refused_until:
            return False
        return self._take_of(bucket, gcra.shared_by(bucket.limit, self._processes))

    def _take_of(self, bucket: Bucket, limit: Limit) -> bool:
        now = self.clock()
        until = gcra.retry_at(limit, bucket.full_at, now)
        if now < until:
            bucket.refused_until = until
            return False
        bucket.full_at = max(bucket.full_at, now) + limit.interval_seconds
        bucket.left, bucket.left_at = gcra.available(limit, bucket.full_at, now), now
        bucket.owed += 1
        return True

    def _ask(self, bucket: Bucket) -> asyncio.Future[None]:
        """Asks Redis for a share, with all others that are asked for in this turn of the loop."""
        if bucket.answer is None:
            loop = asyncio.get_running_loop()
            bucket.answer = loop.create_future()
            self._asking.append(bucket)
            if self._exchange is None:
                self._exchange = loop.create_task(self._exchange_all())
        return bucket.answer

    async def _exchange_all(self) -> None:
        try:
            while self._asking:
                asking, self._asking = self._asking, []
                await self._exchange_some(asking)
        finally:
            self._exchange = None

    async def _exchange_some(self, buckets: Sequence[Bucket]) -> None:
        asked = [self._request(bucket) for bucket in buckets]
        replies: Sequence[object] = ()
        try:
            calls = [((one.bucket.key,), one.arguments()) for one in asked]
            replies = await self._script.outcomes(calls)
        except RedisError:
            pass
        finally:
            for request, reply in zip_longest(asked, replies):
                self._settle(request, reply)

    def _request(self, bucket: Bucket) -> "_LeaseRequest":
        now = self.clock()
        # What was taken long ago would be there again by now.
        missing = bucket.limit.burst - gcra.available(bucket.limit, bucket.full_at, now)
        owed, bucket.owed = min(bucket.owed, missing), 0
        return _LeaseRequest(bucket, owed, self._wanted(bucket))

    def _wanted(self, bucket: Bucket) -> int:
        idle = self.clock() - bucket.used_at > _RETURN_SECONDS
        return 0 if idle else max(0, bucket.limit.batch + bucket.waiting - bucket.share)

    def _settle(self, request: "_LeaseRequest", reply: object) -> None:
        bucket, now = request.bucket, self.clock()
        answer, bucket.answer = bucket.answer, None
        if isinstance(reply, list):
            self._is_available = True
            granted, left, wait_us = cast(list[int], reply)
            bucket.share += granted
            bucket.left, bucket.left_at = left, now
            # Without Redis, this process continues from there.
            missing_seconds = (bucket.limit.burst - left) * bucket.limit.interval_seconds
            bucket.full_at = max(bucket.full_at, now + missing_seconds)
            if left == 0:
                bucket.refused_until = now + max(wait_us / 1e6, _REFUSED_MIN_SECONDS)
            outcome = "refused" if granted < request.wanted else "granted"
        else:
            self._lose_redis()
            # Given back twice, cells would be spent twice.
            bucket.owed += max(request.owed, 0)
            outcome = "unavailable"
        metrics.RATE_LEASES.labels(outcome).inc()
        if answer and not answer.done():
            answer.set_result(None)

    def _lose_redis(self) -> None:
        self._is_available = False
        self._probe_at = self.clock() + _PROBE_SECONDS

    async def run(self) -> None:
        """Gives back shares that are not used, and counts the processes, for ever."""
        task = asyncio.current_task()
        try:
            while not (task and task.cancelling()):
                await self._count_processes()
                self._return_idle()
                await asyncio.sleep(_ROUND_SECONDS)
        finally:
            if self._exchange:
                self._exchange.cancel()

    async def _count_processes(self) -> None:
        key, now_ms = redis_keys.RATE_PROCESSES, time.time_ns() // 1_000_000
        oldest_ms = now_ms - round(_ALIVE_SECONDS * 1000)
        try:
            await call(self._redis, "ZADD", key, now_ms, self._id)
            await call(self._redis, "ZREMRANGEBYSCORE", key, "-inf", oldest_ms)
            self._processes = max(1, await call(self._redis, "ZCARD", key))
        except RedisError:
            # The last number stays: while Redis is unavailable, each process needs it.
            return

    def _return_idle(self) -> None:
        now = self.clock()
        for name, bucket in list(self._buckets.items()):
            idle_seconds = now - bucket.used_at
            if idle_seconds > _FORGET_SECONDS:
                del self._buckets[name]
            elif idle_seconds > _RETURN_SECONDS and bucket.share > 0 and self._is_available:
                bucket.owed -= bucket.share
                bucket.share = 0
                self._ask(bucket)


class _LeaseRequest(msgspec.Struct, frozen=True):
    """What is asked of Redis for a bucket: `owed` cells are counted, `wanted` ones granted."""

    bucket: Bucket
    owed: int
    wanted: int

    def arguments(self) -> tuple[str, int, int, int]:
        limit = self.bucket.limit
        return f"{limit.interval_seconds * 1e6:.6f}", limit.burst, self.wanted, self.owed
