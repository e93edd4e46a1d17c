"""The balance: accepted = stored + rejected + waiting, by stream and hour, exact under load.

For each stream, ledger and last id are read in one transaction, and the entries up to that id
are counted. The position P is read from ClickHouse after that: what is at or below P never
changes again, and an entry above P was not trimmed yet, so it has been counted.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import msgspec
from redis.asyncio import Redis

from linkjolt.balance.edge_status import read_edges
from linkjolt.balance.stored_counts import HOUR_MS, Hours, StoredCounts
from linkjolt.position import entry_id, position, time_ms
from linkjolt.redis_keys import Stream, streams
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import RedisError, entries

COUNTED_ENTRIES = 20_000
# A frame may hold 2,000 clicks, so that a page may be tens of megabytes.
_PAGE = 100

_POSITIONS = "SELECT s, max(pos) AS pos FROM {table} WHERE account = 0 GROUP BY s"


class HourBalance(msgspec.Struct, frozen=True):
    """Events of one hour of stream time; `difference` is 0 unless some were lost or doubled."""

    hour: datetime
    accepted: int
    stored: int
    rejected: int
    waiting: int
    difference: int


class StreamBalance(msgspec.Struct, frozen=True):
    """One stream, such as `clicks/0`; `waiting` was not counted where it is estimated."""

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
    """`spooled`: accepted events on the edges' disks, which no stream holds yet. `shed`: clicks
    that were redirected and could not be kept anywhere."""

    streams: tuple[StreamBalance, ...]
    as_of: datetime
    spooled: int = 0
    shed: int = 0


class Queue(msgspec.Struct, frozen=True):
    """A stream at one instant: accepted events by hour, its top, (position, events) of entries.

    `complete` is False where there were too many entries to count.
    """

    accepted: Hours
    top: int
    entries: tuple[tuple[int, int], ...] = ()
    complete: bool = True


class _Position(msgspec.Struct, frozen=True):
    s: int
    pos: int


async def read_balance(
    redis: Redis, clickhouse: ClickHouse, shards: int, counts: StoredCounts | None = None
) -> Balance:
    """The balance of every stream; `counts` remembers what need not be counted again.

    Raises ClickHouseFailed or RedisError.
    """
    as_of = datetime.now(UTC)
    hints = await _positions(clickhouse)
    queues = {
        stream: await _queue(redis, stream, hints.get(stream.number, 0))
        for stream in streams(shards)
    }
    positions = await _positions(clickhouse)
    ends = {
        stream.number: min(positions.get(stream.number, 0), queue.top)
        for stream, queue in queues.items()
    }
    tables = await (counts or StoredCounts()).read(clickhouse, ends)
    edges = await read_edges(redis)
    nothing: Hours = Counter()
    return Balance(
        tuple(
            balance_stream(
                stream,
                queue,
                positions.get(stream.number, 0),
                stored=tables[stream.kind].get(stream.number, nothing),
                rejected=tables["rejects"].get(stream.number, nothing),
            )
            for stream, queue in queues.items()
        ),
        as_of,
        spooled=edges.spooled,
        shed=edges.shed,
    )


async def _positions(clickhouse: ClickHouse) -> dict[int, int]:
    rows = [
        row
        for table in ("clicks", "conversions")
        for row in await clickhouse.read(_POSITIONS.format(table=table), _Position)
    ]
    return {row.s: row.pos for row in rows}


async def _queue(redis: Redis, stream: Stream, after: int) -> Queue:
    """The ledger, and the entries after a position; gives up beyond COUNTED_ENTRIES."""
    accepted, top = await _ledger(redis, stream)
    counted: list[tuple[int, int]] = []
    while after < top:
        page = await entries(redis, stream.key, entry_id(after + 1), entry_id(top), _PAGE)
        if not page:
            break
        if len(counted) + len(page) > COUNTED_ENTRIES:
            return Queue(accepted, top, tuple(counted), complete=False)
        counted += [(position(identity), count_lines(fields[b"f"])) for identity, fields in page]
        after = counted[-1][0]
    return Queue(accepted, top, tuple(counted))


async def _ledger(redis: Redis, stream: Stream) -> tuple[Hours, int]:
    """Accepted events by hour and the stream's last position (0: no stream), at one instant."""
    async with redis.pipeline(transaction=True) as pipe:
        commands: Any = pipe
        commands.hgetall(stream.ledger)
        # Not the last entry: a stream whose entries were all trimmed still knows its last id.
        commands.xinfo_stream(stream.key)
        ledger, info = await commands.execute(raise_on_error=False)
    if isinstance(ledger, RedisError):
        raise ledger
    accepted: Hours = Counter({int(hour): int(count) for hour, count in ledger.items()})
    known = not isinstance(info, RedisError)
    return accepted, position(info["last-generated-id"]) if known else 0


def count_lines(frame: bytes) -> int:
    return sum(1 for line in frame.split(b"\n") if line)


def balance_stream(
    stream: Stream, queue: Queue, after: int, *, stored: Hours, rejected: Hours
) -> StreamBalance:
    """What the counts come to; `after` is the stored position. An estimate differs by nothing."""
    accepted = queue.accepted
    behind = [(pos, events) for pos, events in queue.entries if pos > after]
    waiting: Hours = Counter()
    for pos, events in behind:
        waiting[time_ms(pos) // HOUR_MS] += events
    if not queue.complete:
        seen = {*accepted, *stored, *rejected}
        waiting = Counter({hour: accepted[hour] - stored[hour] - rejected[hour] for hour in seen})
    hours = tuple(
        _hour(hour, accepted[hour], stored[hour], rejected[hour], waiting[hour])
        for hour in sorted({*accepted, *stored, *rejected, *waiting})
    )
    return StreamBalance(
        stream=f"{stream.kind}/{stream.shard}",
        accepted=accepted.total(),
        stored=stored.total(),
        rejected=rejected.total(),
        waiting=waiting.total(),
        difference=sum(hour.difference for hour in hours),
        waiting_estimated=not queue.complete,
        oldest_waiting_ms=time_ms(behind[0][0]) if behind else None,
        hours=hours,
    )


def _hour(hour: int, accepted: int, stored: int, rejected: int, waiting: int) -> HourBalance:
    return HourBalance(
        hour=datetime.fromtimestamp(hour * HOUR_MS / 1000, UTC),
        accepted=accepted,
        stored=stored,
        rejected=rejected,
        waiting=waiting,
        difference=accepted - stored - rejected - waiting,
    )
