"""Mirrors the registry into ClickHouse, for names in reports and for history."""

from collections.abc import Iterable

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.position import entry_id, position
from linkjolt.registry.entries import TYPES, Affiliate, Campaign, Entry, Kind, Link
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import StreamEntry, call, entries

_PAGE = 1_000
_MIRRORED: tuple[Kind, ...] = ("campaign", "affiliate", "link")


class RegistryRow(msgspec.Struct, frozen=True):
    """A registry entry in the warehouse; `version` is the change feed's position."""

    kind: Kind
    number: int
    account: int
    code: str
    name: str
    body: str
    version: int


class _Version(msgspec.Struct, frozen=True):
    version: int


def registry_row(kind: Kind, body: bytes, version: int) -> RegistryRow:
    """The row of an entry as stored in Redis (kinds other than keys: those hold digests)."""
    entry: Entry = msgspec.json.decode(body, type=TYPES[kind])
    code = entry.tracking_code if isinstance(entry, Link) else ""
    name = entry.name if isinstance(entry, Campaign | Affiliate) else ""
    return RegistryRow(kind, entry.number, entry.account, code, name, body.decode(), version)


class Mirror:
    """Follows the change feed; how far is read from the mirror itself at first."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._version: int | None = None

    async def step(self) -> None:
        """Mirrors what changed since the last step; everything where the feed forgot changes."""
        if self._version is None:
            sql = "SELECT max(version) AS version FROM registry"
            version = (await self._clickhouse.read(sql, _Version))[0].version
            if await self._feed_forgot(version):
                await self._mirror_all(version)
            self._version = version
        while changes := await self._changes_after(self._version):
            version = position(changes[-1][0])
            wanted = {(fields[b"kind"].decode(), int(fields[b"number"])) for _, fields in changes}
            for kind in _MIRRORED:
                await self._mirror(kind, [n for k, n in wanted if k == kind], version)
            self._version = version

    async def _changes_after(self, version: int) -> list[StreamEntry]:
        start = f"({entry_id(version)}"
        return await entries(self._redis, redis_keys.REGISTRY_CHANGES, start, count=_PAGE)

    async def _feed_forgot(self, version: int) -> bool:
        first = await entries(self._redis, redis_keys.REGISTRY_CHANGES, "-", count=1)
        if not first:
            return bool(await call(self._redis, "EXISTS", redis_keys.REGISTRY_NUMBERS))
        info: dict[bytes, object] = await call(
            self._redis, "XINFO", "STREAM", redis_keys.REGISTRY_CHANGES
        )
        # Before 7.0 the server does not count what was added: then a trim cannot be ruled out.
        trimmed = info.get(b"entries-added") != info[b"length"]
        return trimmed and position(first[0][0]) > version

    async def _mirror_all(self, version: int) -> None:
        for kind in _MIRRORED:
            made = int(await call(self._redis, "HGET", redis_keys.REGISTRY_NUMBERS, kind) or 0)
            for start in range(1, made + 1, _PAGE):
                await self._mirror(kind, range(start, min(start + _PAGE, made + 1)), version)

    async def _mirror(self, kind: Kind, numbers: Iterable[int], version: int) -> None:
        keys = [redis_keys.registry_entry(kind, number) for number in sorted(numbers)]
        if not keys:
            return
        bodies: list[bytes | None] = await call(self._redis, "MGET", *keys)
        rows = [registry_row(kind, body, version) for body in bodies if body is not None]
        lines = b"\n".join(msgspec.json.encode(row) for row in rows)
        if rows:
            await self._clickhouse.insert("registry", RegistryRow.__struct_fields__, lines)
