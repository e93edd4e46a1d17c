"""Counts the unique clicks of past days, so that reports add numbers instead of merging states.

The counts of a day hold how many clicks they are based on. If the day has another number of clicks,
it is counted again, so that nothing has to be remembered. One aggregator at a time counts.
"""

from pathlib import Path
from string import Template

import msgspec
import structlog

from aggregator.warehouse.insert_tokens import InsertStart
from linkjolt.clicks.unique_visitors import HUMAN_VERDICTS_SQL, correct_estimate_sql
from linkjolt.dimensions import DENSE
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.months import month_at

_DAY_SECONDS = 86_400
_TABLE = "rollup_day"
# A repeat may be acknowledged although the first one is not there
# (`aggregator.warehouse.insert_tokens`).
_ATTEMPTS = 3
# A click has exactly one value of each, so that the row of a value has all of its visitors.
_DIMENSIONS = ", ".join(f"'{name}'" for name in ("total", "campaign", "affiliate", "link", *DENSE))
_PEOPLE = f"basis = 0 AND verdict IN {HUMAN_VERDICTS_SQL}"
_BY_DAY = f"""FROM {_TABLE}
    WHERE account != 0 AND dimension = 'total' AND ({_PEOPLE} OR basis = 3)
    GROUP BY account, time"""
_STORED_CLICKS, _COUNTED_CLICKS = "sumIf(clicks, basis = 0)", "sumIf(clicks, basis = 3)"
_UNCOUNTED = f"""SELECT toUnixTimestamp(time) AS starts_at, sum(counted) AS counted_clicks FROM (
    SELECT time, {_STORED_CLICKS} AS stored, {_COUNTED_CLICKS} AS counted {_BY_DAY}
)
WHERE time < toDateTime({{before:UInt32}}, 'UTC')
GROUP BY time HAVING max(stored != counted) ORDER BY starts_at"""
_OF_MONTH = f"SELECT DISTINCT time FROM {_TABLE} WHERE account != 0 AND month = {{month:UInt32}}"
# Below some thousand visitors counts are exact; two estimates of one set may differ a little.
_MISCOUNTED = f"""SELECT count() AS number FROM (
    SELECT sum(unique_clicks) AS counted, uniqCombined64Merge(16)(visitors) AS estimate
    FROM {_TABLE}
    WHERE account != 0 AND dimension IN ({_DIMENSIONS}) AND ({_PEOPLE} OR basis = 3)
        AND time IN ({_OF_MONTH})
        AND (account, time) IN (
            SELECT account, time {_BY_DAY} HAVING {_STORED_CLICKS} = {_COUNTED_CLICKS}
        )
    GROUP BY account, time, campaign, affiliate, link, dimension, value
) WHERE abs(toInt64({correct_estimate_sql("estimate")}) - counted)
    > if(counted > 2000, counted / 50, 0)
SETTINGS enable_shared_storage_snapshot_in_query = 1"""
_COUNT_DAYS = (Path(__file__).parent / "sql" / "count_day.sql").read_text(encoding="utf-8")
_COLUMNS = (
    "account, time, campaign, affiliate, link, verdict, currency, basis, month, dimension, value,"
    " clicks, visitors, unique_clicks"
)
# No event of a day is stored in an ingest month that ended a day before it (clocks differ).
_RECENT = f"(SELECT * FROM {_TABLE} WHERE month >= {{since_month:UInt32}})"
_DAY_START = "toDateTime({day:UInt32}, 'UTC')"
log = structlog.get_logger()


class UncountedDay(msgspec.Struct, frozen=True):
    """A day by its first UTC second, and the number of clicks that its counts are based on."""

    starts_at: int
    counted_clicks: int


class _MiscountedCells(msgspec.Struct, frozen=True):
    number: int


def _count_sql(table: str, cells: str, days: str) -> str:
    values = {
        "cells": cells,
        "days": days,
        "dimensions": _DIMENSIONS,
        "people": _PEOPLE,
        "unbiased": correct_estimate_sql("estimate"),
    }
    return f"INSERT INTO {table} ({_COLUMNS})\n{Template(_COUNT_DAYS).substitute(values)}"


async def count_days(clickhouse: ClickHouse, before_second: int) -> None:
    """Counts the uncounted days before a UTC second; repeating it changes nothing."""
    uncounted: list[UncountedDay] = []
    for attempt in range(_ATTEMPTS):
        uncounted = await clickhouse.read(_UNCOUNTED, UncountedDay, {"before": before_second})
        for day in uncounted:
            await count_day(clickhouse, day, attempt)
        if not uncounted:
            return
    log.warning("days not counted, retried too often", days=len(uncounted))


async def count_day(clickhouse: ClickHouse, uncounted: UncountedDay, attempt: int) -> None:
    """Counts one day; a server executes one INSERT from the same `counted_clicks`, however late.

    See `aggregator.warehouse.insert_tokens`.
    """
    month, day = month_at(uncounted.starts_at), uncounted.starts_at
    start = InsertStart(f"{_TABLE}/{day}", 0, uncounted.counted_clicks)
    token = start.token(attempt) if clickhouse.remote else ""
    parameters = {"day": day, "month": month, "since_month": month_at(day - _DAY_SECONDS)}
    await clickhouse.execute(_count_sql(_TABLE, _RECENT, _DAY_START), parameters, token)


async def count_miscounted_cells(clickhouse: ClickHouse, month: int) -> int:
    """Counts the cells whose unique clicks differ from the states, for days of an ingest month."""
    return (await clickhouse.read(_MISCOUNTED, _MiscountedCells, {"month": month}))[0].number


async def count_staging(clickhouse: ClickHouse, staging: str, month: int) -> None:
    """Counts days in the staging table of a month: those counted before that have clicks in it."""
    counted = f"SELECT time FROM {_TABLE} WHERE account != 0 AND dimension = 'total' AND basis = 3"
    days = f"SELECT DISTINCT time FROM {staging} WHERE account != 0 AND time IN ({counted})"
    others = f"SELECT * FROM {_TABLE} WHERE month != {{month:UInt32}}"
    cells = f"(SELECT * FROM {staging} UNION ALL {others})"
    await clickhouse.execute(_count_sql(staging, cells, days), {"month": month})
