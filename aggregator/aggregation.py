"""Stream to warehouse: each step closes slices, stores them in order, and pulls the rollups."""

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from aggregator import metrics, rollups
from aggregator.batches import (
    Reject,
    click_rows,
    cut,
    days_of,
    lines_of,
    read_lines,
)
from aggregator.conversions import Events, Known, conversion_rows, first_waiting
from aggregator.salts import Salts
from aggregator.streams import Entry, Streams
from aggregator.warehouse import Order, Warehouse
from linkjolt import names
from linkjolt.clickhouse import ClickHouse
from linkjolt.events import Click, Conversion
from linkjolt.faults import fault
from linkjolt.names import Stream
from linkjolt.position import time_ms
from linkjolt.settings import Aggregator as Settings

_PAGE_ENTRIES = 64
_clicks = msgspec.json.Decoder(Click)
_conversions = msgspec.json.Decoder(Conversion)


class Note(msgspec.Struct, frozen=True):
    """Where the click streams stood when conversions were closed up to `until_ms`."""

    until_ms: int
    tops: Mapping[int, int]


class Step(msgspec.Struct, frozen=True):
    """What one step left: more to do at once, or how long until the next slice is over."""

    behind: bool
    wait_seconds: float


def _rows(entries: Sequence[Entry]) -> int:
    return sum(entry.lines for entry in entries)


class Aggregation:
    """One aggregator at work on all streams; its memory may be forgotten at any time."""

    def __init__(
        self, streams: Streams, clickhouse: ClickHouse, salts: Salts, settings: Settings
    ) -> None:
        self._streams = streams
        self._clickhouse = clickhouse
        self._warehouse = Warehouse(clickhouse)
        self._salts = salts
        self._settings = settings
        self._clicks = [names.clicks(shard) for shard in range(settings.shards)]
        self._conversions = [names.conversions(shard) for shard in range(settings.shards)]
        # Bounded: during a long catch-up the newest notes are the ones that matter.
        self._notes: deque[Note] = deque(maxlen=1_000)
        self._sure_ms = 0
        self.forget()

    def forget(self) -> None:
        """After a failure or a doubt: positions are read from the warehouse again."""
        self._positions: dict[int, int] = {}
        self._watermarks: rollups.Watermarks = {}

    async def step(self) -> Step:
        """Closes what is over and stores one batch of each stream."""
        width = self._settings.slice_ms
        closed = [await self._streams.close(stream, width) for stream in self._conversions]
        tops = {stream.number: await self._streams.top(stream) for stream in self._clicks}
        self._notes.append(Note(min(c.until_ms for c in closed), tops))
        behind = False
        for stream in self._clicks:
            until = await self._streams.close(stream, width)
            behind |= await self._store(stream, until.until_ms)
        for stream, until in zip(self._conversions, closed, strict=True):
            behind |= await self._store(stream, until.until_ms)
        now_ms = closed[0].now_ms
        return Step(behind, (width - now_ms % width) / 1000)

    async def position(self, stream: Stream) -> int:
        """The stored position, remembered or read from the rows; rollups are brought up to it."""
        if stream.number not in self._positions:
            position = await self._warehouse.position(stream)
            await self._pull(stream, position)
            self._positions[stream.number] = position
        return self._positions[stream.number]

    async def _store(self, stream: Stream, until_ms: int) -> bool:
        """Stores the next batch below `until_ms`; True when more waits behind it."""
        after = await self.position(stream)
        fault("aggregator_before_read")
        read = await self._read(stream, after, until_ms)
        fault("aggregator_after_read")
        if not read:
            await self._streams.tell(stream, after, until_ms)
            return False
        with metrics.BATCH_SECONDS.time():
            upto = await self._store_batch(stream, cut(read, self._settings.batch_rows))
        if upto == after:
            await self._streams.tell(stream, after, time_ms(read[0].pos))
            return False
        fault("aggregator_before_cursor")
        stored_all = upto == read[-1].pos and _rows(read) < self._settings.batch_rows
        await self._streams.tell(stream, upto, until_ms if stored_all else time_ms(upto))
        return not stored_all

    async def _store_batch(self, stream: Stream, entries: Sequence[Entry]) -> int:
        """One batch into raw and rollups; answers the position that is stored now."""
        if stream.kind == "clicks":
            await self._store_clicks(stream, entries)
        else:
            entries = await self._store_conversions(stream, entries)
        if entries:
            fault("aggregator_after_base_insert")
            self._positions[stream.number] = entries[-1].pos
            await self._pull(stream, entries[-1].pos)
        return self._positions[stream.number]

    async def _store_clicks(self, stream: Stream, entries: Sequence[Entry]) -> None:
        s = stream.number
        clicks, undecodable = read_lines(lines_of(entries), _clicks, s)
        marked = [(c.account, c.click_id) for line, c in clicks if line.marked]
        known = await self._warehouse.click_rows(marked)
        salts = await self._salts.of(days_of(clicks))
        rows, repeated = click_rows(clicks, s, salts, known)
        await self._insert_rejects([*undecodable, *repeated])
        await self._warehouse.insert_clicks(rows, s, entries[-1].pos)
        metrics.STORED.labels("clicks").inc(len(rows))

    async def _store_conversions(self, stream: Stream, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Answers the entries it stored: those before the first that waits for its click."""
        s = stream.number
        conversions, undecodable = read_lines(lines_of(entries), _conversions, s)
        wanted = [(c.account, c.click_id) for _, c in conversions if c.click_id]
        clicks = await self._warehouse.click_rows(wanted)
        waiting = first_waiting(conversions, clicks, self._sure_until_ms())
        if waiting is not None:
            entries = [entry for entry in entries if entry.pos < waiting]
            if not entries:
                return entries
            conversions = [event for event in conversions if event[0].pos < waiting]
            undecodable = [reject for reject in undecodable if reject.pos < waiting]
        orders = await self._known_orders(conversions)
        rows, repeated = conversion_rows(conversions, s, Known(clicks, orders))
        await self._insert_rejects([*undecodable, *repeated])
        await self._warehouse.insert_conversions(rows, s, entries[-1].pos)
        metrics.STORED.labels("conversions").inc(len(rows))
        return entries

    async def _known_orders(self, conversions: Events) -> list[Order]:
        events = [conversion for _, conversion in conversions]
        return await self._warehouse.orders(
            {c.account for c in events},
            {c.order_id for c in events if c.order_id},
            {c.conversion_id for line, c in conversions if line.marked},
        )

    async def _insert_rejects(self, rejects: Sequence[Reject]) -> None:
        await self._warehouse.insert_rejects(rejects)
        for reject in rejects:
            metrics.REJECTED.labels(reject.reason).inc()

    async def _pull(self, stream: Stream, upto: int) -> None:
        marks = self._watermarks
        await rollups.catch_up(self._clickhouse, stream.kind, stream.number, upto, marks)

    def _sure_until_ms(self) -> int:
        """Conversions below this came after every click that is still to be read."""
        sure = 0
        while self._notes and self._passed(self._notes[0]):
            sure = self._sure_ms = self._notes.popleft().until_ms
        return max(sure, self._sure_ms)

    def _passed(self, note: Note) -> bool:
        return all(self._positions.get(number, 0) >= top for number, top in note.tops.items())

    async def _read(self, stream: Stream, after: int, until_ms: int) -> list[Entry]:
        """The next entries, a page at a time, until a batch is full or the slice is read."""
        entries: list[Entry] = []
        while _rows(entries) < self._settings.batch_rows:
            page = await self._streams.read(stream, after, until_ms, _PAGE_ENTRIES)
            entries += page
            if len(page) < _PAGE_ENTRIES:
                break
            after = page[-1].pos
        return entries
