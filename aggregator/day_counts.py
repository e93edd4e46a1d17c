"""Unique clicks of days that are over, as numbers: to add them up spares a report the states.

A pull that brings a click of a counted day counts the day again, in the same INSERT.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import groupby

import msgspec

from aggregator.rollup_sql import COUNTED, COUNTED_DIMENSIONS, count_cells, states_of
from linkjolt.clickhouse import ClickHouse
from linkjolt.visitors import unbiased_sql

_DAY_SECONDS = 86_400
_TABLE = "rollup_day"
_PEOPLE = "account != 0 AND dimension = 'total' AND basis = 0 AND verdict IN ('human', 'duplicate')"
_UNCOUNTED = f"""SELECT DISTINCT toUnixTimestamp(time) AS day FROM (
    SELECT account, time FROM {_TABLE}
    WHERE ({_PEOPLE} OR {COUNTED}) AND time < toDateTime({{before:UInt32}}, 'UTC')
    GROUP BY account, time HAVING max(basis) = 0
) ORDER BY day"""
_OF_MONTH = f"SELECT DISTINCT time FROM {_TABLE} WHERE account != 0 AND month = {{month:UInt32}}"
# The greatest of several estimates may be a little more than that of all.
_MISCOUNTED = f"""SELECT count() AS cells FROM (
    SELECT max(unique_clicks) AS told, uniqCombined64Merge(16)(visitors) AS estimate FROM {_TABLE}
    WHERE account != 0 AND dimension IN ({COUNTED_DIMENSIONS})
        AND (basis = 3 OR basis = 0 AND verdict IN ('human', 'duplicate'))
        AND time IN (SELECT time FROM {_TABLE} WHERE {COUNTED} AND time IN ({_OF_MONTH}))
    GROUP BY account, time, campaign, affiliate, link, dimension, value
) WHERE abs(toInt64({unbiased_sql("estimate")}) - toInt64(told)) > if(told > 2000, told / 50, 0)
SETTINGS enable_shared_storage_snapshot_in_query = 1"""
_COLUMNS = (
    "account, time, campaign, affiliate, link, verdict, currency, basis, month, dimension, value,"
    " clicks, visitors, conversions, pending, approved, rejected, revenue_minor, commission_minor,"
    " pos, unique_clicks"
)
_DAYS = "SELECT toDateTime(arrayJoin({days:Array(UInt32)}), 'UTC')"
# Nothing is stored in an ingest month that ended a day before (clocks differ).
_STATES = f"{states_of(_TABLE, _DAYS)} AND month >= {{since_month:UInt32}}"


class _Day(msgspec.Struct, frozen=True):
    day: int


class _Cells(msgspec.Struct, frozen=True):
    cells: int


async def uncounted(clickhouse: ClickHouse, before: int) -> list[int]:
    """Days before a UTC second that have clicks of people and are not counted, as UTC seconds."""
    return [row.day for row in await clickhouse.read(_UNCOUNTED, _Day, {"before": before})]


async def count_days(clickhouse: ClickHouse, days: Iterable[int]) -> None:
    """Counts days (UTC seconds), a month in one INSERT; to do it again changes nothing."""
    for month, some in groupby(sorted(days), _month):
        chosen = [*some]
        since = _month(chosen[0] - _DAY_SECONDS)
        parameters = {"days": chosen, "month": month, "since_month": since}
        await clickhouse.execute(_insert(_TABLE, _STATES), parameters)


async def miscounted(clickhouse: ClickHouse, month: int) -> int:
    """How many numbers of days with events of an ingest month are not what the states say."""
    return (await clickhouse.read(_MISCOUNTED, _Cells, {"month": month}))[0].cells


async def count_staging(clickhouse: ClickHouse, staging: str, month: int) -> None:
    """What is counted and has clicks in the staging table of a month is counted in it, too."""
    counted = f"SELECT time FROM {_TABLE} WHERE {COUNTED}"
    days = f"SELECT DISTINCT time FROM {staging} WHERE account != 0 AND time IN ({counted})"
    others = f"{states_of(_TABLE, days)} AND month != {{month:UInt32}}"
    states = f"{states_of(staging, days)} UNION ALL {others}"
    await clickhouse.execute(_insert(staging, states), {"month": month})


def _insert(table: str, states: str) -> str:
    columns = _COLUMNS.replace(" time,", " bucket,").replace(" pos,", " watermark,")
    return f"INSERT INTO {table} ({_COLUMNS}) SELECT {columns} FROM ({count_cells(states)})"


def _month(day: int) -> int:
    date = datetime.fromtimestamp(day, UTC)
    return date.year * 100 + date.month
