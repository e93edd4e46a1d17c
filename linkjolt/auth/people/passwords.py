"""Hashes and verifies passwords by argon2id, a few at once and in threads of their own."""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from linkjolt.reasons import Reason, Rejected

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
PASSWORD_MIN = 12
PASSWORD_MAX_BYTES = 1_024
# The first choice of OWASP's cheat sheet for argon2id: 46 MiB, once over, in one lane.
_hasher = PasswordHasher(time_cost=1, memory_cost=47_104, parallelism=1)
# Of nobody's password, so that an unknown address takes as long as a known one.
_NOBODYS = _hasher.hash("the password of nobody")
_AT_ONCE = 2
_WAITING_MAX = 64


def check_password(password: str, field: str = "password") -> None:
    """Rejected, naming the field, where a password is too short or too long."""
    if len(password) < PASSWORD_MIN:
        message = f"must have at least {PASSWORD_MIN} characters"
        raise Rejected(Reason.invalid_field, message, field=field)
    check_length(password, field)


def check_length(password: str, field: str = "password") -> None:
    """Rejected, naming the field, where a password is longer than any that can be set."""
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_MAX_BYTES:
        message = f"must have at most {PASSWORD_MAX_BYTES} bytes"
        raise Rejected(Reason.invalid_field, message, field=field)


class Passwords:
    """Hashes a few passwords at once; Rejected while too many wait, so that none waits long."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="password")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        return await self._run(_hasher.hash, _bytes(password))

    async def verify(self, stored: str, password: str) -> bool:
        """Returns whether a password is that of a hash; as slow for '', which is nobody's."""
        is_right = await self._run(_verify, stored or _NOBODYS, _bytes(password))
        return is_right and bool(stored)

    async def _run(self, work: Callable[[*Ts], T], *arguments: *Ts) -> T:
        if self._waiting >= _WAITING_MAX:
            message = "too many people sign in at once: try again"
            raise Rejected(Reason.too_many_requests, message)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1


def is_outdated(stored: str) -> bool:
    """Returns whether a hash was made by other parameters than a new one."""
    return _hasher.check_needs_rehash(stored)


def _verify(stored: str, password: bytes) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False


def _bytes(password: str) -> bytes:
    # Systems type the same letter in several ways.
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
