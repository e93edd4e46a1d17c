"""Keeps the sessions of people in Redis, by a hash of their tokens."""

import hmac
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.accounts import may_sign_in
from linkjolt.registry.entries import User
from linkjolt.registry.reads import read_entry
from linkjolt.storage.redis import call

_TOKEN_BYTES = 32
# Its end is moved at most so often: each move is written to the disk.
_MOVE_SECONDS = 60


class _StoredSession(msgspec.Struct, frozen=True):
    user: int
    epoch: int
    created_ms: int


class OpenSession(msgspec.Struct, frozen=True):
    """A session that is valid: its person as stored now, and when it ends at the latest."""

    token: str
    user: User
    ends_ms: int

    @property
    def csrf_token(self) -> str:
        """Returns what a page of ours sends as a header; no other page can read it."""
        return sha256(b"csrf:" + self.token.encode()).hexdigest()

    def is_csrf_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode(), self.csrf_token.encode())

    def __repr__(self) -> str:
        return f"OpenSession({self.user.number})"


class Sessions:
    """Opens, finds and ends sessions; RedisError passes through.

    One ends `idle_seconds` after its last use, and `max_seconds` after its begin. All of a person's
    end, everywhere and at once, by a new `epoch` of the person, for each use reads that.
    """

    def __init__(
        self,
        redis: Redis,
        idle_seconds: float,
        max_seconds: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.redis = redis
        self._idle_seconds = max(1, int(idle_seconds))
        self.max_seconds = max(1, int(max_seconds))
        self._now = now

    async def open(self, user: User) -> OpenSession:
        """Opens a session under a new token."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        created_ms = self._now_ms()
        body = msgspec.json.encode(_StoredSession(user.number, user.epoch, created_ms))
        seconds = min(self._idle_seconds, self.max_seconds)
        await call(self.redis, "SET", _key(token), body, "EX", seconds)
        return OpenSession(token, user, created_ms + self.max_seconds * 1_000)

    async def find(self, token: str) -> OpenSession | None:
        """Returns the session of a token, used now; None where it has ended."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.get(_key(token))
        pipeline.ttl(_key(token))
        raw, ttl = cast(tuple[bytes | None, int], await cast(Any, pipeline).execute())
        if raw is None:
            return None
        stored = msgspec.json.decode(raw, type=_StoredSession)
        ends_ms = stored.created_ms + self.max_seconds * 1_000
        left_seconds = (ends_ms - self._now_ms()) // 1_000
        user = await read_entry(self.redis, User, stored.user)
        if not user or user.epoch != stored.epoch or left_seconds <= 0:
            await self.end(token)
            return None
        if not await may_sign_in(self.redis, user):
            return None
        seconds = min(self._idle_seconds, left_seconds)
        if ttl < seconds - min(_MOVE_SECONDS, self._idle_seconds // 10):
            await call(self.redis, "EXPIRE", _key(token), seconds)
        return OpenSession(token, user, ends_ms)

    async def end(self, token: str) -> None:
        await call(self.redis, "DEL", _key(token))

    def _now_ms(self) -> int:
        return int(self._now() * 1_000)


def _key(token: str) -> str:
    return redis_keys.session(sha256(token.encode()).hexdigest())
