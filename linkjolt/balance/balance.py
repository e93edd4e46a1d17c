"""Computes the balance by stream and hour, exact under load.

accepted = stored + rejected + waiting. For each stream the ledger and the last id are read in one
transaction, and the entries up to that id are counted. The position P is read from ClickHouse after
that: counts at or below P never change again, and an entry above P was not yet trimmed, so it has
been counted.
"""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.balance.disk_spools import read_spools
from linkjolt.balance.edge_status import read_edge_totals
from linkjolt.balance.stale import NEVER_STALE, StaleRule, WaitingEvents, spooled_events
from linkjolt.balance.stored_counts import HOUR_MS, HourCounts, StoredCounts
from linkjolt.position import entry_id, position, time_ms
from linkjolt.redis_keys import Stream
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_start
from linkjolt.storage.raw_retention import read_kept_month
from linkjolt.storage.redis import RedisError, read_stream, server_time_ms

COUNTED_ENTRIES = 20_000
# A frame holds up to 2,000 clicks, so a page may be tens of megabytes.
_PAGE = 100

_POSITIONS = (
    "SELECT s AS stream_number, max(pos) AS position FROM {table} WHERE account = 0 GROUP BY s"
)


class HourBalance(msgspec.Struct, frozen=True):
    """Events of one hour of stream time; `difference` is 0 unless some were lost or doubled."""

    hour: datetime
    accepted: int
    stored: int
    rejected: int
    waiting: int
    difference: int


class StreamBalance(msgspec.Struct, frozen=True):
    """One stream, such as `clicks/0`; an estimated `waiting` was not counted."""

    stream: str
    accepted: int
    stored: int
    rejected: int
    waiting: int
    difference: int
    waiting_estimated: bool
    oldest_waiting_ms: int | None
    hours: tuple[HourBalance, ...]


class Balance(msgspec.Struct, frozen=True):
    """The balance of all streams, at an instant of Redis's clock.

    `spooled`: accepted events on the disks of edges that no stream holds yet. `shed`: clicks that
    were redirected but could not be stored anywhere. `stale`: what waits longer than it may.
    """

    streams: tuple[StreamBalance, ...]
    as_of: datetime
    spooled: int = 0
    shed: int = 0
    stale: tuple[WaitingEvents, ...] = ()


class StreamBacklog(msgspec.Struct, frozen=True):
    """A stream at one instant: accepted events by hour, its last position, its entries.

    `entries` are (position, events). `complete` is False if there were too many to count.
    """

    accepted: HourCounts
    last_position: int
    entries: tuple[tuple[int, int], ...] = ()
    complete: bool = True


class _StreamPositionRow(msgspec.Struct, frozen=True):
    stream_number: int
    position: int


async def read_balance(
    redis: Redis,
    clickhouse: ClickHouse,
    shards: int,
    counts: StoredCounts | None = None,
    rule: StaleRule = NEVER_STALE,
) -> Balance:
    """Reads the balance of every stream; `counts` caches what need not be counted again.

    Raises ClickHouseFailed or RedisError.
    """
    # Before the streams: what is stored meanwhile was not waiting for any longer then.
    as_of = datetime.fromtimestamp(await server_time_ms(redis) / 1000, UTC)
    streams = await _read_streams(redis, clickhouse, shards, counts or StoredCounts())
    edges = await read_edge_totals(redis)
    folder = rule.spool_folder
    disk = await asyncio.to_thread(read_spools, folder) if folder else []
    waiting = [
        WaitingEvents(stream.stream, stream.waiting, oldest_waiting_seconds(stream, as_of))
        for stream in streams
    ]
    waiting += spooled_events(disk, edges)
    return Balance(
        streams,
        as_of,
        spooled=max(edges.spooled, sum(spooled.events for spooled in disk)),
        shed=edges.shed,
        stale=tuple(each for each in waiting if each.seconds > rule.after_seconds),
    )


def oldest_waiting_seconds(stream: StreamBalance, now: datetime) -> float:
    """Returns for how long a stream's oldest event waits by Redis's clock; 0 if none does."""
    if stream.oldest_waiting_ms is None:
        return 0.0
    return max(0.0, now.timestamp() - stream.oldest_waiting_ms / 1000)


async def _read_streams(
    redis: Redis, clickhouse: ClickHouse, shards: int, counts: StoredCounts
) -> tuple[StreamBalance, ...]:
    first_positions = await _read_stored_positions(clickhouse)
    backlogs = {
        stream: await _read_backlog(redis, stream, first_positions.get(stream.number, 0))
        for stream in redis_keys.streams(shards)
    }
    positions = await _read_stored_positions(clickhouse)
    end_positions = {
        stream.number: min(positions.get(stream.number, 0), queue.last_position)
        for stream, queue in backlogs.items()
    }
    tables = await counts.read(clickhouse, end_positions)
    no_events: HourCounts = Counter()
    # After the counts: the month is written before its clicks are deleted.
    kept_month = await read_kept_month(clickhouse)
    kept_hour = time_ms(month_start(kept_month)) // HOUR_MS if kept_month else 0
    return tuple(
        balance_stream(
            stream,
            queue,
            positions.get(stream.number, 0),
            stored=tables[stream.kind].get(stream.number, no_events),
            rejected=tables["rejects"].get(stream.number, no_events),
            first_hour=kept_hour if stream.kind == "clicks" else 0,
        )
        for stream, queue in backlogs.items()
    )


async def _read_stored_positions(clickhouse: ClickHouse) -> dict[int, int]:
    rows = [
        row
        for table in ("clicks", "conversions")
        for row in await clickhouse.read(_POSITIONS.format(table=table), _StreamPositionRow)
    ]
    return {row.stream_number: row.position for row in rows}


async def _read_backlog(redis: Redis, stream: Stream, stored_position: int) -> StreamBacklog:
    """Reads the ledger and the entries after a position; gives up beyond COUNTED_ENTRIES."""
    accepted, last_position = await _read_ledger(redis, stream)
    counted: list[tuple[int, int]] = []
    while stored_position < last_position:
        page = await read_stream(
            redis, stream.key, entry_id(stored_position + 1), entry_id(last_position), _PAGE
        )
        if not page:
            break
        if len(counted) + len(page) > COUNTED_ENTRIES:
            return StreamBacklog(accepted, last_position, tuple(counted), complete=False)
        counted += [(position(identity), count_lines(fields[b"f"])) for identity, fields in page]
        stored_position = counted[-1][0]
    return StreamBacklog(accepted, last_position, tuple(counted))


async def _read_ledger(redis: Redis, stream: Stream) -> tuple[HourCounts, int]:
    """Reads accepted events by hour and the last position (0: no stream) at one instant."""
    async with redis.pipeline(transaction=True) as pipe:
        commands: Any = pipe
        commands.hgetall(stream.ledger_key)
        # Not the last entry: a stream keeps its last id when all its entries are trimmed.
        commands.xinfo_stream(stream.key)
        ledger, info = await commands.execute(raise_on_error=False)
    if isinstance(ledger, RedisError):
        raise ledger
    accepted: HourCounts = Counter({int(hour): int(count) for hour, count in ledger.items()})
    stream_exists = not isinstance(info, RedisError)
    return accepted, position(info["last-generated-id"]) if stream_exists else 0


def count_lines(frame: bytes) -> int:
    return sum(1 for line in frame.split(b"\n") if line)


def balance_stream(
    stream: Stream,
    backlog: StreamBacklog,
    stored_position: int,
    *,
    stored: HourCounts,
    rejected: HourCounts,
    first_hour: int = 0,
) -> StreamBalance:
    """Balances one stream at its stored position; the difference of an estimate is 0.

    Hours before `first_hour`, of which raw events are no longer kept, are left out.
    """
    accepted, stored, rejected = (
        _since(first_hour, counts) for counts in (backlog.accepted, stored, rejected)
    )
    waiting_entries = [(pos, events) for pos, events in backlog.entries if pos > stored_position]
    waiting: HourCounts = Counter()
    for pos, events in waiting_entries:
        waiting[time_ms(pos) // HOUR_MS] += events
    if not backlog.complete:
        hours_seen = {*accepted, *stored, *rejected}
        waiting = Counter(
            {hour: accepted[hour] - stored[hour] - rejected[hour] for hour in hours_seen}
        )
    hours = tuple(
        _hour_balance(hour, accepted[hour], stored[hour], rejected[hour], waiting[hour])
        for hour in sorted({*accepted, *stored, *rejected, *waiting})
    )
    return StreamBalance(
        stream=f"{stream.kind}/{stream.shard}",
        accepted=accepted.total(),
        stored=stored.total(),
        rejected=rejected.total(),
        waiting=waiting.total(),
        difference=sum(hour.difference for hour in hours),
        waiting_estimated=not backlog.complete,
        oldest_waiting_ms=time_ms(waiting_entries[0][0]) if waiting_entries else None,
        hours=hours,
    )


def _since(first_hour: int, counts: HourCounts) -> HourCounts:
    return Counter({hour: events for hour, events in counts.items() if hour >= first_hour})


def _hour_balance(
    hour: int, accepted: int, stored: int, rejected: int, waiting: int
) -> HourBalance:
    return HourBalance(
        hour=datetime.fromtimestamp(hour * HOUR_MS / 1000, UTC),
        accepted=accepted,
        stored=stored,
        rejected=rejected,
        waiting=waiting,
        difference=accepted - stored - rejected - waiting,
    )
