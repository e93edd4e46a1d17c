"""The aggregator's side of Redis: closing slices, reading entries, telling how far it is."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.balance.edge_status import read_edges
from linkjolt.position import entry_id, position
from linkjolt.redis_keys import Stream
from linkjolt.storage.redis import ResponseError, StreamEntry, call, entries

GROUP = "warehouse"
# Beyond every position.
END = (1 << 64) - 1
_PAGE_ENTRIES = 64
_CLOSE = (Path(__file__).parent / "close.lua").read_text(encoding="utf-8")
_LIFT = (Path(__file__).parent / "lift.lua").read_text(encoding="utf-8")


class Entry(msgspec.Struct, frozen=True):
    """One frame: its position, its event lines, whether it was sent again, how many they are."""

    pos: int
    frame: bytes
    marked: bool
    lines: int


class Closed(msgspec.Struct, frozen=True):
    """No entry can appear below `until_ms` any more; `now_ms` is Redis's clock.

    `forgot`: the stream ends before the stored position, so nothing was closed.
    """

    until_ms: int
    now_ms: int
    forgot: bool


def _entry(row: StreamEntry) -> Entry:
    key, fields = row
    frame = fields[b"f"]
    return Entry(position(key), frame, b"r" in fields, frame.count(b"\n") + 1)


def lines_in(entries_read: Sequence[Entry]) -> int:
    return sum(entry.lines for entry in entries_read)


class Streams:
    """Reads the event streams of one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._close = redis.register_script(_CLOSE)
        self._lift = redis.register_script(_LIFT)

    async def close(self, stream: Stream, slice_ms: int, stored: int = 0) -> Closed:
        """Closes every slice that is over, unless the stream ends before the position `stored`.

        Makes the stream where there is none yet.
        """
        arguments = [slice_ms, *entry_id(stored).split("-")]
        until_ms, now_ms, forgot = await self._close(keys=[stream.key], args=arguments)
        return Closed(until_ms, now_ms, bool(forgot))

    async def last(self, stream: Stream) -> int:
        """The last position that was given, which may be past the last entry; 0 without any."""
        try:
            info = await call(self._redis, "XINFO", "STREAM", stream.key)
        except ResponseError:
            return 0
        return position(info[b"last-generated-id"])

    async def newest(self, stream: Stream, upto: int, count: int) -> list[Entry]:
        """At most `count` entries at or below a position, the newest first."""
        end = entry_id(upto)
        rows = await call(self._redis, "XREVRANGE", stream.key, end, "-", "COUNT", count)
        return [_entry(row) for row in rows]

    async def lacks(self, stream: Stream, stored: int) -> bool:
        """True where the entry of a position is gone but one before is there: no trim does that."""
        below = await self.newest(stream, stored, 1)
        return bool(below) and below[0].pos != stored

    async def lift(self, stream: Stream, seen: int, stored: int, unread: Sequence[int]) -> int:
        """Raises the stream's end to the position `stored`; moves entries behind it, marked.

        `seen` is where the stream ended when `unread` was found. Answers the number of entries.
        """
        arguments = [entry_id(seen), entry_id(stored), *(entry_id(pos) for pos in unread)]
        return await self._lift(keys=[stream.key], args=arguments)

    async def top(self, stream: Stream) -> int:
        """The position of the last entry; 0 where there is none."""
        top = await call(self._redis, "XREVRANGE", stream.key, "+", "-", "COUNT", 1)
        return position(top[0][0]) if top else 0

    async def read(self, stream: Stream, after: int, until_ms: int, count: int) -> list[Entry]:
        """At most `count` entries after a position and below a closed millisecond."""
        start, end = f"({entry_id(after)}", f"({until_ms}-0"
        rows = await entries(self._redis, stream.key, start, end, count)
        return [_entry(row) for row in rows]

    async def tell(self, stream: Stream, pos: int, stored_until_ms: int) -> None:
        """Publishes how far the stream is stored: for reports, and for `XINFO GROUPS`."""
        await call(self._redis, "HSET", redis_keys.PROGRESS, stream.number, stored_until_ms)
        await call(self._redis, "XGROUP", "SETID", stream.key, GROUP, entry_id(pos))

    async def tell_none(self, stream: Stream) -> None:
        """Reports hold the stream up to no instant, until one is told."""
        await call(self._redis, "HDEL", redis_keys.PROGRESS, stream.number)

    async def read_by_all(self, stream: Stream) -> int:
        """A position below which no consumer group, the warehouse's left out, needs an entry."""
        try:
            groups = await call(self._redis, "XINFO", "GROUPS", stream.key)
        except ResponseError:
            return END
        others = [group for group in groups if group[b"name"].decode() != GROUP]
        needed = [position(group[b"last-delivered-id"]) for group in others]
        for group in others:
            if group[b"pending"]:
                name = group[b"name"].decode()
                pending = await call(self._redis, "XPENDING", stream.key, name)
                needed.append(position(pending["min"]) if pending["min"] else END)
        return min(needed, default=END)

    async def trim(self, stream: Stream, below_ms: int) -> None:
        """Drops entries below a millisecond (whole nodes only, so a few may stay)."""
        await call(self._redis, "XTRIM", stream.key, "MINID", "~", f"{below_ms}-0")

    async def read_batch(
        self, stream: Stream, after: int, until_ms: int, lines_max: int
    ) -> list[Entry]:
        """The next entries, a page at a time, until a batch is full or all is read."""
        entries_read: list[Entry] = []
        lines = 0
        while lines < lines_max:
            page = await self.read(stream, after, until_ms, _PAGE_ENTRIES)
            entries_read += page
            lines += lines_in(page)
            if len(page) < _PAGE_ENTRIES:
                break
            after = page[-1].pos
        return entries_read

    async def now_ms(self) -> int:
        """Redis's clock."""
        seconds, microseconds = await call(self._redis, "TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def spooled(self) -> int:
        """Events that living edges hold on disk until they reach a stream."""
        return (await read_edges(self._redis)).spooled

    async def memory_bytes(self) -> int:
        info = await call(self._redis, "INFO", "memory")
        return int(info["used_memory"])
