"""The visitor hash's salts: one a UTC day, shared by all aggregators, then gone for good."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from aggregator.rows.batches import NoSalt
from aggregator.rows.enrich import utc_day
from linkjolt import redis_keys
from linkjolt.storage.redis import RedisError, call

T = TypeVar("T")


class Salts:
    """Keeps the salts of the days in use; `keep_hours` is how long a salt outlives its making."""

    def __init__(self, redis: Redis, keep_hours: float) -> None:
        self._redis = redis
        self._keep_seconds = int(keep_hours * 3_600)
        self._known: dict[str, bytes] = {}
        self._unshared: dict[str, bytes] = {}

    async def of(self, days: Iterable[str]) -> dict[str, bytes]:
        """Salts by day, `YYYY-MM-DD`; made where there is none yet."""
        for day in days:
            if day not in self._known or day in self._unshared:
                self._known[day] = await self._of_day(day)
        while len(self._known) > 64:
            del self._known[next(iter(self._known))]
        return self._known

    async def run(self, make: Callable[[Mapping[str, bytes]], T]) -> T:
        """What `make` returns, called with the salts of all days that it asks for by NoSalt."""
        while True:
            try:
                return make(self._known)
            except NoSalt as missing:
                await self.of([missing.day])

    async def prepare(self, now_ms: int) -> None:
        """Makes today's salt and tomorrow's ahead: later Redis may be too full to take one."""
        await self.of([utc_day(now_ms), utc_day(now_ms + 86_400_000)])

    async def _of_day(self, day: str) -> bytes:
        made = self._unshared.get(day) or secrets.token_bytes(16)
        try:
            salt = await self._shared(redis_keys.visitor_salt(day), made)
        except OutOfMemoryError:
            # Only what is stored can be trimmed, so that a full Redis must not stop the storing.
            # Were this process to end before there is room, the day's visitors would count anew.
            self._unshared[day] = made
            return made
        self._unshared.pop(day, None)
        return salt

    async def _shared(self, key: str, made: bytes) -> bytes:
        salt = await call(self._redis, "GET", key)
        if salt is None:
            await call(self._redis, "SET", key, made, "NX", "EX", self._keep_seconds)
            salt = await call(self._redis, "GET", key)
        if salt is None:
            raise RedisError(f"{key} vanished while it was made")
        return salt
