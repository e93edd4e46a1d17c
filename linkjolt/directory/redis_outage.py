"""What is known of the registry while Redis is away."""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.registry.entries import ApiKey

_AWAY_SECONDS = 1.0
T = TypeVar("T")


class LastKnown(Protocol):
    """A copy of the registry elsewhere; None for what it lacks."""

    async def route(self, code: str) -> Route | None: ...

    async def route_by_number(self, number: int) -> Route | None: ...

    async def key(self, digest: str) -> ApiKey | None: ...

    async def coupon(self, account: int, code: str) -> CouponRoute | None: ...


class Guarded:
    """Asks Redis; for a second after a failure, and in place of a failure, asks the copy.

    What the copy lacks may exist all the same: then RedisError passes through.
    """

    def __init__(self, last_known: LastKnown | None) -> None:
        self._last_known = last_known
        self._away_until = 0.0

    async def ask(
        self,
        redis: Callable[[], Awaitable[T | None]],
        instead: Callable[[LastKnown], Awaitable[T | None]],
    ) -> T | None:
        """The answer of Redis, or the copy's."""
        if self._last_known is None:
            return await redis()
        if time.monotonic() >= self._away_until:
            try:
                return await redis()
            except RedisError:
                self._away_until = time.monotonic() + _AWAY_SECONDS
        found = await instead(self._last_known)
        if found is None:
            raise RedisConnectionError("Redis is away, and the local copy does not know it")
        return found
