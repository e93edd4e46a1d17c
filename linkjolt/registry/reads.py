"""Reads entries, pointers and the change feed of the registry. RedisError passes through."""

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Account, Dataset
from linkjolt.registry.entries import (
    ENTRY_TYPES,
    SCOPES_VERSION,
    AccountEntry,
    Affiliate,
    ApiKey,
    Campaign,
    Coupon,
    EntryKind,
    Link,
    OAuthClient,
    Rate,
    RegistryChange,
    RegistryEntry,
    User,
    Webhook,
    sequence_of,
)
from linkjolt.storage.redis import call

E = TypeVar(
    "E",
    AccountEntry,
    Campaign,
    Affiliate,
    Link,
    ApiKey,
    Coupon,
    Webhook,
    Rate,
    OAuthClient,
    User,
)
ENTRY_KINDS: dict[type[RegistryEntry], EntryKind] = {
    entry: kind for kind, entry in ENTRY_TYPES.items()
}
_BLOCK_MAX_MS = 1000
_PAGE = 1_000
# Before the first entry of the change feed.
FEED_START = "0-0"


class _StoredVersion(msgspec.Struct, frozen=True):
    scopes_version: int = 0


def decode_entry(body: bytes, kind: type[E]) -> E:
    """Decodes a stored entry; a key of a former release keeps the scopes that it had."""
    entry = msgspec.json.decode(body, type=kind)
    if not isinstance(entry, ApiKey):
        return entry
    stored = msgspec.json.decode(body, type=_StoredVersion)
    if stored.scopes_version < SCOPES_VERSION and "conversions:write" in entry.scopes:
        scopes = tuple(dict.fromkeys((*entry.scopes, "payouts:write")))
        return msgspec.structs.replace(entry, scopes=scopes)
    return entry


async def read_raw(redis: Redis, kind: EntryKind, numbers: Sequence[int]) -> list[bytes | None]:
    """Reads the stored JSON of each number, in order; None where there is none."""
    if not numbers:
        return []
    keys = [redis_keys.registry_entry(kind, number) for number in numbers]
    return cast(list[bytes | None], await redis.mget(keys))


async def read_entries(redis: Redis, entry: type[E], numbers: Sequence[int]) -> list[E | None]:
    """Reads the entry of each number, in order, deleted ones too; None where there is none."""
    raw = await read_raw(redis, ENTRY_KINDS[entry], numbers)
    return [None if body is None else decode_entry(body, entry) for body in raw]


async def read_entry(redis: Redis, entry: type[E], number: int) -> E | None:
    return (await read_entries(redis, entry, [number]))[0]


async def read_all(redis: Redis, entry: type[E], owner: Account | Dataset) -> list[E]:
    """Reads all entries of a kind in order of number, without deleted ones."""
    index = redis_keys.registry_index(ENTRY_KINDS[entry], owner)
    numbers = [int(number) for number in await call(redis, "ZRANGE", index, 0, -1)]
    entries: list[E] = []
    for start in range(0, len(numbers), _PAGE):
        page = await read_entries(redis, entry, numbers[start : start + _PAGE])
        entries += [one for one in page if one is not None and one.deleted_at is None]
    return entries


async def read_last_number(redis: Redis, kind: EntryKind) -> int:
    """Reads the highest number that an entry of the kind may have; 0 if there is none."""
    last = await call(redis, "HGET", redis_keys.REGISTRY_NUMBERS, sequence_of(kind))
    return int(last or 0)


async def read_pointer(redis: Redis, key: str) -> int | None:
    """Reads the number under a tracking code's or digest's key."""
    number = await redis.get(key)
    return None if number is None else int(number)


async def read_feed_end(redis: Redis) -> str:
    """Returns the position after which all later changes appear."""
    newest = await redis.xrevrange(redis_keys.REGISTRY_CHANGES, count=1)
    return _text(newest[0][0]) if newest else FEED_START


async def feed_contains(redis: Redis, position: str) -> bool:
    """Returns False if changes after the position may be trimmed, or Redis lost its tail."""
    if position == FEED_START:
        return True
    return bool(await redis.xrange(redis_keys.REGISTRY_CHANGES, position, position, 1))


async def read_changes(
    redis: Redis, position: str, count: int, block_ms: int | None
) -> tuple[str, list[RegistryChange]]:
    """Returns up to `count` changes after the position, and the position after them.

    Waits up to `block_ms` for the first, or not at all; leaves out kinds of a later version.
    """
    feed = redis_keys.REGISTRY_CHANGES
    reply = cast(list[Any], await redis.xread({feed: position}, count=count, block=block_ms))
    if not reply:
        return position, []
    entries = cast(list[tuple[bytes, dict[bytes, bytes]]], reply[0][1])
    known: dict[bytes, EntryKind] = {kind.encode(): kind for kind in ENTRY_TYPES}
    changes = [
        RegistryChange(known[fields[b"kind"]], int(fields[b"number"]))
        for _, fields in entries
        if fields[b"kind"] in known
    ]
    return _text(entries[-1][0]), changes


def _text(identity: bytes | str | None) -> str:
    return identity.decode() if isinstance(identity, bytes) else str(identity)


def feed_block_ms(redis: Redis) -> int:
    """Returns how long a read of the feed may block this client."""
    # Half of the client's timeout: otherwise an idle feed would look like a dead server.
    timeout_seconds: float | None = redis.connection_pool.connection_kwargs.get("socket_timeout")
    if timeout_seconds is None:
        return _BLOCK_MAX_MS
    return max(1, min(_BLOCK_MAX_MS, int(timeout_seconds * 500)))
