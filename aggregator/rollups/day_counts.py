"""Unique clicks of days that are over, as numbers: to add them up spares a report the states.

A day's numbers say of how many clicks they tell. Where that is not how many the day has, it is
counted anew, so that nothing has to be remembered. One aggregator at a time counts.
"""

from pathlib import Path
from string import Template

import msgspec
import structlog

from aggregator.warehouse.insert_tokens import Start
from aggregator.warehouse.months import month_at
from linkjolt.clicks.unique_visitors import PEOPLE, unbiased_sql
from linkjolt.dimensions import DENSE
from linkjolt.storage.clickhouse import ClickHouse

_DAY_SECONDS = 86_400
_TABLE = "rollup_day"
# An answer to a repeat may stand for a first that is not there
# (`aggregator.warehouse.insert_tokens`).
_ATTEMPTS = 3
# A click has one value of each, so that a row of one has all of its visitors.
_DIMENSIONS = ", ".join(f"'{name}'" for name in ("total", "campaign", "affiliate", "link", *DENSE))
_PEOPLE = f"basis = 0 AND verdict IN {PEOPLE}"
_BY_DAY = f"""FROM {_TABLE}
    WHERE account != 0 AND dimension = 'total' AND ({_PEOPLE} OR basis = 3)
    GROUP BY account, time"""
_HAD, _TOLD = "sumIf(clicks, basis = 0)", "sumIf(clicks, basis = 3)"
_UNCOUNTED = f"""SELECT toUnixTimestamp(time) AS day, sum(told) AS counted FROM (
    SELECT time, {_HAD} AS had, {_TOLD} AS told {_BY_DAY}
)
WHERE time < toDateTime({{before:UInt32}}, 'UTC')
GROUP BY time HAVING max(had != told) ORDER BY day"""
_OF_MONTH = f"SELECT DISTINCT time FROM {_TABLE} WHERE account != 0 AND month = {{month:UInt32}}"
# Below some thousand visitors numbers are exact; two estimates of the same may differ a little.
_MISCOUNTED = f"""SELECT count() AS cells FROM (
    SELECT sum(unique_clicks) AS told, uniqCombined64Merge(16)(visitors) AS estimate
    FROM {_TABLE}
    WHERE account != 0 AND dimension IN ({_DIMENSIONS}) AND ({_PEOPLE} OR basis = 3)
        AND time IN ({_OF_MONTH})
        AND (account, time) IN (
            SELECT account, time {_BY_DAY} HAVING {_HAD} = {_TOLD}
        )
    GROUP BY account, time, campaign, affiliate, link, dimension, value
) WHERE abs(toInt64({unbiased_sql("estimate")}) - told) > if(told > 2000, told / 50, 0)
SETTINGS enable_shared_storage_snapshot_in_query = 1"""
_CELLS = (Path(__file__).parent / "sql" / "count_cells.sql").read_text(encoding="utf-8")
_COLUMNS = (
    "account, time, campaign, affiliate, link, verdict, currency, basis, month, dimension, value,"
    " clicks, visitors, unique_clicks"
)
# Nothing is stored in an ingest month that ended a day before (clocks differ).
_RECENT = f"(SELECT * FROM {_TABLE} WHERE month >= {{since_month:UInt32}})"
_DAY = "toDateTime({day:UInt32}, 'UTC')"
log = structlog.get_logger()


class Day(msgspec.Struct, frozen=True):
    """A day, as the UTC second at which it begins, and of how many clicks its numbers tell."""

    day: int
    counted: int


class _Cells(msgspec.Struct, frozen=True):
    cells: int


def _insert(table: str, cells: str, days: str) -> str:
    values = {
        "cells": cells,
        "days": days,
        "dimensions": _DIMENSIONS,
        "people": _PEOPLE,
        "unbiased": unbiased_sql("estimate"),
    }
    return f"INSERT INTO {table} ({_COLUMNS})\n{Template(_CELLS).substitute(values)}"


async def count_days(clickhouse: ClickHouse, before: int) -> None:
    """Counts the days before a UTC second that are not; to do it again changes nothing."""
    uncounted: list[Day] = []
    for attempt in range(_ATTEMPTS):
        uncounted = await clickhouse.read(_UNCOUNTED, Day, {"before": before})
        for day in uncounted:
            await count_day(clickhouse, day, attempt)
        if not uncounted:
            return
    log.warning("days had to be counted again and again", days=len(uncounted))


async def count_day(clickhouse: ClickHouse, found: Day, attempt: int) -> None:
    """A server executes it once from where it starts, however late.

    See `aggregator.warehouse.insert_tokens`.
    """
    month, day = month_at(found.day), found.day
    start = Start(f"{_TABLE}/{day}", 0, found.counted)
    token = start.token(attempt) if clickhouse.remote else ""
    parameters = {"day": day, "month": month, "since_month": month_at(day - _DAY_SECONDS)}
    await clickhouse.execute(_insert(_TABLE, _RECENT, _DAY), parameters, token)


async def miscounted(clickhouse: ClickHouse, month: int) -> int:
    """How many numbers of days with events of an ingest month are not what the states say."""
    return (await clickhouse.read(_MISCOUNTED, _Cells, {"month": month}))[0].cells


async def count_staging(clickhouse: ClickHouse, staging: str, month: int) -> None:
    """What is counted and has clicks in the staging table of a month is counted in it, too."""
    counted = f"SELECT time FROM {_TABLE} WHERE account != 0 AND dimension = 'total' AND basis = 3"
    days = f"SELECT DISTINCT time FROM {staging} WHERE account != 0 AND time IN ({counted})"
    others = f"SELECT * FROM {_TABLE} WHERE month != {{month:UInt32}}"
    cells = f"(SELECT * FROM {staging} UNION ALL {others})"
    await clickhouse.execute(_insert(staging, cells, days), {"month": month})
