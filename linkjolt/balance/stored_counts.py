"""Counts the events in the warehouse, by stream and hour of stream time."""

import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from linkjolt.storage.clickhouse import ClickHouse

HOUR_MS = 3_600_000
# Events older than the newest by this much are counted once and cached for a while.
_SETTLED_MS = 2 * HOUR_MS
_CACHE_SECONDS = 1_800.0
_STORED = """
SELECT s AS stream_number, toUInt32(intDiv(bitShiftRight(pos, 20), 3600000)) AS hour,
    count() AS events
FROM {table}
WHERE pos > transform(s, {{streams:Array(UInt16)}}, {{begins:Array(UInt64)}}, toUInt64(0))
    AND pos <= transform(s, {{streams:Array(UInt16)}}, {{ends:Array(UInt64)}}, toUInt64(0))
    AND pos > {{least:UInt64}}
    AND {counted}
GROUP BY s, hour
"""
_TABLES: dict[str, str] = {
    "clicks": _STORED.format(table="clicks", counted="account != 0"),
    # An adjustment that moves a conversion has a second row, which subtracts it.
    "conversions": _STORED.format(
        table="conversions", counted="account != 0 AND kind != 'detached'"
    ),
    "rejects": _STORED.format(table="rejects FINAL", counted="1"),
}
HourCounts = Counter[int]
CountsByTable = dict[str, dict[int, HourCounts]]


class _HourCountRow(msgspec.Struct, frozen=True):
    stream_number: int
    hour: int
    events: int


class StoredCounts:
    """Counts raw rows and rejects; a second read counts only newer ones."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._settled: CountsByTable = {}
        self._settled_ends: dict[int, int] = {}
        self._reset_at = time.monotonic() + _CACHE_SECONDS

    async def read(self, clickhouse: ClickHouse, ends: Mapping[int, int]) -> CountsByTable:
        """Returns counts by table, stream number and hour, up to each stream's end position."""
        if time.monotonic() > self._reset_at:
            self._reset()
        begins = {
            number: min(self._settled_ends.get(number, 0), end) for number, end in ends.items()
        }
        settled = {
            number: max(begins[number], end - (_SETTLED_MS << 20), 0)
            for number, end in ends.items()
        }
        if any(settled[number] > begins[number] for number in ends):
            newly_settled = await _count_between(clickhouse, begins, settled)
            self._settled = _add(self._settled, newly_settled)
            self._settled_ends = dict(settled)
        return _add(self._settled, await _count_between(clickhouse, settled, ends))


async def _count_between(
    clickhouse: ClickHouse, begins: Mapping[int, int], ends: Mapping[int, int]
) -> CountsByTable:
    parameters = {
        "streams": [*ends],
        "begins": [begins[number] for number in ends],
        "ends": [*ends.values()],
        # The index of positions is over all streams: it skips rows below the lowest one.
        "least": min(begins.values(), default=0),
    }
    tables: CountsByTable = {}
    for table, sql in _TABLES.items():
        counts = tables[table] = {}
        for row in await clickhouse.read(sql, _HourCountRow, parameters):
            counts.setdefault(row.stream_number, Counter())[row.hour] += row.events
    return tables


def _add(first: CountsByTable, second: CountsByTable) -> CountsByTable:
    """Adds two counts; changes neither."""
    tables: CountsByTable = {}
    for table in _TABLES:
        ours, theirs = first.get(table, {}), second.get(table, {})
        tables[table] = {
            number: ours.get(number, Counter()) + theirs.get(number, Counter())
            for number in {*ours, *theirs}
        }
    return tables
