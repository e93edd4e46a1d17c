"""Loads the secrets that all processes share: keys that sign click ids and hash customers."""

import secrets
from collections.abc import Mapping
from functools import lru_cache
from hashlib import blake2s
from typing import cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys

_SECRET_BYTES = 32
_CLICK_KEY_PREFIX = b"click:"
_CUSTOMER_KEY = b"customer"


class Keyring(msgspec.Struct, frozen=True):
    """`click_keys`: the first signs, all verify. Each key is 32 random bytes."""

    click_keys: tuple[bytes, ...]
    customer_key: bytes

    @property
    def post_key(self) -> bytes:
        """Returns the key of the fingerprints of posts."""
        return _derive_key(self.customer_key, b"posts")

    def __repr__(self) -> str:
        return f"Keyring({len(self.click_keys)} click keys)"


@lru_cache(maxsize=8)
def _derive_key(key: bytes, purpose: bytes) -> bytes:
    """Derives a key for one purpose (at most 8 bytes), which tells nothing of the other keys."""
    return blake2s(key=key, person=purpose).digest()


def parse_keyring(fields: Mapping[bytes, bytes]) -> Keyring | None:
    """Parses the hash of secrets; None while a part of it is missing."""
    click_keys_by_number = {
        name[len(_CLICK_KEY_PREFIX) :]: key
        for name, key in fields.items()
        if name.startswith(_CLICK_KEY_PREFIX)
    }
    numbers = sorted(
        (int(number) for number in click_keys_by_number if number.isdigit()), reverse=True
    )
    if not numbers or _CUSTOMER_KEY not in fields:
        return None
    click_keys = tuple(click_keys_by_number[str(number).encode()] for number in numbers)
    return Keyring(click_keys, fields[_CUSTOMER_KEY])


async def load_keyring(redis: Redis) -> Keyring:
    """Returns this Redis's keyring, creating it if needed; RedisError passes through."""
    fields = await _read_secrets(redis)
    if keyring := parse_keyring(fields):
        return keyring
    missing = [_CUSTOMER_KEY]
    if not any(name.startswith(_CLICK_KEY_PREFIX) for name in fields):
        missing.append(_CLICK_KEY_PREFIX + b"1")
    for name in missing:
        await redis.hsetnx(
            redis_keys.SECRETS, cast(str, name), cast(str, secrets.token_bytes(_SECRET_BYTES))
        )
    keyring = parse_keyring(await _read_secrets(redis))
    if keyring is None:
        raise RuntimeError(f"{redis_keys.SECRETS} holds no usable secrets")
    return keyring


async def _read_secrets(redis: Redis) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], await redis.hgetall(redis_keys.SECRETS))
