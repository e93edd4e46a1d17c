"""Tells from which ingest month on raw clicks are kept: those of earlier ones were deleted."""

import msgspec

from linkjolt.storage.clickhouse import ClickHouse

_KEPT = "SELECT max(month) AS month FROM raw_retention"


class _KeptMonth(msgspec.Struct, frozen=True):
    month: int


async def read_kept_month(clickhouse: ClickHouse) -> int:
    """Returns the first month (YYYYMM) of raw clicks; 0 where none was deleted."""
    return (await clickhouse.read(_KEPT, _KeptMonth))[0].month
