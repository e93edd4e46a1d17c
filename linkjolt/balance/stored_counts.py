"""How many events the warehouse holds, by stream and hour of stream time."""

import time
from collections import Counter
from collections.abc import Mapping

import msgspec

from linkjolt.storage.clickhouse import ClickHouse

HOUR_MS = 3_600_000
# What is this much older than the newest event is counted once and remembered for a while.
_SETTLED_MS = 2 * HOUR_MS
_REMEMBERED_SECONDS = 1_800.0
_STORED = """
SELECT s, toUInt32(intDiv(bitShiftRight(pos, 20), 3600000)) AS hour, count() AS events
FROM {table}
WHERE pos > transform(s, {{streams:Array(UInt16)}}, {{begins:Array(UInt64)}}, toUInt64(0))
    AND pos <= transform(s, {{streams:Array(UInt16)}}, {{ends:Array(UInt64)}}, toUInt64(0))
    AND pos > {{least:UInt64}}
    AND {counted}
GROUP BY s, hour
"""
_TABLES: dict[str, str] = {
    "clicks": _STORED.format(table="clicks", counted="account != 0"),
    # An adjustment that moves a conversion has a second row, which takes it away.
    "conversions": _STORED.format(
        table="conversions", counted="account != 0 AND kind != 'detached'"
    ),
    "rejects": _STORED.format(table="rejects FINAL", counted="1"),
}
Hours = Counter[int]
Tables = dict[str, dict[int, Hours]]


class _Counted(msgspec.Struct, frozen=True):
    s: int
    hour: int
    events: int


class StoredCounts:
    """Counts raw rows and rejects; a second reading counts only what came since."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._settled: Tables = {}
        self._upto: dict[int, int] = {}
        self._forget_at = time.monotonic() + _REMEMBERED_SECONDS

    async def read(self, clickhouse: ClickHouse, ends: Mapping[int, int]) -> Tables:
        """Hours by table and stream number, of positions at or below each stream's end."""
        if time.monotonic() > self._forget_at:
            self._forget()
        begins = {s: min(self._upto.get(s, 0), end) for s, end in ends.items()}
        settled = {s: max(begins[s], end - (_SETTLED_MS << 20), 0) for s, end in ends.items()}
        if any(settled[s] > begins[s] for s in ends):
            older = await _count(clickhouse, begins, settled)
            self._settled = _sum(self._settled, older)
            self._upto = dict(settled)
        return _sum(self._settled, await _count(clickhouse, settled, ends))


async def _count(
    clickhouse: ClickHouse, begins: Mapping[int, int], ends: Mapping[int, int]
) -> Tables:
    parameters = {
        "streams": [*ends],
        "begins": [begins[s] for s in ends],
        "ends": [*ends.values()],
        # The index of positions knows no streams: it skips what is below all of them.
        "least": min(begins.values(), default=0),
    }
    tables: Tables = {}
    for table, sql in _TABLES.items():
        counts = tables[table] = {}
        for row in await clickhouse.read(sql, _Counted, parameters):
            counts.setdefault(row.s, Counter())[row.hour] += row.events
    return tables


def _sum(first: Tables, second: Tables) -> Tables:
    """Both, added up; neither is changed."""
    tables: Tables = {}
    for table in _TABLES:
        ours, theirs = first.get(table, {}), second.get(table, {})
        tables[table] = {
            s: ours.get(s, Counter()) + theirs.get(s, Counter()) for s in {*ours, *theirs}
        }
    return tables
