"""A day is counted once, however late and how often a server executes the statement."""

import time

import msgspec

from aggregator.rollups.day_counts import UncountedDay, count_day, count_days
from aggregator.rollups.pull import catch_up
from aggregator.rows.rows import ClickRow
from aggregator.warehouse.migrate import migrate
from aggregator.warehouse.writer import Warehouse as Raw
from aggregator.warehouse.writer import encode_rows
from linkjolt.datasets import Dataset
from linkjolt.storage.clickhouse import ClickHouse, Parameters
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


class ConcurrentClickHouse(ClickHouse):
    """Executes counts as if they had read the day rollup when `snapshot` was called."""

    def __init__(self, engine: ClickHouse) -> None:
        self.remote, self.read, self.close = engine.remote, engine.read, engine.close
        self._engine = engine

    async def snapshot(self) -> None:
        await self._engine.execute("CREATE OR REPLACE TABLE seen AS rollup_day")
        await self._engine.execute("INSERT INTO seen SELECT * FROM rollup_day")

    async def execute(
        self, sql: str, parameters: Parameters | None = None, token: str = ""
    ) -> None:
        assert sql.count("FROM rollup_day") == 1
        seen = sql.replace("FROM rollup_day", "FROM seen")
        await self._engine.execute(seen, parameters, token)


async def test_two_counts_that_are_executed_at_the_same_time_count_once(
    warehouse: Warehouse,
) -> None:
    """Neither sees the counts of the other, so that only the token keeps them apart."""
    client = warehouse.client
    await migrate(client)
    concurrent = ConcurrentClickHouse(client)
    for batch in range(2):
        await store_clicks(client, batch, range(1 + batch, 6 + batch))
        uncounted = UncountedDay(YESTERDAY, 5 * batch)
        await concurrent.snapshot()
        for _ in range(2):
            await count_day(concurrent, uncounted, attempt=0)
        assert await client.read(COUNTS, DayCounts) == [DayCounts(5 + 5 * batch, 5 + batch)]
