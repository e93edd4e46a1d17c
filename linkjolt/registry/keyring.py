"""The secrets every process shares: what signs click ids, what hashes customers."""

import secrets
from collections.abc import Mapping
from typing import cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys

_BYTES = 32
_CLICK = b"click:"
_CUSTOMER = b"customer"


class Keyring(msgspec.Struct, frozen=True):
    """`click_keys`: the first signs, all verify. Each key is 32 random bytes."""

    click_keys: tuple[bytes, ...]
    customer_key: bytes

    def __repr__(self) -> str:
        return f"Keyring({len(self.click_keys)} click keys)"


def read_keyring(fields: Mapping[bytes, bytes]) -> Keyring | None:
    """The keyring in the hash of secrets; None while a part of it is not made yet."""
    found = {name[len(_CLICK) :]: key for name, key in fields.items() if name.startswith(_CLICK)}
    numbers = sorted((int(number) for number in found if number.isdigit()), reverse=True)
    if not numbers or _CUSTOMER not in fields:
        return None
    click_keys = tuple(found[str(number).encode()] for number in numbers)
    return Keyring(click_keys, fields[_CUSTOMER])


async def load_keyring(redis: Redis) -> Keyring:
    """The one keyring of this Redis, made by whoever comes first; RedisError passes through."""
    fields = await _fields(redis)
    if keyring := read_keyring(fields):
        return keyring
    missing = [_CUSTOMER]
    if not any(name.startswith(_CLICK) for name in fields):
        missing.append(_CLICK + b"1")
    for name in missing:
        await redis.hsetnx(
            redis_keys.SECRETS, cast(str, name), cast(str, secrets.token_bytes(_BYTES))
        )
    keyring = read_keyring(await _fields(redis))
    if keyring is None:
        raise RuntimeError(f"{redis_keys.SECRETS} holds no usable secrets")
    return keyring


async def _fields(redis: Redis) -> dict[bytes, bytes]:
    return cast(dict[bytes, bytes], await redis.hgetall(redis_keys.SECRETS))
