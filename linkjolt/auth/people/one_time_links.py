"""Makes links that let a person in once: invitations, resets of passwords, the first sign-in."""

import secrets
from hashlib import sha256
from typing import Literal

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.accounts import may_sign_in
from linkjolt.registry.entries import User
from linkjolt.registry.reads import read_entry
from linkjolt.storage.redis import call

Purpose = Literal["join", "reset", "first"]
_TOKEN_BYTES = 32
# Days for who reads mail seldom; a reset is for somebody who waits for it.
LIFETIME_SECONDS: dict[Purpose, int] = {"join": 604_800, "reset": 86_400, "first": 604_800}
_INVALID = "the link is not valid: it was used, has expired or was replaced"


class _StoredLink(msgspec.Struct, frozen=True):
    user: int
    epoch: int
    purpose: Purpose
    removes_totp: bool = False


class FollowedLink(msgspec.Struct, frozen=True):
    """A link that may be used, and its person as stored now."""

    purpose: Purpose
    user: User
    removes_totp: bool


class OneTimeLinks:
    """Makes links, and lets each be used once; only a hash of their tokens is stored."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def make(self, user: User, purpose: Purpose, *, removes_totp: bool = False) -> str:
        """Returns the token of a new link; show it once."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        stored = _StoredLink(user.number, user.epoch, purpose, removes_totp)
        body = msgspec.json.encode(stored)
        await call(self._redis, "SET", _key(token), body, "EX", LIFETIME_SECONDS[purpose])
        return token

    async def find(self, token: str) -> FollowedLink:
        """Returns what a link is for; Rejected where it may not be used."""
        raw = await call(self._redis, "GET", _key(token))
        if raw is None:
            raise invalid_link()
        link = msgspec.json.decode(raw, type=_StoredLink)
        user = await read_entry(self._redis, User, link.user)
        if not user or user.epoch != link.epoch or not await may_sign_in(self._redis, user):
            raise invalid_link()
        return FollowedLink(link.purpose, user, link.removes_totp)

    async def use(self, token: str) -> None:
        """Uses a link up; Rejected for all but one of those who try."""
        if not await call(self._redis, "DEL", _key(token)):
            raise invalid_link()


def invalid_link() -> Rejected:
    return Rejected(Reason.unauthorized, _INVALID)


def link_url(reports_url: str, purpose: Purpose, token: str) -> str:
    """Returns the link; browsers send no server what is behind the `#`."""
    return f"{reports_url}/#/{purpose}?token={token}"


def _key(token: str) -> str:
    return redis_keys.one_time_link(sha256(token.encode()).hexdigest())
