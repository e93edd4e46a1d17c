"""Schedules the pulls of rollups: with every step, but days later, as reports read them later."""

import time
from collections.abc import Sequence

import msgspec

from aggregator.rollups.day_counts import count_days
from aggregator.rollups.pull import PulledRows, Watermarks, catch_up, read_watermark
from aggregator.rollups.statements import DAY_ROLLUPS, FRESH_ROLLUPS, ROLLUPS, Rollup
from linkjolt.redis_keys import Stream
from linkjolt.storage.clickhouse import ClickHouse

# A pull of days takes as long as all others together, however few rows there are.
_DAYS_EVERY_MS = 30_000
_NO_EVENT = 1 << 62
# Far behind, large pulls make fewer cells of as many rows. But a pull that makes a cell of nearly
# every row takes memory by the row: it also takes long, so that the next ones are smaller.
_BATCHES_FIRST, _BATCHES_MAX = 2, 8
_PULL_SECONDS = 3.0
_DAY_SECONDS = 86_400
# Late enough for clicks that are a little late, and well before a report reads the counts.
_COUNTED_AFTER_SECONDS = 600


class DayLag(msgspec.Struct, frozen=True):
    """The last pull of a stream's days, and the UTC second of the earliest event since."""

    pulled_ms: int = 0
    earliest_event_at: int = _NO_EVENT

    def is_due(self, now_ms: int) -> bool:
        """Returns True if days have to be pulled: after a while, or if a past day got an event."""
        today = _midnight(now_ms // 1000)
        return now_ms - self.pulled_ms >= _DAYS_EVERY_MS or self.earliest_event_at < today


class RollupPulls:
    """One aggregator's pulls of rollups; all that it remembers may be forgotten at any time.

    `pull_rows`: how many raw rows to pull at once while more wait, at least `batch_rows`.
    """

    def __init__(self, clickhouse: ClickHouse, batch_rows: int) -> None:
        self.pull_rows = _BATCHES_FIRST * batch_rows
        self._clickhouse = clickhouse
        self._batch_rows = batch_rows
        self._watermarks: Watermarks = {}
        self._lags: dict[int, DayLag] = {}

    def forget(self, stream: Stream) -> None:
        """Forgets a stream that another aggregator may have pulled meanwhile."""
        self._lags.pop(stream.number, None)
        for key in [key for key in self._watermarks if key[1] == stream.number]:
            del self._watermarks[key]

    async def lacks_stream(self, stream: Stream) -> bool:
        """Returns True if some rollup holds nothing of the stream."""
        for rollup in ROLLUPS:
            position = await read_watermark(self._clickhouse, rollup.table, stream.number)
            self._watermarks[rollup.table, stream.number] = position
        return any(self._watermarks[rollup.table, stream.number] == 0 for rollup in ROLLUPS)

    async def pull(self, stream: Stream, end_position: int, now_ms: int) -> None:
        """Pulls rollups up to `end_position`; days maybe later: see `reports.query.days`."""
        # Removed while the outcome of a pull is unknown.
        lag = self._lags.pop(stream.number, DayLag())
        started_at = time.monotonic()
        pulled = await self._catch_up(stream, end_position, FRESH_ROLLUPS)
        if pulled:
            lag = DayLag(lag.pulled_ms, min(lag.earliest_event_at, pulled.earliest_event_at))
            seconds = time.monotonic() - started_at
            self.pull_rows = next_pull_rows(self.pull_rows, pulled.rows, seconds, self._batch_rows)
        # A conversion may belong to the past day of its click.
        if stream.kind == "conversions" or lag.is_due(now_ms):
            await self._catch_up(stream, end_position, DAY_ROLLUPS)
            if stream.kind == "clicks" and self._counts_days(stream):
                days_end_at = _midnight(now_ms // 1000 - _COUNTED_AFTER_SECONDS)
                await count_days(self._clickhouse, days_end_at)
            lag = DayLag(now_ms)
        self._lags[stream.number] = lag

    async def _catch_up(
        self, stream: Stream, end_position: int, rollups: Sequence[Rollup]
    ) -> PulledRows | None:
        return await catch_up(
            self._clickhouse,
            stream.kind,
            stream.number,
            end_position,
            self._watermarks,
            self.pull_rows,
            rollups,
        )

    def _counts_days(self, stream: Stream) -> bool:
        """Returns True for the aggregator that has the first stream: it alone counts days."""
        return not self._clickhouse.remote or stream.shard == 0


def next_pull_rows(rows: int, pulled: int, seconds: float, batch_rows: int) -> int:
    """Returns the rows to pull at once, given that a pull of `pulled` rows took `seconds`.

    `rows` is the number before.
    """
    if pulled < batch_rows:
        # Its duration shows the cost of a pull rather than that of a row.
        return rows
    rows_in_time = int(pulled * _PULL_SECONDS / seconds)
    return max(batch_rows, min(_BATCHES_MAX * batch_rows, rows_in_time))


def _midnight(second: int) -> int:
    return second // _DAY_SECONDS * _DAY_SECONDS
