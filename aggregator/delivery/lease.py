"""Leases each stream to one of several aggregators."""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.redis_keys import Stream
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import RedisError

LeaseState = Literal["held", "taken", "foreign"]
_FOLDER = Path(__file__).parent
_RENEWED_AFTER = 1 / 3


class LeaseLost(Exception):
    """Another aggregator has, or may have had, the stream: its position must be read again."""


class AuditLogLease:
    """The lease of the audit log, as if it were one stream."""

    lease_key = redis_keys.AUDIT_LEASE


class Leases:
    """One aggregator's leases; `clock` returns monotonic seconds."""

    def __init__(
        self, redis: Redis, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._owner = secrets.token_hex(8)
        self._seconds = seconds
        self._clock = clock
        # By lease: when its last renewal was sent, so that it expires here before it does in Redis.
        self._renewed_at: dict[str, float] = {}
        self._acquire_script = LuaScript(redis, read_script(_FOLDER / "lease_acquire.lua"))
        self._release_script = LuaScript(redis, read_script(_FOLDER / "lease_release.lua"))

    async def acquire(self, stream: Stream | AuditLogLease) -> LeaseState:
        """Takes or renews the lease of a stream, unless another aggregator has it.

        Returns 'held' if it was ours already, 'taken' if it is ours now, else 'foreign'. Ours stays
        valid for at least two thirds of its length. After RedisError the owner is unknown.
        """
        now = self._clock()
        if (
            now - self._renewed_at.get(stream.lease_key, -self._seconds)
            < self._seconds * _RENEWED_AFTER
        ):
            return "held"
        self._renewed_at.pop(stream.lease_key, None)
        args = [self._owner, int(self._seconds * 1000)]
        [state] = await self._acquire_script([([stream.lease_key], args)])
        if state == b"foreign":
            return "foreign"
        self._renewed_at[stream.lease_key] = now
        return "held" if state == b"held" else "taken"

    async def release(self) -> None:
        """Releases all leases at once; while Redis is unavailable they expire."""
        with suppress(RedisError):
            for lease in self._renewed_at:
                await self._release_script([([lease], [self._owner])])
        self._renewed_at.clear()
