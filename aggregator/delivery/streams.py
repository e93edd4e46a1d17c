"""Closes slices of the event streams, reads their frames and publishes progress, in Redis."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.balance.edge_status import read_edge_totals
from linkjolt.position import entry_id, position
from linkjolt.redis_keys import Stream
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import (
    ResponseError,
    StreamEntry,
    call,
    read_stream,
    server_time_ms,
)

GROUP = "warehouse"
# Past every position.
MAX_POSITION = (1 << 64) - 1
_PAGE_ENTRIES = 64
_CLOSE = read_script(Path(__file__).parent / "close.lua")
_RAISE_LAST_ID = read_script(Path(__file__).parent / "raise_last_id.lua")


class FrameEntry(msgspec.Struct, frozen=True):
    """A frame as read: its position, event lines and their number; `marked`: it was sent again."""

    pos: int
    frame: bytes
    marked: bool
    lines: int


class ClosedSlices(msgspec.Struct, frozen=True):
    """The end of the closed slices: no entry can appear below `until_ms` any more.

    `now_ms` is Redis's clock. `rewound`: the stream ends before the stored position, so nothing was
    closed.
    """

    until_ms: int
    now_ms: int
    rewound: bool


class RedisMemory(msgspec.Struct, frozen=True):
    """The bytes that Redis uses, and its own bound (0: none)."""

    used: int
    maximum: int


def _parse_entry(row: StreamEntry) -> FrameEntry:
    key, fields = row
    frame = fields[b"f"]
    return FrameEntry(position(key), frame, b"r" in fields, frame.count(b"\n") + 1)


def count_lines(frames: Sequence[FrameEntry]) -> int:
    return sum(entry.lines for entry in frames)


class Streams:
    """Reads the event streams of one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._close_script = LuaScript(redis, _CLOSE)
        self._raise_last_id_script = LuaScript(redis, _RAISE_LAST_ID)

    async def close(self, stream: Stream, slice_ms: int, stored: int = 0) -> ClosedSlices:
        """Closes every slice that has ended, unless the stream ends before the position `stored`.

        Creates the stream if it does not exist.
        """
        args = [slice_ms, *entry_id(stored).split("-")]
        [(until_ms, now_ms, forgot)] = await self._close_script([([stream.key], args)])
        return ClosedSlices(until_ms, now_ms, bool(forgot))

    async def last_generated_position(self, stream: Stream) -> int:
        """Returns the last generated id, which may be past the last entry; 0 without a stream."""
        try:
            info = await call(self._redis, "XINFO", "STREAM", stream.key)
        except ResponseError:
            return 0
        return position(info[b"last-generated-id"])

    async def read_newest(self, stream: Stream, end_position: int, count: int) -> list[FrameEntry]:
        """Reads at most `count` frames at or below a position, the newest first."""
        end = entry_id(end_position)
        rows = await call(self._redis, "XREVRANGE", stream.key, end, "-", "COUNT", count)
        return [_parse_entry(row) for row in rows]

    async def has_lost(self, stream: Stream, stored: int) -> bool:
        """Returns True if the entry at a position is gone but an earlier one exists.

        No trim does that.
        """
        newest = await self.read_newest(stream, stored, 1)
        return bool(newest) and newest[0].pos != stored

    async def raise_last_id(
        self, stream: Stream, last_seen: int, stored: int, unread: Sequence[int]
    ) -> int:
        """Raises the stream's last id to the position `stored`; moves entries behind it, marked.

        `last_seen` is where the stream ended when `unread` was read. Returns the number of entries
        moved.
        """
        args = [entry_id(last_seen), entry_id(stored), *(entry_id(pos) for pos in unread)]
        [moved] = await self._raise_last_id_script([([stream.key], args)])
        return moved

    async def newest_position(self, stream: Stream) -> int:
        """Returns the position of the last entry; 0 if there is none."""
        newest = await call(self._redis, "XREVRANGE", stream.key, "+", "-", "COUNT", 1)
        return position(newest[0][0]) if newest else 0

    async def read(self, stream: Stream, after: int, until_ms: int, count: int) -> list[FrameEntry]:
        """Reads at most `count` frames after a position and below a closed millisecond."""
        start, end = f"({entry_id(after)}", f"({until_ms}-0"
        rows = await read_stream(self._redis, stream.key, start, end, count)
        return [_parse_entry(row) for row in rows]

    async def publish_progress(self, stream: Stream, pos: int, stored_until_ms: int) -> None:
        """Publishes the end of the stored events, for reports and for `XINFO GROUPS`."""
        await call(self._redis, "HSET", redis_keys.PROGRESS, stream.number, stored_until_ms)
        await call(self._redis, "XGROUP", "SETID", stream.key, GROUP, entry_id(pos))

    async def withdraw_progress(self, stream: Stream) -> None:
        """Withdraws the published progress: until the next, reports claim no completeness."""
        await call(self._redis, "HDEL", redis_keys.PROGRESS, stream.number)

    async def lowest_needed_position(self, stream: Stream) -> int:
        """Returns the position below which no other consumer group needs an entry."""
        try:
            groups = await call(self._redis, "XINFO", "GROUPS", stream.key)
        except ResponseError:
            return MAX_POSITION
        others = [group for group in groups if group[b"name"].decode() != GROUP]
        positions = [position(group[b"last-delivered-id"]) for group in others]
        for group in others:
            if group[b"pending"]:
                name = group[b"name"].decode()
                pending = await call(self._redis, "XPENDING", stream.key, name)
                positions.append(position(pending["min"]) if pending["min"] else MAX_POSITION)
        return min(positions, default=MAX_POSITION)

    async def oldest_position(self, stream: Stream) -> int:
        """Returns the position of the first entry; 0 if there is none."""
        oldest = await read_stream(self._redis, stream.key, "-", count=1)
        return position(oldest[0][0]) if oldest else 0

    async def trim(self, stream: Stream, below_ms: int, *, exact: bool = False) -> None:
        """Drops entries below a millisecond; a few may stay, for whole nodes go, unless `exact`."""
        how = "=" if exact else "~"
        await call(self._redis, "XTRIM", stream.key, "MINID", how, f"{below_ms}-0")

    async def trim_until(self, stream: Stream, pos: int) -> None:
        """Drops all entries up to a position."""
        await call(self._redis, "XTRIM", stream.key, "MINID", "=", entry_id(pos + 1))

    async def read_batch(
        self, stream: Stream, after: int, until_ms: int, lines_max: int
    ) -> list[FrameEntry]:
        """Reads the next frames, a page at a time, until a batch is full or all are read."""
        batch: list[FrameEntry] = []
        lines = 0
        while lines < lines_max:
            page = await self.read(stream, after, until_ms, _PAGE_ENTRIES)
            batch += page
            lines += count_lines(page)
            if len(page) < _PAGE_ENTRIES:
                break
            after = page[-1].pos
        return batch

    async def now_ms(self) -> int:
        """Returns the time of Redis's clock."""
        return await server_time_ms(self._redis)

    async def spooled_events(self) -> int:
        """Returns the number of events that running edges hold on disk for a stream."""
        return (await read_edge_totals(self._redis)).spooled

    async def memory(self) -> RedisMemory:
        info = await call(self._redis, "INFO", "memory")
        return RedisMemory(int(info["used_memory"]), int(info["maxmemory"]))
