"""Runs an aggregator as a process of its own, which a fault point may kill.

`python -m tests.chaos.aggregator_child CLICKHOUSE_DIR REDIS_URL` stores and trims until nothing
waits, and prints a `Left` as JSON.
"""

import asyncio
import sys

import msgspec

from aggregator.deliveries.skipped import SkippedEntries
from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.trim import Trimmer
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance.audit import audit
from aggregator.warehouse.migrate import migrate
from linkjolt import redis_keys
from linkjolt.settings import AggregatorSettings
from linkjolt.storage import clickhouse
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import connect

# Small batches, so that every point is passed several times; stored entries are trimmed at once.
SETTINGS = AggregatorSettings(slice_ms=50, batch_rows=2, stream_retention_hours=0)
ALL = redis_keys.streams(1)


class Left(msgspec.Struct, frozen=True):
    """The ids of stored events, and whether the audit is clean."""

    clean: bool
    click_ids: list[str]
    conversion_ids: list[str]


class _Id(msgspec.Struct, frozen=True):
    id: str


async def _ids(engine: ClickHouse, sql: str) -> list[str]:
    return [row.id for row in await engine.read(sql, _Id)]


async def _main(path: str, redis_url: str) -> Left:
    redis = connect(redis_url)
    engine = clickhouse.embedded(path, clients=1)
    await migrate(engine)
    streams = Streams(redis)
    aggregation = Aggregation(streams, engine, VisitorSalts(redis, 48), SETTINGS)
    while True:
        # A new one each time, for one trims every ten seconds only.
        skipped = SkippedEntries(redis)
        await Trimmer(streams, aggregation.position, SETTINGS, skipped.record).step()
        step = await aggregation.step()
        tops = [
            await streams.newest_position(stream) - await aggregation.position(stream)
            for stream in ALL
        ]
        if not step.more_waiting and max(tops) <= 0:
            break
        await asyncio.sleep(step.wait_seconds)
    found = await audit(redis, engine, 1)
    left = Left(
        found.clean and all(stream.waiting == 0 for stream in found.balance.streams),
        await _ids(engine, "SELECT click_id AS id FROM clicks WHERE account != 0"),
        await _ids(engine, "SELECT conversion_id AS id FROM conversions WHERE account != 0"),
    )
    await engine.close()
    await redis.aclose()
    return left


if __name__ == "__main__":
    print(msgspec.json.encode(asyncio.run(_main(sys.argv[1], sys.argv[2]))).decode())
