"""Keeps the rows of lists in memory, each owner's kinds as they are asked for.

Every list reads the change feed up to its end first, so it shows what was written before it, by
whichever process.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Any, Generic, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.registry.entries import ENTRY_TYPES, EntryKind, RegistryEntry
from linkjolt.registry.lists.metrics import LIST_ROWS
from linkjolt.registry.lists.query import ListQuery, PageFinder
from linkjolt.registry.lists.rows import ListRow, row_number, row_of
from linkjolt.registry.reads import (
    ENTRY_KINDS,
    E,
    feed_contains,
    read_changes,
    read_feed_end,
    read_raw,
)
from linkjolt.registry.store import Owner
from linkjolt.runtime.loop_slices import LoopSlices, in_slices
from linkjolt.storage.redis import call

_READ_AT_ONCE = 250
_CHANGES_AT_ONCE = 1_000
_BLOCK_ROWS = 1_000


class ListPage(msgspec.Struct, Generic[E], frozen=True):
    """The entries of a page, how many entries all pages have, and the cursor of the next one."""

    entries: list[E]
    total: int
    next_cursor: str | None


class OwnerRows:
    """The rows of one owner's entries of one kind, by rising number."""

    def __init__(self, expected: int) -> None:
        self._rows: list[ListRow] = []
        self._expected = expected
        # While rows are first read: those that changed since, of which an older state may be read.
        self.changed: set[int] | None = set()
        self.built: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return max(len(self._rows), self._expected if self.changed is not None else 0)

    def put(self, row: ListRow) -> None:
        rows = self._rows
        if not rows or row.number > rows[-1].number:
            rows.append(row)
            return
        at = bisect_left(rows, row.number, key=row_number)
        if rows[at].number == row.number:
            rows[at] = row
        else:
            rows.insert(at, row)

    def drop(self, number: int) -> None:
        at = bisect_left(self._rows, number, key=row_number)
        if at < len(self._rows) and self._rows[at].number == number:
            del self._rows[at]

    async def blocks(self) -> AsyncIterator[list[ListRow]]:
        """Yields all rows in blocks, in slices; rows may be put and dropped meanwhile."""
        last = 0
        slices = LoopSlices()
        while True:
            await slices.next_if_over()
            at = bisect_right(self._rows, last, key=row_number)
            block = self._rows[at : at + _BLOCK_ROWS]
            if not block:
                return
            yield block
            last = block[-1].number


_Place = tuple[EntryKind, Owner]


class RegistryLists:
    """Answers the lists of the registry, of at most `rows_max` rows from memory.

    A list that has more is read from Redis each time. RedisError passes through.
    """

    def __init__(self, redis: Redis, rows_max: int) -> None:
        self._redis = redis
        self._rows_max = rows_max
        # The one used last is the last.
        self._kept: OrderedDict[_Place, OwnerRows] = OrderedDict()
        self._position = ""
        self._catching_up = asyncio.Lock()

    async def page(self, kind: type[E], owner: Owner, query: ListQuery) -> ListPage[E]:
        """Returns a page of the owner's entries, without deleted ones."""
        if query.is_plain:
            return await self._plain_page(kind, owner, query)
        rows = await self._rows_of(kind, owner)
        blocks = rows.blocks() if rows else self._read_blocks(kind, owner)
        finder = PageFinder(query)
        async for block in blocks:
            finder.add(block)
        entries = [entry async for entry in self._read(kind, finder.numbers)]
        # An entry may have been changed or deleted between the two reads.
        entries = [entry for entry in entries if query.matches(row_of(entry))]
        return ListPage(entries, finder.total, finder.next_cursor)

    async def _plain_page(self, kind: type[E], owner: Owner, query: ListQuery) -> ListPage[E]:
        index = redis_keys.registry_index(ENTRY_KINDS[kind], owner)
        after = f"({query.after[1]}" if query.after else None
        ends = (after or "+inf", "-inf") if query.descending else (after or "-inf", "+inf")
        command = "ZREVRANGEBYSCORE" if query.descending else "ZRANGEBYSCORE"
        reply = await call(self._redis, command, index, *ends, "LIMIT", 0, query.limit + 1)
        numbers = [int(number) for number in reply]
        entries = [entry async for entry in self._read(kind, numbers[: query.limit])]
        more = len(numbers) > query.limit
        cursor = str(numbers[query.limit - 1]) if more else None
        return ListPage(entries, await self._redis.zcard(index), cursor)

    def row_count(self) -> int:
        """Counts the rows in memory, those that are being read among them."""
        return sum(map(len, self._kept.values()))

    async def _rows_of(self, kind: type[E], owner: Owner) -> OwnerRows | None:
        """Returns the rows as of now; None where they are too many for memory."""
        place = ENTRY_KINDS[kind], owner
        async with self._catching_up:
            await self._catch_up()
            rows = self._kept.get(place)
            if rows is None:
                rows = await self._begin(kind, owner)
            else:
                self._kept.move_to_end(place)
        if rows is not None and rows.built is not None:
            # Many lists may wait for the same rows: one whose client leaves stops none of them.
            await asyncio.shield(rows.built)
        return rows

    async def _begin(self, kind: type[E], owner: Owner) -> OwnerRows | None:
        place = ENTRY_KINDS[kind], owner
        count = await self._redis.zcard(redis_keys.registry_index(*place))
        if count > self._rows_max:
            return None
        self._make_room(count)
        if not self._kept:
            # Before the first row: what is written from here on is in the feed.
            self._position = await read_feed_end(self._redis)
        rows = self._kept[place] = OwnerRows(count)
        rows.built = asyncio.create_task(self._build(kind, owner, rows))
        return rows

    async def _build(self, kind: type[E], owner: Owner, rows: OwnerRows) -> None:
        place = ENTRY_KINDS[kind], owner
        try:
            async for block in self._read_blocks(kind, owner):
                changed = rows.changed or ()
                for row in block:
                    if row.number not in changed:
                        rows.put(row)
        except BaseException:
            if self._kept.get(place) is rows:
                del self._kept[place]
            raise
        finally:
            rows.changed = rows.built = None
            LIST_ROWS.set(self.row_count())

    def _make_room(self, count: int) -> None:
        """Drops the rows that were not used for longest, until `count` more may be kept."""
        while self._kept and self.row_count() + count > self._rows_max:
            self._kept.popitem(last=False)
        LIST_ROWS.set(self.row_count())

    async def _catch_up(self) -> None:
        """Applies all changes up to the end of the feed."""
        while self._kept:
            position, changes = await read_changes(
                self._redis, self._position, _CHANGES_AT_ONCE, block_ms=None
            )
            # Checked after the read: while the old position exists, nothing after it was trimmed.
            if not await feed_contains(self._redis, self._position):
                self._kept.clear()
            if position == self._position:
                break
            kinds: set[EntryKind] = {kind for kind, _ in self._kept}
            for kind in kinds:
                await self._apply(kind, sorted({c.number for c in changes if c.kind == kind}))
            self._position = position
        self._make_room(0)

    async def _apply(self, kind: EntryKind, numbers: Sequence[int]) -> None:
        entry = cast("type[Any]", ENTRY_TYPES[kind])
        async for one in self._read(entry, numbers, deleted=True):
            changed: RegistryEntry = one
            rows = self._kept.get((kind, changed.account))
            if rows is None:
                continue
            if rows.changed is not None:
                rows.changed.add(changed.number)
            if changed.deleted_at is None:
                rows.put(row_of(changed))
            else:
                rows.drop(changed.number)

    async def _read_blocks(self, kind: type[E], owner: Owner) -> AsyncIterator[list[ListRow]]:
        """Yields the rows of all entries by rising number, as they are in Redis."""
        index = redis_keys.registry_index(ENTRY_KINDS[kind], owner)
        after = 0
        while True:
            reply = await call(
                self._redis, "ZRANGEBYSCORE", index, f"({after}", "+inf", "LIMIT", 0, _READ_AT_ONCE
            )
            if not reply:
                return
            numbers = [int(number) for number in reply]
            yield [row_of(entry) async for entry in self._read(kind, numbers)]
            after = numbers[-1]

    async def _read(
        self, kind: type[E], numbers: Sequence[int], *, deleted: bool = False
    ) -> AsyncIterator[E]:
        """Yields the entries that there are, without deleted ones unless `deleted`, in slices."""
        slices = LoopSlices()
        for start in range(0, len(numbers), _READ_AT_ONCE):
            some = numbers[start : start + _READ_AT_ONCE]
            raw = await read_raw(self._redis, ENTRY_KINDS[kind], some)
            async for body in in_slices(raw, slices):
                if body is None:
                    continue
                entry = msgspec.json.decode(body, type=kind)
                if deleted or entry.deleted_at is None:
                    yield entry
