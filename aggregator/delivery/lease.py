"""Leases: which of several aggregators stores a stream."""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis

from linkjolt.redis_keys import Stream
from linkjolt.storage.redis import RedisError

Held = Literal["held", "taken", "foreign"]
_FOLDER = Path(__file__).parent
_RENEWED_AFTER = 1 / 3


class LeaseLost(Exception):
    """A stream is another aggregator's, or may have been since: its position is to be read anew."""


class Leases:
    """One aggregator's leases; `clock` gives seconds that only go forward."""

    def __init__(
        self, redis: Redis, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._owner = secrets.token_hex(8)
        self._seconds = seconds
        self._clock = clock
        # By lease: when its last renewal was sent, so that it ends for us before it does in Redis.
        self._renewed_at: dict[str, float] = {}
        self._hold = redis.register_script(_text("hold"))
        self._release = redis.register_script(_text("release"))

    async def hold(self, stream: Stream) -> Held:
        """'held' or 'taken' just now: for two thirds of its length at least it is ours; else not.

        RedisError leaves open who has it.
        """
        now = self._clock()
        if (
            now - self._renewed_at.get(stream.lease, -self._seconds)
            < self._seconds * _RENEWED_AFTER
        ):
            return "held"
        self._renewed_at.pop(stream.lease, None)
        arguments = [self._owner, int(self._seconds * 1000)]
        answer: bytes = await self._hold(keys=[stream.lease], args=arguments)
        if answer == b"foreign":
            return "foreign"
        self._renewed_at[stream.lease] = now
        return "held" if answer == b"held" else "taken"

    async def release(self) -> None:
        """Gives up all, so that nobody need wait; where Redis is away they expire."""
        with suppress(RedisError):
            for lease in self._renewed_at:
                await self._release(keys=[lease], args=[self._owner])
        self._renewed_at.clear()


def _text(name: str) -> str:
    return (_FOLDER / f"lease_{name}.lua").read_text(encoding="utf-8")
