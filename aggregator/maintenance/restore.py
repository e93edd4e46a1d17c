"""Restores events that raw lost and the streams still hold, each once.

Events past the stored position need no restore: the next step reads them.
"""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from aggregator.delivery.already_stored import build_missing_clicks, build_missing_conversions
from aggregator.delivery.streams import GROUP, FrameEntry, Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance.repair import RebuiltPartition, repair
from aggregator.rows.batches import cut_batch, split_lines
from aggregator.warehouse.writer import Warehouse, encode_rows
from linkjolt import redis_keys
from linkjolt.balance.balance import read_balance
from linkjolt.position import position, time_ms
from linkjolt.redis_keys import Stream
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_of
from linkjolt.storage.redis import ResponseError, call

_SQL = Path(__file__).parent / "sql"
_STORED = (_SQL / "restore_stored.sql").read_text(encoding="utf-8")
_REJECTED = (_SQL / "restore_rejected.sql").read_text(encoding="utf-8")
_PURGED = (_SQL / "restore_purged.sql").read_text(encoding="utf-8")
_ENDS = (_SQL / "restore_ends.sql").read_text(encoding="utf-8")
_IDS = {
    "clicks": "click_id",
    "conversions": "if(adjustment_id = '', conversion_id, adjustment_id)",
}
_PAGE_ENTRIES = 64
# As the aggregator's: salts that it created are found, those created here outlive the stream.
_SALT_MARGIN_HOURS = 48


class RestoredStream(msgspec.Struct, frozen=True):
    """The events that one stream holds, from `since` on, and the outcome of their restore.

    `older`: accepted events that the stream no longer holds. `waiting`: events that the next steps
    store. `missing`: accepted events that are neither stored nor rejected nor waiting now.
    """

    stream: str
    since: datetime | None
    held: int
    older: int
    waiting: int
    restored: int
    rejected: int
    missing: int


class RestoreResult(msgspec.Struct, frozen=True):
    """The outcome of a restore; `complete` if no accepted event is missing in raw."""

    complete: bool
    streams: tuple[RestoredStream, ...]
    rollups: tuple[RebuiltPartition, ...]


class _StoredEvent(msgspec.Struct, frozen=True):
    id: str
    pos: int


class _RejectedLine(msgspec.Struct, frozen=True):
    pos: int
    line: int


class _StoredEnds(msgspec.Struct, frozen=True):
    rows_end: int
    marked_end: int


class _StreamTally(msgspec.Struct):
    """The counts of one stream's restore."""

    first: int = 0
    held: int = 0
    waiting: int = 0
    restored: int = 0
    rejected: int = 0


async def restore(redis: Redis, clickhouse: ClickHouse, settings: Settings) -> RestoreResult:
    """Stores the events that raw lacks again, then repairs the rollups of their months.

    Nobody else may write to the warehouse meanwhile. May be repeated after a crash.
    """
    run = _RestoreRun(redis, clickhouse, settings)
    streams = redis_keys.streams(settings.shards)
    # Clicks first: conversions take over their dimensions.
    tallies = {
        stream.number: await run.restore_stream(stream)
        for stream in sorted(streams, key=lambda stream: stream.kind)
    }
    balance = await read_balance(redis, clickhouse, settings.shards)
    rebuilt: list[RebuiltPartition] = []
    if run.months:
        hours = settings.minute_rollup_hours
        rebuilt = await repair(clickhouse, balance, hours, run.months)
    restored: list[RestoredStream] = []
    for stream, now in zip(streams, balance.streams, strict=True):
        tally = tallies[stream.number]
        restored.append(
            RestoredStream(
                stream=now.stream,
                since=_at(tally.first) if tally.held else None,
                held=tally.held,
                older=max(0, now.accepted - tally.held),
                waiting=tally.waiting,
                restored=tally.restored,
                rejected=tally.rejected,
                missing=now.difference,
            )
        )
    complete = all(stream.missing == 0 for stream in restored)
    return RestoreResult(complete, tuple(restored), tuple(rebuilt))


def _at(pos: int) -> datetime:
    return datetime.fromtimestamp(time_ms(pos) / 1000, UTC)


class _RestoreRun:
    """One run over all streams; `months` are the ingest months that got rows."""

    def __init__(self, redis: Redis, clickhouse: ClickHouse, settings: Settings) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings
        self._streams = Streams(redis)
        self._warehouse = Warehouse(clickhouse)
        self._salts = VisitorSalts(redis, settings.stream_retention_hours + _SALT_MARGIN_HOURS)
        self.months: set[int] = set()

    async def restore_stream(self, stream: Stream) -> _StreamTally:
        """Stores the events that raw lacks of one stream, at or below its stored position."""
        tally = _StreamTally()
        stored_position = await self._settle_stored_position(stream)
        async for entries in self._batches(stream):
            tally.first = tally.first or entries[0].pos
            tally.held += sum(entry.lines for entry in entries)
            known = [entry for entry in entries if entry.pos <= stored_position]
            tally.waiting += sum(entry.lines for entry in entries if entry.pos > stored_position)
            if known:
                await self._restore_batch(stream, known, tally)
        return tally

    async def _settle_stored_position(self, stream: Stream) -> int:
        """Returns the position that counts as stored, with a marker; raw may have holes below it.

        A running aggregator continues from the position that it published after its last step; the
        rows may end before it, if some were lost.
        """
        parameters = {"table": stream.kind, "s": stream.number}
        [ends] = await self._clickhouse.read(_ENDS, _StoredEnds, parameters)
        end_position = max(ends.rows_end, await self._published_position(stream))
        if ends.marked_end < end_position:
            # The marker comes first: a crash then leaves a hole, which the next restore fills,
            # and no repeated events.
            await self._insert_marker(stream, end_position)
        return end_position

    async def _published_position(self, stream: Stream) -> int:
        try:
            groups = await call(self._redis, "XINFO", "GROUPS", stream.key)
        except ResponseError:
            return 0
        named = {group[b"name"].decode(): group for group in groups}
        return position(named[GROUP][b"last-delivered-id"]) if GROUP in named else 0

    async def _batches(self, stream: Stream) -> AsyncGenerator[Sequence[FrameEntry]]:
        """Yields all frames that the stream holds, in batches of one ingest month."""
        after, entries, more = 0, list[FrameEntry](), True
        end_ms = time_ms(await self._streams.newest_position(stream)) + 1
        while entries or more:
            while more and sum(entry.lines for entry in entries) < self._settings.batch_rows:
                page = await self._streams.read(stream, after, end_ms, _PAGE_ENTRIES)
                more = len(page) == _PAGE_ENTRIES
                entries += page
                after = page[-1].pos if page else after
            if batch := cut_batch(entries, self._settings.batch_rows):
                yield batch
            entries = entries[len(batch) :]

    async def _restore_batch(
        self, stream: Stream, entries: Sequence[FrameEntry], tally: _StreamTally
    ) -> None:
        stream_number, last = stream.number, entries[-1].pos
        parameters = {"s": stream_number, "first": entries[0].pos, "last": last}
        rejected_lines = await self._clickhouse.read(_REJECTED, _RejectedLine, parameters)
        rejected = {(row.pos, row.line) for row in rejected_lines}
        lines = [line for line in split_lines(entries) if (line.pos, line.number) not in rejected]
        sql = _STORED.replace("{id}", _IDS[stream.kind])
        existing = await self._clickhouse.read(
            sql, _StoredEvent, parameters | {"table": stream.kind}
        )
        # Purged events must not come back.
        existing += await self._clickhouse.read(_PURGED, _StoredEvent, parameters)
        stored = {(row.pos, row.id) for row in existing}
        warehouse = self._warehouse
        if stream.kind == "clicks":
            text, rejects = await build_missing_clicks(
                warehouse, self._salts, stream_number, lines, stored
            )
            await warehouse.insert_rejects(rejects)
            await warehouse.insert_clicks(text, stream_number, last)
            restored = sum(piece.count(b"\n") for piece in text)
        else:
            rows, rejects = await build_missing_conversions(warehouse, stream_number, lines, stored)
            await warehouse.insert_rejects(rejects)
            await warehouse.insert_conversions(encode_rows(rows), stream_number, last)
            restored = len(rows)
        if restored:
            self.months.add(month_of(last))
        tally.restored += restored
        tally.rejected += len(rejects)

    async def _insert_marker(self, stream: Stream, pos: int) -> None:
        if stream.kind == "clicks":
            await self._warehouse.insert_clicks([], stream.number, pos)
        else:
            await self._warehouse.insert_conversions([], stream.number, pos)
