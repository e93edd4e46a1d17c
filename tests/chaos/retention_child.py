"""Runs a step of the retention as a process of its own, which a fault point may kill.

`python -m tests.chaos.retention_child CLICKHOUSE_DIR REDIS_URL` fills an empty warehouse with
events of three months, deletes the clicks of two, and prints a `LeftClicks` as JSON.
"""

import asyncio
import sys
from contextlib import nullcontext
from datetime import UTC, datetime

import msgspec

from aggregator.maintenance.audit import find_differences
from aggregator.retention.clicks import ClickRetention
from aggregator.warehouse.migrate import migrate
from linkjolt.storage import clickhouse
from linkjolt.storage.redis import connect
from tests.aggregator.maintenance.test_repair import store
from tests.aggregator.rollups.sample import make_sample

_START, _END = datetime(2026, 9, 28, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC)
_NOW = datetime(2026, 12, 5, tzinfo=UTC)
_MONTH = "toYYYYMM(fromUnixTimestamp64Milli(toInt64(bitShiftRight(clicks.pos, 20)), 'UTC'))"


class LeftClicks(msgspec.Struct, frozen=True):
    """The months that have raw clicks, the sum of clicks in a rollup, and whether both agree."""

    months: list[int]
    summed: int
    agrees: bool


class _Number(msgspec.Struct, frozen=True):
    number: int


async def _main(path: str, redis_url: str) -> LeftClicks:
    redis = connect(redis_url)
    engine = clickhouse.embedded(path, clients=1)
    if "001_clicks" in await migrate(engine):
        await store(engine, make_sample(31, _START, _END, clicks=400, conversions=40))
    await ClickRetention(redis, engine, 1, nullcontext, lambda: _NOW).step()
    months = f"SELECT DISTINCT {_MONTH} AS number FROM clicks WHERE account != 0 ORDER BY number"
    summed = "SELECT toInt64(sum(clicks)) AS number FROM rollup_quarter WHERE account != 0"
    left = LeftClicks(
        [row.number for row in await engine.read(months, _Number)],
        (await engine.read(summed, _Number))[0].number,
        await find_differences(engine) == [],
    )
    await engine.close()
    await redis.aclose()
    return left


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(_main(sys.argv[1], sys.argv[2]))).decode())
