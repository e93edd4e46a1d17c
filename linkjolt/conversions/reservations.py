"""Reservations in Redis: what stands under an order, and where a conversion's live state is."""

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.events import ConversionState
from linkjolt.storage.redis import call

_encode = msgspec.json.Encoder().encode


class Reservation(msgspec.Struct, frozen=True):
    """What stands under an order: its first post's conversion id, fingerprint and live state."""

    conversion_id: str
    fingerprint: str
    state: ConversionState


class Held(msgspec.Struct, frozen=True):
    """A reservation as it was read: under which key, and as which bytes."""

    shard: int
    key: str
    raw: bytes
    reservation: Reservation


class Refused(msgspec.Struct, frozen=True):
    """A queued post whose order was taken by another one."""

    conversion_id: str
    conflicts_with: str


def read_reservation(held: bytes) -> Reservation:
    """A reservation as kept in Redis: id, fingerprint and state, a line each."""
    conversion_id, fingerprint, state = held.split(b"\n", 2)
    decoded = msgspec.json.decode(state, type=ConversionState)
    return Reservation(conversion_id.decode(), fingerprint.decode(), decoded)


def write_reservation(conversion_id: str, fingerprint: str, state: ConversionState) -> bytes:
    """As `read_reservation` reads it."""
    return f"{conversion_id}\n{fingerprint}\n".encode() + _encode(state)


async def find_held(redis: Redis, shards: int, conversion_id: str) -> Held | Refused | None:
    """What a conversion id leads to; None for an unknown one, or one whose state has expired.

    RedisError where it cannot be read.
    """
    shard = shard_of(conversion_id)
    if shard is None or shard >= shards:
        return None
    pointer: bytes | None = await call(redis, "GET", redis_keys.conversion(shard, conversion_id))
    if pointer is None:
        return None
    if pointer.startswith(b"!"):
        return Refused(conversion_id, pointer[1:].decode())
    return await read_held(redis, shard, redis_keys.order(shard, pointer.decode()))


async def read_held(redis: Redis, shard: int, key: str) -> Held | None:
    """The reservation under an order's key."""
    raw: bytes | None = await call(redis, "GET", key)
    return Held(shard, key, raw, read_reservation(raw)) if raw else None
