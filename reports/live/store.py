"""Reads the events stored between two positions of every stream, for the live feed."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from linkjolt import datasets, redis_keys
from linkjolt.datasets import Dataset
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.rows import Names
from reports.freshness import data_as_of
from reports.live.events import (
    LiveClickRow,
    LiveConversionRow,
    LiveRow,
    Positions,
    SecondCounts,
    add_seconds,
    registry_numbers,
)
from reports.names import NameCache
from reports.query.templates import fill

# Events of one step sent to an account: more than a person can read.
SHOWN_MAX = 50
_RANGE = (
    "r.pos > transform(r.s, {streams:Array(UInt16)}, {begins:Array(UInt64)}, toUInt64(0))"
    " AND r.pos <= transform(r.s, {streams:Array(UInt16)}, {ends:Array(UInt64)}, toUInt64(0))"
    # The index of positions has no stream numbers: it skips what is below all of them.
    " AND r.pos > {least:UInt64}"
)


_ROW_TYPES: Mapping[redis_keys.StreamKind, type[LiveRow]] = {
    "clicks": LiveClickRow,
    "conversions": LiveConversionRow,
}


class _StoredPosition(msgspec.Struct, frozen=True):
    """A row of `live_positions.sql`: a stream number and the position up to which it is stored."""

    s: int
    pos: int


class _SecondCountsRow(msgspec.Struct, frozen=True):
    """A row of `live_counts_clicks.sql` or `live_counts_conversions.sql`."""

    account: Dataset
    second: int
    clicks: int = 0
    others: int = 0
    conversions: int = 0


class Audience(msgspec.Struct, frozen=True):
    """The events that a listener may see: those of a dataset, or of one affiliate in it."""

    account: Dataset
    affiliate: int = 0


class LiveStore:
    """Reads for the feed, and only streams that have advanced; raises ClickHouseFailed."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, shards: int) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._shards = shards
        self._names = NameCache(clickhouse)

    async def data_as_of(self) -> datetime | None:
        return await data_as_of(self._redis, self._clickhouse, self._shards)

    async def read_positions(self) -> dict[int, int]:
        """Reads the position up to which each stream is stored."""
        rows = await self._clickhouse.read(fill("live_positions", {}), _StoredPosition)
        return {stream.number: 0 for stream in redis_keys.streams(self._shards)} | {
            row.s: row.pos for row in rows
        }

    async def read_counts(
        self, audiences: Collection[Audience], begins: Positions, ends: Positions
    ) -> Mapping[Audience, list[SecondCounts]]:
        """Counts each audience's events by the second of their time."""
        counts: dict[Audience, dict[int, SecondCounts]] = {each: {} for each in audiences}
        for parameters in _parameters(audiences, begins, ends):
            for kind in self._advanced_kinds(begins, ends):
                sql = fill(f"live_counts_{kind}", {"range": _RANGE})
                for row in await self._clickhouse.read(sql, _SecondCountsRow, parameters):
                    second = SecondCounts(row.second, row.clicks, row.others, row.conversions)
                    audience = Audience(row.account, parameters["affiliate"])
                    add_seconds(counts[audience], [second])
        return {each: [seconds[at] for at in sorted(seconds)] for each, seconds in counts.items()}

    async def read_events(
        self,
        audiences: Collection[Audience],
        begins: Positions,
        ends: Positions,
        limit: int = SHOWN_MAX,
    ) -> Mapping[Audience, list[LiveRow]]:
        """Reads the last events of each audience, the oldest first."""
        events: dict[Audience, list[LiveRow]] = {each: [] for each in audiences}
        for parameters in _parameters(audiences, begins, ends):
            for kind in self._advanced_kinds(begins, ends):
                sql = fill(f"live_{kind}", {"range": _RANGE})
                limited = {**parameters, "limit": limit}
                for row in await self._clickhouse.read(sql, _ROW_TYPES[kind], limited):
                    events[Audience(row.account, parameters["affiliate"])].append(row)
        for rows in events.values():
            rows.sort(key=lambda row: (row.time_ms, row.id))
        return events

    def _advanced_kinds(self, begins: Positions, ends: Positions) -> list[redis_keys.StreamKind]:
        """Finds the kinds of streams that have advanced between the positions."""
        return [
            kind
            for kind in _ROW_TYPES
            if any(
                begins.get(stream.number, ends[stream.number]) < ends[stream.number]
                for stream in redis_keys.streams(self._shards)
                if stream.kind == kind
            )
        ]

    async def read_names(self, dataset: Dataset, rows: Collection[LiveRow]) -> Names:
        return await self._names.read(datasets.account_of(dataset), registry_numbers(rows))


def _parameters(
    audiences: Collection[Audience], begins: Positions, ends: Positions
) -> list[dict[str, Any]]:
    """Returns the parameters of a query for each affiliate, and of one for whole accounts."""
    accounts: dict[int, list[Dataset]] = {}
    for each in audiences:
        accounts.setdefault(each.affiliate, []).append(each.account)
    ranges = _range_parameters(begins, ends)
    return [
        {**ranges, "affiliate": affiliate, "accounts": sorted(numbers)}
        for affiliate, numbers in accounts.items()
    ]


def _range_parameters(begins: Positions, ends: Positions) -> dict[str, object]:
    stream_numbers = sorted(ends)
    return {
        "streams": stream_numbers,
        "begins": [begins.get(number, ends[number]) for number in stream_numbers],
        "ends": [ends[number] for number in stream_numbers],
        "least": min((begins.get(number, ends[number]) for number in stream_numbers), default=0),
    }
