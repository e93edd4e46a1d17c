"""What the live feed reads: everything stored between two positions of every stream."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys as redis_names
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.rows import Names
from reports.freshness import data_as_of
from reports.live.events import (
    LiveClickFound,
    LiveFactFound,
    LiveFound,
    Positions,
    Second,
    merge,
    numbers_in,
)
from reports.names import NameCache
from reports.query.templates import fill

# Events an account is shown of one step: more than anybody reads.
SHOWN_MAX = 50
_RANGE = (
    "r.pos > transform(r.s, {streams:Array(UInt16)}, {begins:Array(UInt64)}, toUInt64(0))"
    " AND r.pos <= transform(r.s, {streams:Array(UInt16)}, {ends:Array(UInt64)}, toUInt64(0))"
    # The index of positions knows no streams: it skips what is below all of them.
    " AND r.pos > {least:UInt64}"
)


_FOUND: Mapping[redis_names.StreamKind, type[LiveFound]] = {
    "clicks": LiveClickFound,
    "conversions": LiveFactFound,
}


class _Position(msgspec.Struct, frozen=True):
    s: int
    pos: int


class _Counted(msgspec.Struct, frozen=True):
    account: int
    second: int
    clicks: int = 0
    others: int = 0
    conversions: int = 0


class LiveStore:
    """Reads for the feed, each only where its streams have moved; raises ClickHouseFailed."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, shards: int) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._shards = shards
        self._named = NameCache(clickhouse)

    async def as_of(self) -> datetime | None:
        return await data_as_of(self._redis, self._clickhouse, self._shards)

    async def positions(self) -> dict[int, int]:
        """How far each stream is stored."""
        rows = await self._clickhouse.read(fill("live_positions", {}), _Position)
        return {stream.number: 0 for stream in redis_names.streams(self._shards)} | {
            row.s: row.pos for row in rows
        }

    async def counts(
        self, accounts: Collection[int], begins: Positions, ends: Positions
    ) -> Mapping[int, list[Second]]:
        """Events by account and second of their time."""
        found: dict[int, dict[int, Second]] = {account: {} for account in accounts}
        for kind in self._moved(begins, ends):
            sql = fill(f"live_counts_{kind}", {"range": _RANGE})
            rows = await self._clickhouse.read(sql, _Counted, _bounds(accounts, begins, ends))
            for row in rows:
                second = Second(row.second, row.clicks, row.others, row.conversions)
                merge(found[row.account], [second])
        return {
            account: [seconds[at] for at in sorted(seconds)] for account, seconds in found.items()
        }

    async def events(
        self, accounts: Collection[int], begins: Positions, ends: Positions, limit: int = SHOWN_MAX
    ) -> Mapping[int, list[LiveFound]]:
        """The last events of each account, the oldest first."""
        parameters = {**_bounds(accounts, begins, ends), "limit": limit}
        rows: list[LiveFound] = []
        for kind in self._moved(begins, ends):
            sql = fill(f"live_{kind}", {"range": _RANGE})
            rows += await self._clickhouse.read(sql, _FOUND[kind], parameters)
        rows.sort(key=lambda row: (row.time_ms, row.id))
        return {account: [r for r in rows if r.account == account] for account in accounts}

    def _moved(self, begins: Positions, ends: Positions) -> list[redis_names.StreamKind]:
        """The kinds of events that lie between the positions."""
        return [
            kind
            for kind in _FOUND
            if any(
                begins.get(one.number, ends[one.number]) < ends[one.number]
                for one in redis_names.streams(self._shards)
                if one.kind == kind
            )
        ]

    async def names(self, books: int, rows: Collection[LiveFound]) -> Names:
        return await self._named.read(redis_names.owner(books), numbers_in(rows))


def _bounds(accounts: Collection[int], begins: Positions, ends: Positions) -> dict[str, object]:
    streams = sorted(ends)
    return {
        "accounts": sorted(accounts),
        "streams": streams,
        "begins": [begins.get(s, ends[s]) for s in streams],
        "ends": [ends[s] for s in streams],
        "least": min((begins.get(s, ends[s]) for s in streams), default=0),
    }
