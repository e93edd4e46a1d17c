"""Deletes raw clicks of whole ingest months, once every rollup holds them.

The month from which clicks are kept is written first: from then on nobody compares, rebuilds or
counts what is older, so that a deletion may end at any point and go on in the next step.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from string import Template

import msgspec
import structlog
from redis.asyncio import Redis

from aggregator import metrics
from aggregator.rollups.pull import NumberRow, count_unequal_cells
from aggregator.rollups.statements import ROLLUPS
from linkjolt.fault_points import fault
from linkjolt.registry.keyring import longest_window_ms
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_at, month_start
from linkjolt.storage.raw_retention import read_kept_month

_FOLDER = Path(__file__).parent
_UNPULLED = Template((_FOLDER / "sql" / "unpulled.sql").read_text(encoding="utf-8"))
# The rollups that are kept for good.
_LASTING = [rollup.table for rollup in ROLLUPS if rollup.table != "rollup_minute"]
_MONTHS = (_FOLDER / "sql" / "months.sql").read_text(encoding="utf-8")
# Markers stay: they say up to where a stream is stored, also of one that is idle for long.
_DELETE = "ALTER TABLE clicks DELETE IN PARTITION {} WHERE account != 0 SETTINGS mutations_sync = 2"
_DELETE_REJECTS = """ALTER TABLE rejects DELETE
WHERE s % 2 = 0 AND pos < {end_position:UInt64} SETTINGS mutations_sync = 2"""
_PausedAggregator = Callable[[], AbstractAsyncContextManager[None]]
log = structlog.get_logger()


def first_month(now: datetime, months: int, window_ms: int) -> int:
    """Returns the first month to keep: `months` whole ones before this one, and the windows.

    A click that may still earn is kept for its conversion.
    """
    months_since_0 = now.year * 12 + now.month - 1 - months
    kept = months_since_0 // 12 * 100 + months_since_0 % 12 + 1
    return min(kept, month_at(int(now.timestamp()) - window_ms // 1000))


class ClickRetention:
    """Keeps raw clicks for `months` whole months; `paused` keeps the aggregator from stepping."""

    def __init__(
        self,
        redis: Redis,
        clickhouse: ClickHouse,
        months: int,
        paused: _PausedAggregator,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._redis = redis
        self._clickhouse = clickhouse
        self._months = months
        self._paused = paused
        self._now = now

    async def step(self) -> None:
        """Deletes what is past its retention. Raises ClickHouseFailed or RedisError."""
        kept = await read_kept_month(self._clickhouse)
        target = first_month(self._now(), self._months, await longest_window_ms(self._redis))
        months = [month for month in await self._find_months(target) if month >= kept]
        if months:
            if not await self._is_in_rollups(months, target):
                metrics.RETENTION_BLOCKED.set(1)
                return
            # A repair that has begun reads these months to its end.
            async with self._paused():
                line = msgspec.json.encode({"month": target})
                await self._clickhouse.insert("raw_retention", ["month"], line)
            kept = target
        metrics.RETENTION_BLOCKED.set(0)
        fault("retention_before_delete")
        if kept:
            await self._delete(kept)

    async def _find_months(self, end: int) -> list[int]:
        """Finds the months before `end` that have clicks."""
        parameters = {"end_position": month_start(end)}
        return [row.number for row in await self._clickhouse.read(_MONTHS, NumberRow, parameters)]

    async def _is_in_rollups(self, months: Sequence[int], end: int) -> bool:
        """Returns whether every rollup holds the clicks that are to be deleted."""
        for table in _LASTING:
            sql, parameters = _UNPULLED.substitute(rollup=table), {"end_position": month_start(end)}
            if (await self._clickhouse.read(sql, NumberRow, parameters))[0].number:
                log.warning("raw clicks kept, a rollup has not pulled them", rollup=table)
                return False
            for month in months:
                if await count_unequal_cells(self._clickhouse, "clicks", table, month, since=0):
                    log.error("raw clicks kept, a rollup differs", rollup=table, month=month)
                    return False
        return True

    async def _delete(self, end: int) -> None:
        months = await self._find_months(end)
        for month in months:
            await self._clickhouse.execute(_DELETE.format(month))
            fault("retention_after_month")
            log.info("raw clicks deleted", month=month)
            metrics.RETENTION_MONTHS.inc()
        if months:
            await self._clickhouse.execute(_DELETE_REJECTS, {"end_position": month_start(end)})
