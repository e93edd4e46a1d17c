"""Reads and encodes reservations in Redis: the conversion of an order, and its live state."""

import re
from collections.abc import Callable

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.datasets import Dataset
from linkjolt.events import ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.redis import call

# The beginning of an order's value that no conversion of the account has reserved.
CLAIMS = b"!"
_CLAIM = re.compile(rb" [0-9]+:([0-9a-f]+)")
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


class NamedOrder(msgspec.Struct, frozen=True):
    """An order by its own id; `click_id` where the id is unique within that click only.

    An order of a campaign is in the shard of the account's order with the same id.
    """

    dataset: Dataset
    event: str
    order_id: str
    click_id: str = ""

    @property
    def digest(self) -> str:
        """Returns the digest of the account's order, or of the click's."""
        return redis_keys.order_digest(
            self.dataset, self.event, self.order_id, click_id=self.click_id
        )

    def campaign_digest(self, campaign: int) -> str:
        """Returns the digest of a campaign's order with this id."""
        return redis_keys.order_digest(self.dataset, self.event, self.order_id, campaign=campaign)


async def find_order(
    redis: Redis,
    shards: int,
    order: NamedOrder,
    campaign: int,
    is_fit: Callable[[ConversionState], bool],
) -> StoredReservation | None:
    """Finds the conversion of an order: the account's if it is fit, else that of the campaign.

    Without a campaign (0), that of the only one that has a fit one; Rejected if several have. If
    none is fit, returns any; None if the order has no conversion.
    """
    shard = int(order.digest, 16) % shards
    key = redis_keys.order(shard, order.digest)
    raw: bytes | None = await call(redis, "GET", key)
    is_claimed = raw is not None and raw.startswith(CLAIMS)
    found: list[StoredReservation] = []
    if raw and not is_claimed:
        found.append(StoredReservation(shard, key, parse_reservation(raw)))
        if is_fit(found[0].reservation.state):
            return found[0]
    digests = [claim.decode() for claim in _CLAIM.findall(raw or b"")] if is_claimed else []
    if campaign:
        digests = [order.campaign_digest(campaign)]
    keys = [redis_keys.order(shard, digest) for digest in digests]
    in_campaigns = [await read_stored_reservation(redis, shard, key) for key in keys]
    fit = [one for one in in_campaigns if one and is_fit(one.reservation.state)]
    if len(fit) > 1:
        message = "is required: several campaigns have this order"
        raise Rejected(Reason.missing_field, message, field="campaign_id")
    return next((one for one in (*fit, *found, *in_campaigns) if one), None)
