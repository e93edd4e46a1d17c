"""Reads and encodes reservations in Redis: the conversion of an order, and its live state."""

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.events import ConversionState
from linkjolt.storage.redis import call

# The beginning of an order's value that no conversion of the account has reserved.
CLAIMS = b"!"
_encode = msgspec.json.Encoder().encode


class Reservation(msgspec.Struct, frozen=True):
    """An order's reservation: its first post's conversion id, fingerprint and live state.

    `raw` are the bytes that it was read as.
    """

    conversion_id: str
    fingerprint: str
    state: ConversionState
    raw: bytes


class StoredReservation(msgspec.Struct, frozen=True):
    """A reservation with its key."""

    shard: int
    key: str
    reservation: Reservation


class RefusedPost(msgspec.Struct, frozen=True):
    """A queued post whose order was taken by another one."""

    conversion_id: str
    conflicts_with: str


def parse_reservation(raw: bytes) -> Reservation:
    """Parses a reservation: id, fingerprint and state, a line each."""
    conversion_id, fingerprint, state = raw.split(b"\n", 2)
    decoded = msgspec.json.decode(state, type=ConversionState)
    return Reservation(conversion_id.decode(), fingerprint.decode(), decoded, raw)


def encode_reservation(conversion_id: str, fingerprint: str, state: ConversionState) -> bytes:
    """Encodes a reservation for `parse_reservation`."""
    return f"{conversion_id}\n{fingerprint}\n".encode() + _encode(state)


async def find_reservation(
    redis: Redis, shards: int, conversion_id: str
) -> StoredReservation | RefusedPost | None:
    """Finds the reservation of a conversion id; None if it is unknown or its state has expired.

    Raises RedisError if it cannot be read.
    """
    shard = shard_of(conversion_id)
    if shard is None or shard >= shards:
        return None
    pointer: bytes | None = await call(redis, "GET", redis_keys.conversion(shard, conversion_id))
    if pointer is None:
        return None
    if pointer.startswith(b"!"):
        return RefusedPost(conversion_id, pointer[1:].decode())
    return await read_stored_reservation(redis, shard, redis_keys.order(shard, pointer.decode()))


async def read_stored_reservation(redis: Redis, shard: int, key: str) -> StoredReservation | None:
    """Reads the reservation under an order's key; None also where campaigns have claims on it."""
    raw: bytes | None = await call(redis, "GET", key)
    if raw is None or raw.startswith(CLAIMS):
        return None
    return StoredReservation(shard, key, parse_reservation(raw))
