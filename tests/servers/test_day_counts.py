"""A day is counted once, however late and how often a server executes the statement."""

import asyncio
import time

import msgspec

from aggregator.rollups.day_counts import UncountedDay, count_day, count_days
from aggregator.rollups.pull import catch_up
from aggregator.rows.rows import ClickRow
from aggregator.warehouse.migrate import migrate
from aggregator.warehouse.writer import Warehouse as Raw
from aggregator.warehouse.writer import encode_rows
from linkjolt.datasets import Dataset
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from tests.servers.installation import Warehouse

TODAY = int(time.time()) // 86_400 * 86_400
YESTERDAY = TODAY - 86_400
COUNTS = """SELECT sum(clicks) AS clicks, sum(unique_clicks) AS unique_clicks FROM rollup_day
    WHERE basis = 3 AND dimension = 'total'"""


class DayCounts(msgspec.Struct, frozen=True):
    clicks: int
    unique_clicks: int


async def store_clicks(client: ClickHouse, batch: int, visitors: range) -> None:
    """Stores yesterday's clicks of a batch, one of each visitor, and pulls the rollups."""
    pos = (TODAY * 1000 + batch) << 20
    rows = [
        ClickRow(
            account=Dataset(1),
            link=visitor,
            time=YESTERDAY,
            click_id=f"{batch}-{visitor}",
            verdict="human",
            visitor=visitor,
            pos=pos,
        )
        for visitor in visitors
    ]
    await Raw(client).insert_clicks(encode_rows(rows), 0, pos)
    await catch_up(client, "clicks", 0, pos)


async def test_a_count_that_is_executed_twice_counts_once(warehouse: Warehouse) -> None:
    client = warehouse.client
    await migrate(client)
    for batch in range(2):
        await store_clicks(client, batch, range(1 + batch, 6 + batch))
        # By another aggregator, and once more when the day is counted.
        uncounted = UncountedDay(YESTERDAY, 5 * batch)
        for _ in range(2):
            await count_day(client, uncounted, attempt=0)
        await count_days(client, TODAY)
        await count_day(client, uncounted, attempt=0)
        assert await client.read(COUNTS, DayCounts) == [DayCounts(5 + 5 * batch, 5 + batch)]


async def test_counts_of_one_day_that_are_executed_at_once_count_once(warehouse: Warehouse) -> None:
    """Each of them may read the day before another has inserted its counts."""
    at_once, links = 4, 1_000
    await migrate(warehouse.client)
    client = clickhouse.server(warehouse.url(), clients=at_once)
    for batch in range(3):
        await store_clicks(client, batch, range(1, 1 + links))
        uncounted = UncountedDay(YESTERDAY, links * batch)
        await asyncio.gather(*(count_day(client, uncounted, attempt=0) for _ in range(at_once)))
        counted = await client.read(COUNTS, DayCounts)
        assert counted == [DayCounts(links * (batch + 1), links)]
    await client.close()
