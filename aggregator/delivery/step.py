"""Stream to warehouse: each step closes slices, stores them in order, and pulls the rollups."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from aggregator import metrics
from aggregator.delivery import rewound_stream
from aggregator.delivery.already_stored import read_known
from aggregator.delivery.click_barrier import Notes
from aggregator.delivery.lease import LeaseLost, Leases
from aggregator.delivery.streams import Closed, Entry, Streams, lines_in
from aggregator.delivery.visitor_salts import Salts
from aggregator.rollups.schedule import Pulls
from aggregator.rows.batches import Reject, click_rows, cut, lines_of, read_lines
from aggregator.rows.conversions import clicks_of, conversion_rows, first_waiting
from aggregator.warehouse.writer import Warehouse, encode_rows
from linkjolt import redis_keys
from linkjolt.events import Click
from linkjolt.fault_points import fault
from linkjolt.position import time_ms
from linkjolt.redis_keys import Stream
from linkjolt.settings import Aggregator as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.stream_lines import read_fact

# How long a conversion waits for a click that is missing, from when Redis took it.
_TOLD_GRACE_MS = 2_000
_SPOOLED_GRACE_MS = 30_000
_read_click = msgspec.json.Decoder(Click).decode
log = structlog.get_logger()


class Step(msgspec.Struct, frozen=True):
    """What one step left: more to do at once, or how long until the next slice is over."""

    behind: bool
    wait_seconds: float


class Aggregation:
    """One aggregator at work on the streams it has leases of; its memory may be forgotten any time.

    Without `leases` it is the only one: it has the engine to itself.
    """

    def __init__(
        self,
        streams: Streams,
        clickhouse: ClickHouse,
        salts: Salts,
        settings: Settings,
        leases: Leases | None = None,
    ) -> None:
        self._streams = streams
        self._clickhouse = clickhouse
        self._warehouse = Warehouse(clickhouse)
        self._salts = salts
        self._settings = settings
        self._leases = leases
        self._clicks = [redis_keys.clicks(shard) for shard in range(settings.shards)]
        self._conversions = [redis_keys.conversions(shard) for shard in range(settings.shards)]
        self._notes = Notes()
        self._now_ms = 0
        self.forget()

    def forget(self) -> None:
        """After a failure or a doubt: positions are read from the warehouse again."""
        self._positions: dict[int, int] = {}
        self._pulls = Pulls(self._clickhouse, self._settings.batch_rows)
        self._unpulled: Counter[int] = Counter()

    async def step(self) -> Step:
        """Closes what is over and stores one batch of each stream that is ours."""
        clicks = [stream for stream in self._clicks if await self._ours(stream)]
        conversions = [stream for stream in self._conversions if await self._ours(stream)]
        metrics.LEASES.set(len(clicks) + len(conversions))
        closed = [await self._close(stream) for stream in conversions]
        self._now_ms = await self._streams.now_ms()
        if closed:
            tops = {stream.number: await self._streams.top(stream) for stream in self._clicks}
            self._notes.add(min(c.until_ms for c in closed), tops)
        behind = False
        for stream in clicks:
            closed.append(await self._close(stream))
            behind |= await self._store(stream, closed[-1].until_ms)
        for stream, until in zip(conversions, closed, strict=False):
            behind |= await self._store(stream, until.until_ms)
        width = self._settings.slice_ms
        return Step(behind, (width - self._now_ms % width) / 1000)

    async def position(self, stream: Stream) -> int:
        """The stored position; when it is read from the rows, rollups are brought up to it."""
        if stream.number not in self._positions:
            position = await self._warehouse.position(stream)
            if position and await self._pulls.begins(stream):
                # Made anew, perhaps: reports are complete up to no instant before it is pulled.
                await self._streams.tell_none(stream)
            await self._pull(stream, position)
            self._positions[stream.number] = position
        return self._positions[stream.number]

    async def trimmable(self, stream: Stream) -> int:
        """A position up to which all is stored; 0 where the stream ends before what is stored.

        Lease or not: a full Redis gives no lease before it is trimmed.
        """
        position = await self._warehouse.position(stream)
        return position if await self._streams.last(stream) >= position else 0

    async def release(self) -> None:
        """Lets another aggregator go on at once; the last thing to do."""
        if self._leases:
            await self._leases.release()

    async def _ours(self, stream: Stream) -> bool:
        held = await self._leases.hold(stream) if self._leases else "held"
        if held != "held":
            self._forget(stream)
        if held == "taken":
            log.info("lease taken", stream=stream.key)
        return held != "foreign"

    def _forget(self, stream: Stream) -> None:
        """Another aggregator may have stored the stream, or closed it, since we looked."""
        self._positions.pop(stream.number, None)
        self._pulls.forget(stream)
        if stream.kind == "conversions":
            self._notes.clear()

    async def _still_ours(self, stream: Stream) -> None:
        """Before an insert: a lease that is old by now is renewed; LeaseLost if it is gone."""
        if self._leases and await self._leases.hold(stream) != "held":
            raise LeaseLost(f"the lease of {stream.key} ran out")

    async def _close(self, stream: Stream) -> Closed:
        """Closes what is over; where Redis forgot the stream's end, that is made good first."""
        doubtful = stream.number not in self._positions
        stored = await self.position(stream)
        closed = await self._streams.close(stream, self._settings.slice_ms, stored)
        if closed.forgot or (doubtful and await self._streams.lacks(stream, stored)):
            await rewound_stream.make_good(self._streams, self._warehouse, stream, stored)
            closed = await self._streams.close(stream, self._settings.slice_ms)
        return closed

    async def _store(self, stream: Stream, until_ms: int) -> bool:
        """Stores the next batch below `until_ms`; True when more waits behind it."""
        after = await self.position(stream)
        fault("aggregator_before_read")
        read = await self._streams.read_batch(stream, after, until_ms, self._settings.batch_rows)
        fault("aggregator_after_read")
        if not read:
            await self._pull(stream, after)
            await self._streams.tell(stream, after, until_ms)
            return False
        with metrics.BATCH_SECONDS.time():
            store = self._store_clicks if stream.kind == "clicks" else self._store_conversions
            batch = cut(read, self._settings.batch_rows)
            upto = await store(stream, batch, after)
        if upto == after:
            await self._pull(stream, after)
            await self._streams.tell(stream, after, time_ms(read[0].pos))
            return False
        fault("aggregator_after_base_insert")
        self._positions[stream.number] = upto
        stored_all = upto == read[-1].pos and lines_in(read) < self._settings.batch_rows
        self._unpulled[stream.number] += lines_in(batch)
        with_another = self._unpulled[stream.number] + self._settings.batch_rows
        if not stored_all and with_another <= self._pulls.rows:
            # Far behind, rollups follow in larger steps: they cost less, and nobody reads this yet.
            return True
        await self._pull(stream, upto)
        fault("aggregator_before_cursor")
        await self._streams.tell(stream, upto, until_ms if stored_all else time_ms(upto))
        return not stored_all

    async def _store_clicks(self, stream: Stream, entries: Sequence[Entry], after: int) -> int:
        s = stream.number
        marked = lines_of(entry for entry in entries if entry.marked)
        sent_again = [(c.account, c.click_id) for _, c in read_lines(marked, _read_click, s, [])]
        known = await self._warehouse.click_rows(sent_again)

        def rows(salts: Mapping[str, bytes]) -> tuple[list[bytes], list[Reject]]:
            rejects: list[Reject] = []
            clicks = read_lines(lines_of(entries), _read_click, s, rejects)
            return click_rows(clicks, s, salts, known, rejects), rejects

        lines, rejects = await self._salts.run(rows)
        await self._still_ours(stream)
        await self._insert_rejects(rejects)
        upto = await self._warehouse.insert_clicks(lines, s, entries[-1].pos, after)
        metrics.STORED.labels("clicks").inc(lines_in(entries) - len(rejects))
        return upto

    async def _store_conversions(self, stream: Stream, entries: Sequence[Entry], after: int) -> int:
        """Stores the entries before the first that waits for its click; `after` if that is none."""
        s = stream.number
        undecodable: list[Reject] = []
        facts = list(read_lines(lines_of(entries), read_fact, s, undecodable))
        wanted = clicks_of(facts)
        # First, for another aggregator may store clicks meanwhile.
        sure_until_ms = await self._sure_until_ms()
        clicks = await self._warehouse.click_rows(wanted)
        waiting = first_waiting(facts, clicks, sure_until_ms)
        if waiting is not None:
            entries = [entry for entry in entries if entry.pos < waiting]
            if not entries:
                return after
            facts = [fact for fact in facts if fact[0].pos < waiting]
            undecodable = [reject for reject in undecodable if reject.pos < waiting]
        again = [fact for fact in facts if fact[0].marked]
        known = await read_known(self._warehouse, facts, again, clicks)
        rows, repeated = conversion_rows(facts, s, known)
        await self._still_ours(stream)
        await self._insert_rejects([*undecodable, *repeated])
        upto = await self._warehouse.insert_conversions(
            encode_rows(rows), s, entries[-1].pos, after
        )
        metrics.STORED.labels("conversions").inc(len(facts) - len(repeated))
        return upto

    async def _sure_until_ms(self) -> int:
        """Conversions below this are not late for their click: it is read, or will never come."""
        noted = self._notes.sure_until_ms(await self._click_positions())
        # An edge tells every second what it holds for Redis; among it may be the click.
        spooled = await self._streams.spooled()
        grace_ms = _SPOOLED_GRACE_MS if spooled else _TOLD_GRACE_MS
        return min(noted, self._now_ms - grace_ms)

    async def _click_positions(self) -> Mapping[int, int]:
        """How far the click streams are stored, whoever stores them."""
        if all(stream.number in self._positions for stream in self._clicks):
            return self._positions
        return await self._warehouse.click_positions() | self._positions

    async def _insert_rejects(self, rejects: Sequence[Reject]) -> None:
        await self._warehouse.insert_rejects(rejects)
        for reject in rejects:
            metrics.REJECTED.labels(reject.reason).inc()

    async def _pull(self, stream: Stream, upto: int) -> None:
        await self._pulls.follow(stream, upto, self._now_ms)
        self._unpulled[stream.number] = 0
