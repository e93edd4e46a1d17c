"""Mirrors the registry into ClickHouse, for names in reports and for history."""

from collections.abc import Iterable

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Account, Dataset
from linkjolt.position import entry_id, position
from linkjolt.registry.entries import (
    ENTRY_TYPES,
    Affiliate,
    Campaign,
    EntryKind,
    Link,
    RegistryEntry,
)
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import StreamEntry, call, read_stream

_PAGE = 1_000
_MIRRORED: tuple[EntryKind, ...] = ("campaign", "affiliate", "link")


class RegistryRow(msgspec.Struct, frozen=True):
    """A registry entry in the warehouse; `version` is the change feed's position."""

    kind: EntryKind
    number: int
    account: Account | Dataset
    code: str
    name: str
    body: str
    version: int


class _MirroredVersion(msgspec.Struct, frozen=True):
    version: int


def registry_row(kind: EntryKind, body: bytes, version: int) -> RegistryRow:
    """Builds the row of an entry as stored in Redis (not of keys: those hold digests)."""
    entry: RegistryEntry = msgspec.json.decode(body, type=ENTRY_TYPES[kind])
    code = entry.tracking_code if isinstance(entry, Link) else ""
    name = entry.name if isinstance(entry, Campaign | Affiliate) else ""
    return RegistryRow(kind, entry.number, entry.account, code, name, body.decode(), version)


class RegistryMirror:
    """Follows the change feed, from the newest version that the mirror holds."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._version: int | None = None

    async def step(self) -> None:
        """Mirrors the changes since the last step, or all entries if the feed has lost changes."""
        if self._version is None:
            sql = "SELECT max(version) AS version FROM registry"
            version = (await self._clickhouse.read(sql, _MirroredVersion))[0].version
            if await self._feed_lost_changes(version):
                await self._mirror_all(version)
            self._version = version
        while changes := await self._changes_after(self._version):
            version = position(changes[-1][0])
            changed = {(fields[b"kind"].decode(), int(fields[b"number"])) for _, fields in changes}
            for kind in _MIRRORED:
                await self._mirror(kind, [n for k, n in changed if k == kind], version)
            self._version = version

    async def _changes_after(self, version: int) -> list[StreamEntry]:
        start = f"({entry_id(version)}"
        return await read_stream(self._redis, redis_keys.REGISTRY_CHANGES, start, count=_PAGE)

    async def _feed_lost_changes(self, version: int) -> bool:
        first = await read_stream(self._redis, redis_keys.REGISTRY_CHANGES, "-", count=1)
        if not first:
            return bool(await call(self._redis, "EXISTS", redis_keys.REGISTRY_NUMBERS))
        info: dict[bytes, object] = await call(
            self._redis, "XINFO", "STREAM", redis_keys.REGISTRY_CHANGES
        )
        # Redis before 7.0 does not count added entries: then a trim cannot be ruled out.
        trimmed = info.get(b"entries-added") != info[b"length"]
        return trimmed and position(first[0][0]) > version

    async def _mirror_all(self, version: int) -> None:
        for kind in _MIRRORED:
            last_number = int(
                await call(self._redis, "HGET", redis_keys.REGISTRY_NUMBERS, kind) or 0
            )
            for start in range(1, last_number + 1, _PAGE):
                await self._mirror(kind, range(start, min(start + _PAGE, last_number + 1)), version)

    async def _mirror(self, kind: EntryKind, numbers: Iterable[int], version: int) -> None:
        keys = [redis_keys.registry_entry(kind, number) for number in sorted(numbers)]
        if not keys:
            return
        bodies: list[bytes | None] = await call(self._redis, "MGET", *keys)
        rows = [registry_row(kind, body, version) for body in bodies if body is not None]
        lines = b"\n".join(msgspec.json.encode(row) for row in rows)
        if rows:
            await self._clickhouse.insert("registry", RegistryRow.__struct_fields__, lines)
