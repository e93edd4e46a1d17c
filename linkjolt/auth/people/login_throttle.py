"""Bounds the guesses of passwords, by the address they come from and by the person they are of."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.lua import LuaScript, read_script

_FOLDER = Path(__file__).parent
_COUNT = read_script(_FOLDER / "login_throttle.lua")
_TAKE_BACK = read_script(_FOLDER / "login_success.lua")
WINDOW_SECONDS = 600
Guessed = Literal["address", "email", "user"]
# An address has fewer than a person, so that no single one can keep a person out.
GUESSES_MAX: dict[Guessed, int] = {"address": 20, "email": 60, "user": 20}


class Attempt(msgspec.Struct, frozen=True):
    """One guess: the counters that it counts under, and their bounds."""

    keys: tuple[str, ...]
    bounds: tuple[int, ...]


def attempt(**values: str) -> Attempt:
    """Returns a guess from an `address`, for an `email` or a `user`."""
    kinds: Sequence[Guessed] = [kind for kind in GUESSES_MAX if kind in values]
    return Attempt(
        tuple(redis_keys.sign_in_failures(kind, values[kind]) for kind in kinds),
        tuple(GUESSES_MAX[kind] for kind in kinds),
    )


class LoginThrottle:
    """Counts guesses before they are made, so that many at once are bounded, too."""

    def __init__(self, redis: Redis) -> None:
        self._count = LuaScript(redis, _COUNT)
        self._take_back = LuaScript(redis, _TAKE_BACK)

    async def count(self, made: Attempt) -> None:
        """Counts a guess; Rejected where there were too many in a window."""
        [seconds] = await self._count([(made.keys, [WINDOW_SECONDS, *made.bounds])])
        if seconds:
            message = f"too many sign-ins were refused: try again in {seconds} seconds"
            raise Rejected(Reason.too_many_requests, message, retry_after_seconds=int(seconds))

    async def take_back(self, made: Attempt) -> None:
        """Takes a guess back that was right."""
        await self._take_back([(made.keys, [])])
