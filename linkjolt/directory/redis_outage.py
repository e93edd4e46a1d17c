"""Serves registry entries from a snapshot while Redis is unavailable."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.datasets import Account
from linkjolt.registry.entries import AccountEntry, ApiKey, OAuthClient
from linkjolt.registry.rates import RateTable

_OPEN_SECONDS = 1.0
T = TypeVar("T")


class RegistrySnapshot(Protocol):
    """A copy of the registry elsewhere; returns None for entries it lacks."""

    async def route(self, code: str) -> Route | None: ...

    async def route_by_number(self, number: int) -> Route | None: ...

    async def key(self, digest: str) -> ApiKey | None: ...

    async def account(self, number: int) -> AccountEntry | None: ...

    async def client(self, number: int) -> OAuthClient | None: ...

    async def coupon(self, account: Account, code: str) -> CouponRoute | None: ...

    async def rates(self, account: Account) -> RateTable: ...


class CircuitBreaker:
    """Reads from Redis; for a second after a failure, and on a failure, reads from the snapshot.

    An entry that the snapshot lacks may exist nevertheless: then RedisError passes through.
    """

    def __init__(self, snapshot: RegistrySnapshot | None) -> None:
        self._snapshot = snapshot
        self._open_until_monotonic = 0.0

    async def read(
        self,
        from_redis: Callable[[], Awaitable[T | None]],
        from_snapshot: Callable[[RegistrySnapshot], Awaitable[T | None]],
    ) -> T | None:
        """Returns the value in Redis, or that in the snapshot."""
        if self._snapshot is None:
            return await from_redis()
        if time.monotonic() >= self._open_until_monotonic:
            try:
                return await from_redis()
            except RedisError:
                self._open_until_monotonic = time.monotonic() + _OPEN_SECONDS
        entry = await from_snapshot(self._snapshot)
        if entry is None:
            raise RedisConnectionError("Redis is unavailable, and the snapshot lacks the entry")
        return entry
