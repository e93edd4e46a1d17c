"""What the live feed reads: everything stored between two positions of every stream."""

from collections.abc import Collection, Mapping
from datetime import datetime

import msgspec
from redis.asyncio import Redis

from linkjolt import names as redis_names
from linkjolt.clickhouse import ClickHouse
from reports.freshness import data_as_of
from reports.live_events import (
    LiveClickFound,
    LiveFactFound,
    LiveFound,
    Positions,
    Second,
    numbers_in,
)
from reports.lookup import read_names
from reports.rows import Names
from reports.templates import fill

# Events an account is shown of one step: more than anybody reads.
SHOWN_MAX = 50
_RANGE = (
    "r.pos > transform(r.s, {streams:Array(UInt16)}, {begins:Array(UInt64)}, toUInt64(0))"
    " AND r.pos <= transform(r.s, {streams:Array(UInt16)}, {ends:Array(UInt64)}, toUInt64(0))"
    # The index of positions knows no streams: it skips what is below all of them.
    " AND r.pos > {least:UInt64}"
)


class _Position(msgspec.Struct, frozen=True):
    s: int
    pos: int


class _Counted(msgspec.Struct, frozen=True):
    account: int
    second: int
    clicks: int
    others: int
    conversions: int


class LiveStore:
    """Reads for the feed; raises ClickHouseFailed."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, shards: int) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._shards = shards

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
        sql = fill("live_counts", {"range": _RANGE})
        rows = await self._clickhouse.read(sql, _Counted, _bounds(accounts, begins, ends))
        found: dict[int, list[Second]] = {account: [] for account in accounts}
        for row in rows:
            second = Second(row.second, row.clicks, row.others, row.conversions)
            found[row.account].append(second)
        return found

    async def events(
        self, accounts: Collection[int], begins: Positions, ends: Positions, limit: int = SHOWN_MAX
    ) -> Mapping[int, list[LiveFound]]:
        """The last events of each account, the oldest first."""
        parameters = {**_bounds(accounts, begins, ends), "limit": limit}
        clicks = fill("live_clicks", {"range": _RANGE})
        facts = fill("live_conversions", {"range": _RANGE})
        rows: list[LiveFound] = [
            *await self._clickhouse.read(clicks, LiveClickFound, parameters),
            *await self._clickhouse.read(facts, LiveFactFound, parameters),
        ]
        rows.sort(key=lambda row: (row.time_ms, row.id))
        return {account: [r for r in rows if r.account == account] for account in accounts}

    async def names(self, books: int, rows: Collection[LiveFound]) -> Names:
        return await read_names(self._clickhouse, redis_names.owner(books), numbers_in(rows))


def _bounds(accounts: Collection[int], begins: Positions, ends: Positions) -> dict[str, object]:
    streams = sorted(ends)
    return {
        "accounts": sorted(accounts),
        "streams": streams,
        "begins": [begins.get(s, ends[s]) for s in streams],
        "ends": [ends[s] for s in streams],
        "least": min((begins.get(s, ends[s]) for s in streams), default=0),
    }
