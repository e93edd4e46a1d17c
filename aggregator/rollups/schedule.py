"""When rollups are pulled: with every step, but for days, which no report reads so soon."""

import time

import msgspec

from aggregator.rollups.day_counts import count_days
from aggregator.rollups.pull import Watermarks, catch_up, watermark
from aggregator.rollups.statements import DAYS, FRESH, ROLLUPS
from linkjolt.redis_keys import Stream
from linkjolt.storage.clickhouse import ClickHouse

# A pull of days takes as long as all others together, however little there is to pull.
_DAYS_EVERY_MS = 30_000
_NONE = 1 << 62
# Far behind, large pulls make fewer cells of as many rows. But what makes a cell of nearly every
# row takes memory by the row: it also takes long, and is pulled in smaller pieces.
_BATCHES_FIRST, _BATCHES_MAX = 2, 8
_PULL_SECONDS = 3.0
_DAY_SECONDS = 86_400
# A day is counted when what is late by little is stored, and well before a report asks for it.
_COUNTED_AFTER_SECONDS = 600


class Lag(msgspec.Struct, frozen=True):
    """When the days of a stream were pulled, and the UTC second of the earliest event since."""

    pulled_ms: int = 0
    earliest: int = _NONE

    def is_over(self, now_ms: int) -> bool:
        """Whether days have to be pulled: a while has gone by, or one that is over got an event."""
        today = _midnight(now_ms // 1000)
        return now_ms - self.pulled_ms >= _DAYS_EVERY_MS or self.earliest < today


class Pulls:
    """What is remembered of one's own pulls; all of it may be forgotten any time.

    `rows`: how many raw rows are to be pulled at once while more wait, at least `batch_rows`.
    """

    def __init__(self, clickhouse: ClickHouse, batch_rows: int) -> None:
        self.rows = _BATCHES_FIRST * batch_rows
        self._clickhouse = clickhouse
        self._batch_rows = batch_rows
        self._watermarks: Watermarks = {}
        self._lags: dict[int, Lag] = {}

    def forget(self, stream: Stream) -> None:
        """Another may have pulled the stream since."""
        self._lags.pop(stream.number, None)
        for key in [key for key in self._watermarks if key[1] == stream.number]:
            del self._watermarks[key]

    async def begins(self, stream: Stream) -> bool:
        """Whether a rollup holds nothing of the stream."""
        for rollup in ROLLUPS:
            at = await watermark(self._clickhouse, rollup.table, stream.number)
            self._watermarks[rollup.table, stream.number] = at
        return any(self._watermarks[rollup.table, stream.number] == 0 for rollup in ROLLUPS)

    async def follow(self, stream: Stream, upto: int, now_ms: int) -> None:
        """Rollups of the stream reach `upto`, or its day rollup later: see `reports.query.days`."""
        kind, s, marks = stream.kind, stream.number, self._watermarks
        # Gone while a pull is in doubt.
        lag = self._lags.pop(s, Lag())
        began = time.monotonic()
        pulled = await catch_up(self._clickhouse, kind, s, upto, marks, self.rows, FRESH)
        if pulled:
            lag = Lag(lag.pulled_ms, min(lag.earliest, pulled.earliest))
            seconds = time.monotonic() - began
            self.rows = next_rows(self.rows, pulled.rows, seconds, self._batch_rows)
        # A conversion may count on the day of its click.
        if kind == "conversions" or lag.is_over(now_ms):
            await catch_up(self._clickhouse, kind, s, upto, marks, self.rows, DAYS)
            if kind == "clicks" and self._counts(stream):
                over = _midnight(now_ms // 1000 - _COUNTED_AFTER_SECONDS)
                await count_days(self._clickhouse, over)
            lag = Lag(now_ms)
        self._lags[s] = lag

    def _counts(self, stream: Stream) -> bool:
        """Of several aggregators one counts: whoever has the first stream."""
        return not self._clickhouse.remote or stream.shard == 0


def next_rows(rows: int, pulled: int, seconds: float, batch_rows: int) -> int:
    """How many rows to pull at once after a pull of `pulled` took so long, where it were `rows`."""
    if pulled < batch_rows:
        # It tells more of what a pull costs than of what a row does.
        return rows
    wanted = int(pulled * _PULL_SECONDS / seconds)
    return max(batch_rows, min(_BATCHES_MAX * batch_rows, wanted))


def _midnight(second: int) -> int:
    return second // _DAY_SECONDS * _DAY_SECONDS
