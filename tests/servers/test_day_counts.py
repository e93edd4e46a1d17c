"""Days counted on a server, which may execute a statement late and twice."""

import time

import msgspec

from aggregator.rollups.day_counts import UncountedDay, count_day, count_days
from aggregator.rollups.pull import catch_up
from aggregator.rows.rows import ClickRow
from aggregator.warehouse.migrate import migrate
from aggregator.warehouse.writer import Warehouse as Raw
from aggregator.warehouse.writer import encode_rows
from linkjolt.datasets import Dataset
from tests.servers.installation import Installation

TODAY = int(time.time()) // 86_400 * 86_400
YESTERDAY = TODAY - 86_400


class DayCounts(msgspec.Struct, frozen=True):
    clicks: int
    unique_clicks: int


async def test_a_count_that_is_executed_twice_counts_once(installation: Installation) -> None:
    client = installation.warehouse.client
    await migrate(client)
    counts = """SELECT sum(clicks) AS clicks, sum(unique_clicks) AS unique_clicks FROM rollup_day
        WHERE basis = 3 AND dimension = 'total'"""
    for batch in range(2):
        pos = (TODAY * 1000 + batch) << 20
        rows = [
            ClickRow(
                account=Dataset(1),
                time=YESTERDAY,
                click_id=f"{batch}-{number}",
                verdict="human",
                visitor=number + batch,
                pos=pos,
            )
            for number in range(1, 6)
        ]
        await Raw(client).insert_clicks(encode_rows(rows), 0, pos)
        await catch_up(client, "clicks", 0, pos)
        # By another aggregator, and once more when all is over.
        uncounted = UncountedDay(YESTERDAY, 5 * batch)
        for _ in range(2):
            await count_day(client, uncounted, attempt=0)
        await count_days(client, TODAY)
        await count_day(client, uncounted, attempt=0)
        assert await client.read(counts, DayCounts) == [DayCounts(5 + 5 * batch, 5 + batch)]
