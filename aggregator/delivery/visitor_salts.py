"""Shares the visitor hash's salts between aggregators: one a UTC day, which then expires."""

import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from aggregator.rows.batches import SaltMissing
from aggregator.rows.enrich import utc_day
from linkjolt import redis_keys
from linkjolt.storage.redis import RedisError, call

T = TypeVar("T")


class VisitorSalts:
    """The salts of the days in use; Redis keeps a salt for `keep_hours` from its creation."""

    def __init__(self, redis: Redis, keep_hours: float) -> None:
        self._redis = redis
        self._keep_seconds = int(keep_hours * 3_600)
        self._salts: dict[str, bytes] = {}
        self._unshared: dict[str, bytes] = {}

    async def get(self, days: Iterable[str]) -> dict[str, bytes]:
        """Returns salts by day, `YYYY-MM-DD`; creates those that do not exist."""
        for day in days:
            if day not in self._salts or day in self._unshared:
                self._salts[day] = await self._get_day(day)
        while len(self._salts) > 64:
            del self._salts[next(iter(self._salts))]
        return self._salts

    async def build_with_salts(self, build: Callable[[Mapping[str, bytes]], Awaitable[T]]) -> T:
        """Calls `build` with the known salts until it raises no SaltMissing; returns its result."""
        while True:
            try:
                return await build(self._salts)
            except SaltMissing as missing:
                await self.get([missing.day])

    async def prepare(self, now_ms: int) -> None:
        """Creates the salts of today and tomorrow ahead: later Redis may be too full."""
        await self.get([utc_day(now_ms), utc_day(now_ms + 86_400_000)])

    async def _get_day(self, day: str) -> bytes:
        new_salt = self._unshared.get(day) or secrets.token_bytes(16)
        try:
            salt = await self._get_or_create(redis_keys.visitor_salt(day), new_salt)
        except OutOfMemoryError:
            # A full Redis must not stop the storing, for only stored events can be trimmed. If this
            # process ends before there is room, the day's visitors are counted anew.
            self._unshared[day] = new_salt
            return new_salt
        self._unshared.pop(day, None)
        return salt

    async def _get_or_create(self, key: str, new_salt: bytes) -> bytes:
        salt = await call(self._redis, "GET", key)
        if salt is None:
            await call(self._redis, "SET", key, new_salt, "NX", "EX", self._keep_seconds)
            salt = await call(self._redis, "GET", key)
        if salt is None:
            raise RedisError(f"{key} vanished while it was created")
        return salt
