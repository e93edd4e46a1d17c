"""The visitor hash's salts: one a UTC day, shared by all aggregators, then gone for good."""

import secrets
from collections.abc import Iterable

from redis.asyncio import Redis

from aggregator.enrich import utc_day
from linkjolt import names
from linkjolt.redis_client import RedisError, call


class Salts:
    """Keeps the salts of the days in use; `keep_hours` is how long a salt outlives its making."""

    def __init__(self, redis: Redis, keep_hours: float) -> None:
        self._redis = redis
        self._keep_seconds = int(keep_hours * 3_600)
        self._known: dict[str, bytes] = {}

    async def of(self, days: Iterable[str]) -> dict[str, bytes]:
        """Salts by day, `YYYY-MM-DD`; made where there is none yet."""
        for day in days:
            if day not in self._known:
                self._known[day] = await self._shared(day)
        while len(self._known) > 64:
            del self._known[next(iter(self._known))]
        return self._known

    async def prepare(self, now_ms: int) -> None:
        """Makes today's salt and tomorrow's ahead: later Redis may be too full to take one."""
        await self.of([utc_day(now_ms), utc_day(now_ms + 86_400_000)])

    async def _shared(self, day: str) -> bytes:
        key = names.visitor_salt(day)
        salt = await call(self._redis, "GET", key)
        if salt is None:
            made = secrets.token_bytes(16)
            await call(self._redis, "SET", key, made, "NX", "EX", self._keep_seconds)
            salt = await call(self._redis, "GET", key)
        if salt is None:
            raise RedisError(f"the salt of {day} vanished while it was made")
        return salt
