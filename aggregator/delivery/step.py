"""Closes slices of the streams, stores them in order and pulls the rollups, step by step."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from aggregator import metrics
from aggregator.delivery import rewound_stream
from aggregator.delivery.already_stored import read_already_stored
from aggregator.delivery.click_barrier import ClickBarrier
from aggregator.delivery.lease import LeaseLost, Leases
from aggregator.delivery.streams import ClosedSlices, FrameEntry, Streams, count_lines
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.rollups.schedule import RollupPulls
from aggregator.rows.batches import Reject, cut_batch, decode_lines, encode_click_rows, split_lines
from aggregator.rows.conversions import build_conversion_rows, click_keys, first_waiting_position
from aggregator.warehouse.writer import Warehouse, encode_rows
from linkjolt import redis_keys
from linkjolt.events import Click
from linkjolt.fault_points import fault
from linkjolt.position import time_ms
from linkjolt.redis_keys import Stream
from linkjolt.runtime.loop_slices import in_slices
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.stream_lines import parse_fact

_BATCH_ROWS_MIN = 100
_read_click = msgspec.json.Decoder(Click).decode
log = structlog.get_logger()


class StepOutcome(msgspec.Struct, frozen=True):
    """The outcome of a step: whether more waits to be stored, and when the next slice ends."""

    more_waiting: bool
    wait_seconds: float


class Aggregation:
    """One aggregator's work on the streams that it has leases of.

    All that it remembers may be forgotten at any time. Without `leases` it is the only aggregator.
    """

    def __init__(
        self,
        streams: Streams,
        clickhouse: ClickHouse,
        salts: VisitorSalts,
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
        self._click_barrier = ClickBarrier()
        self._now_ms = 0
        self._batch_rows = settings.batch_rows
        self.forget()

    def forget(self) -> None:
        """Forgets all positions, so that after a failure they are read from the warehouse again."""
        self._positions: dict[int, int] = {}
        self._pulls = RollupPulls(self._clickhouse, self._settings.batch_rows)
        self._unpulled_lines: Counter[int] = Counter()

    def forget_and_shrink(self) -> None:
        """Forgets all after a failure, and halves the batches until some are stored.

        Otherwise a batch that takes longer than its lease, or more memory than ClickHouse has,
        would be tried for ever.
        """
        self.forget()
        smallest = min(_BATCH_ROWS_MIN, self._settings.batch_rows)
        self._batch_rows = max(smallest, self._batch_rows // 2)

    async def step(self) -> StepOutcome:
        """Closes ended slices and stores one batch of each stream whose lease is ours."""
        clicks = [stream for stream in self._clicks if await self._acquire_lease(stream)]
        conversions = [stream for stream in self._conversions if await self._acquire_lease(stream)]
        metrics.LEASES.set(len(clicks) + len(conversions))
        closed_slices = [await self._close(stream) for stream in conversions]
        self._now_ms = await self._streams.now_ms()
        if closed_slices:
            # Read before the positions: a click that was spooled until then is below them.
            spooled = await self._streams.spooled_events() > 0
            newest_clicks = {
                stream.number: await self._streams.newest_position(stream)
                for stream in self._clicks
            }
            until_ms = min(closed.until_ms for closed in closed_slices)
            self._click_barrier.add(until_ms, newest_clicks, self._now_ms, spooled=spooled)
        more_waiting = False
        for stream in clicks:
            closed_slices.append(await self._close(stream))
            more_waiting |= await self._store(stream, closed_slices[-1].until_ms)
        for stream, closed in zip(conversions, closed_slices, strict=False):
            more_waiting |= await self._store(stream, closed.until_ms)
        slice_ms = self._settings.slice_ms
        return StepOutcome(more_waiting, (slice_ms - self._now_ms % slice_ms) / 1000)

    async def position(self, stream: Stream) -> int:
        """Returns the stored position; pulls the rollups up to it when it is read from the rows."""
        if stream.number not in self._positions:
            position = await self._warehouse.stored_position(stream)
            if position and await self._pulls.lacks_stream(stream):
                # A rollup may have been created anew: until it is pulled, no report is complete.
                await self._streams.withdraw_progress(stream)
            await self._pull(stream, position)
            self._positions[stream.number] = position
        return self._positions[stream.number]

    async def trimmable_position(self, stream: Stream) -> int:
        """Returns a position up to which all is stored; 0 if the stream ends before it.

        Needs no lease, for a full Redis grants none before it is trimmed.
        """
        position = await self._warehouse.stored_position(stream)
        return position if await self._streams.last_generated_position(stream) >= position else 0

    async def release(self) -> None:
        """Releases all leases, so that another aggregator can continue at once; comes last."""
        if self._leases:
            await self._leases.release()

    async def _acquire_lease(self, stream: Stream) -> bool:
        lease = await self._leases.acquire(stream) if self._leases else "held"
        if lease != "held":
            self._forget_stream(stream)
        if lease == "taken":
            log.info("lease taken", stream=stream.key)
        return lease != "foreign"

    def _forget_stream(self, stream: Stream) -> None:
        """Forgets a stream that another aggregator may have stored or closed meanwhile."""
        self._positions.pop(stream.number, None)
        self._pulls.forget(stream)
        if stream.kind == "conversions":
            self._click_barrier.clear()

    async def _renew_lease(self, stream: Stream) -> None:
        """Renews an old lease before an insert; raises LeaseLost if it is gone."""
        if self._leases and await self._leases.acquire(stream) != "held":
            raise LeaseLost(f"the lease of {stream.key} ran out")

    async def _close(self, stream: Stream) -> ClosedSlices:
        """Closes ended slices; recovers the stream first if Redis forgot its end."""
        uncertain = stream.number not in self._positions
        stored = await self.position(stream)
        closed = await self._streams.close(stream, self._settings.slice_ms, stored)
        if closed.rewound or (uncertain and await self._streams.has_lost(stream, stored)):
            await rewound_stream.recover_rewound_stream(
                self._streams, self._warehouse, stream, stored
            )
            closed = await self._streams.close(stream, self._settings.slice_ms)
        return closed

    async def _store(self, stream: Stream, until_ms: int) -> bool:
        """Stores the next batch below `until_ms`; returns True if more waits behind it.

        A crash between any two of read, insert, pull and publish is harmless, for each waits for
        the one before it.
        """
        # Read: from the position in the stored rows, which the consumer group's cursor follows.
        after = await self.position(stream)
        batch_rows = self._batch_rows
        fault("aggregator_before_read")
        frames = await self._streams.read_batch(stream, after, until_ms, batch_rows)
        fault("aggregator_after_read")
        batch = cut_batch(frames, batch_rows)
        end_position = await self._insert(stream, batch, after)
        if end_position == after:
            await self._pull(stream, after)
            stored_until_ms = time_ms(frames[0].pos) if frames else until_ms
            await self._streams.publish_progress(stream, after, stored_until_ms)
            return False
        fault("aggregator_after_base_insert")
        self._positions[stream.number] = end_position
        self._unpulled_lines[stream.number] += count_lines(batch)
        stored_all = end_position == frames[-1].pos and count_lines(frames) < batch_rows
        if not stored_all:
            self._batch_rows = min(self._settings.batch_rows, batch_rows + batch_rows // 4 + 1)
        with_another = self._unpulled_lines[stream.number] + self._settings.batch_rows
        if not stored_all and with_another <= self._pulls.pull_rows:
            # Far behind, rollups follow in larger steps: they cost less, and nobody reads this yet.
            return True
        # Pull: after the insert, for rollups are computed from raw rows. A crash before it leaves
        # their watermarks behind the position, and `position` pulls the rest at the next start.
        await self._pull(stream, end_position)
        fault("aggregator_before_cursor")
        # Publish: after the pull, for reports then claim to be complete up to this instant. The
        # cursor moves last: a restore takes it for stored, so it must never be past the rows.
        stored_until_ms = until_ms if stored_all else time_ms(end_position)
        await self._streams.publish_progress(stream, end_position, stored_until_ms)
        return not stored_all

    async def _insert(self, stream: Stream, batch: Sequence[FrameEntry], after: int) -> int:
        """Inserts a batch and returns the position stored then; `after` if nothing is stored."""
        if not batch:
            return after
        # Insert: rejects first, then rows and marker in one INSERT. The marker is the new position,
        # so that a crash before it repeats the whole batch; rejects have keys, which makes a
        # repeated one the same row.
        insert = self._store_clicks if stream.kind == "clicks" else self._store_conversions
        with metrics.BATCH_SECONDS.time():
            return await insert(stream, batch, after)

    async def _store_clicks(self, stream: Stream, entries: Sequence[FrameEntry], after: int) -> int:
        stream_number = stream.number
        marked = split_lines(entry for entry in entries if entry.marked)
        decoded = decode_lines(marked, _read_click, stream_number, [])
        repeated = [(c.account, c.click_id) async for _, c in in_slices(decoded)]
        known = await self._warehouse.read_click_rows(repeated)

        async def build(salts: Mapping[str, bytes]) -> tuple[list[bytes], list[Reject]]:
            rejects: list[Reject] = []
            clicks = decode_lines(split_lines(entries), _read_click, stream_number, rejects)
            return await encode_click_rows(clicks, stream_number, salts, known, rejects), rejects

        lines, rejects = await self._salts.build_with_salts(build)
        await self._renew_lease(stream)
        await self._insert_rejects(rejects)
        end_position = await self._warehouse.insert_clicks(
            lines, stream_number, entries[-1].pos, after
        )
        metrics.STORED.labels("clicks").inc(count_lines(entries) - len(rejects))
        return end_position

    async def _store_conversions(
        self, stream: Stream, entries: Sequence[FrameEntry], after: int
    ) -> int:
        """Stores the entries before the first that waits for its click; returns `after` if none."""
        stream_number = stream.number
        undecodable: list[Reject] = []
        decoded = decode_lines(split_lines(entries), parse_fact, stream_number, undecodable)
        facts = [fact async for fact in in_slices(decoded)]
        keys = click_keys(facts)
        # Read before the clicks are, for another aggregator may store clicks meanwhile.
        complete_until_ms = await self._clicks_complete_until_ms()
        clicks = await self._warehouse.read_click_rows(keys)
        waiting = first_waiting_position(facts, clicks, complete_until_ms)
        if waiting is not None:
            entries = [entry for entry in entries if entry.pos < waiting]
            if not entries:
                return after
            facts = [fact for fact in facts if fact[0].pos < waiting]
            undecodable = [reject for reject in undecodable if reject.pos < waiting]
        again = [fact for fact in facts if fact[0].marked]
        known = await read_already_stored(self._warehouse, facts, again, clicks)
        rows, repeated = await build_conversion_rows(facts, stream_number, known)
        await self._renew_lease(stream)
        await self._insert_rejects([*undecodable, *repeated])
        lines = [piece async for piece in in_slices(encode_rows(rows))]
        end_position = await self._warehouse.insert_conversions(
            lines, stream_number, entries[-1].pos, after
        )
        metrics.STORED.labels("conversions").inc(len(facts) - len(repeated))
        return end_position

    async def _clicks_complete_until_ms(self) -> int:
        """Returns the millisecond below which a missing click is never stored any more."""
        positions = await self._click_positions()
        return self._click_barrier.clicks_complete_until_ms(positions, self._now_ms)

    async def _click_positions(self) -> Mapping[int, int]:
        """Returns the stored positions of all click streams, whichever aggregator stores them."""
        if all(stream.number in self._positions for stream in self._clicks):
            return self._positions
        return await self._warehouse.stored_click_positions() | self._positions

    async def _insert_rejects(self, rejects: Sequence[Reject]) -> None:
        await self._warehouse.insert_rejects(rejects)
        for reject in rejects:
            metrics.REJECTED.labels(reject.reason).inc()

    async def _pull(self, stream: Stream, end_position: int) -> None:
        await self._pulls.pull(stream, end_position, self._now_ms)
        self._unpulled_lines[stream.number] = 0
