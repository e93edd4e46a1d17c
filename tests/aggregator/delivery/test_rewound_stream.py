"""A Redis restored to an older copy of its files stores nothing twice and loses nothing new."""

import shutil
import subprocess
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis

from ingest.publishing.publishers import ClickPublisher, ConversionPublisher
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import StreamProducer, new_producer
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.redis_keys import Stream
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call, connect
from tests.aggregator.conftest import KEY, Line, new_aggregation, now_ms

CLICKS = "count()) AS n FROM clicks WHERE account != 0"
CONVERSIONS = "count()) AS n FROM conversions WHERE account != 0"
REJECTS = "count()) AS n FROM rejects FINAL WHERE 1"
_AHEAD_MS = 60_000


class Restorable:
    """A Redis of the test's own, with a line on it, whose files can be restored."""

    def __init__(self, folder: Path, clickhouse: ClickHouse) -> None:
        self._server = RedisServer(folder / "redis")
        self._files = folder / "redis" / "appendonlydir"
        self._copy = folder / "copy"
        self._spools = folder / "spools"
        self._clickhouse = clickhouse
        self._child: subprocess.Popen[bytes] | None = None
        self._redis: Redis | None = None

    async def start(self) -> Line:
        """Starts Redis and a line of new processes, which remember nothing."""
        self._child = self._server.start()
        self._server.wait_ready(self._child)
        redis = self._redis = connect(self._server.url)
        settings = EdgeSettings()
        spool = open_spool(self._spools, 1 << 20, new_producer)
        clicks = StreamProducer(redis, redis_keys.clicks(0), spool, 1_000)
        conversions = StreamProducer(redis, redis_keys.conversions(0), spool, 1_000)
        return Line(
            redis,
            self._clickhouse,
            ClickPublisher(clicks, settings),
            ConversionPublisher(conversions, 0, settings),
            ClickIdGenerator(1, KEY),
            new_aggregation(redis, self._clickhouse),
        )

    async def stop(self) -> None:
        if self._redis:
            await self._redis.aclose()
        if self._child:
            self._child.terminate()
            self._child.wait(10)
        self._child = self._redis = None

    async def copy_files(self) -> Line:
        """Copies the files while nothing runs."""
        await self.stop()
        shutil.copytree(self._files, self._copy)
        return await self.start()

    async def restore_files(self) -> Line:
        await self.stop()
        shutil.rmtree(self._files)
        shutil.copytree(self._copy, self._files)
        return await self.start()


@pytest.fixture
async def restorable(clickhouse: ClickHouse, tmp_path: Path) -> AsyncGenerator[Restorable]:
    restorable = Restorable(tmp_path, clickhouse)
    (tmp_path / "spools").mkdir()
    yield restorable
    await restorable.stop()


def forgotten() -> float:
    return REGISTRY.get_sample_value("linkjolt_stream_forgotten_total", {"kind": "clicks"}) or 0


async def append_ahead(line: Line, stream: Stream, event: object, slice_ms: int = 1) -> None:
    """Publishes as an edge does while Redis's clock is a minute ahead, at the start of a slice."""
    at_ms = (now_ms() + _AHEAD_MS) // slice_ms * slice_ms
    await call(line.redis, "XADD", stream.key, f"{at_ms}-0", "f", msgspec.json.encode(event))
    await call(line.redis, "HINCRBY", stream.ledger_key, at_ms // 3_600_000, 1)


@pytest.mark.long
async def test_a_redis_that_forgot_what_is_stored_costs_only_what_it_forgot_unread(
    restorable: Restorable,
) -> None:
    line = await restorable.start()
    await line.click(5)
    await line.step_until_idle()
    line = await restorable.copy_files()
    await line.click(7)
    await line.step_until_idle()
    await line.click(2)
    line = await restorable.restore_files()
    before = forgotten()
    await line.click(3)
    await line.step_until_idle()
    assert forgotten() == before + 1
    assert await line.count(CLICKS) == 5 + 7 + 3
    assert await line.count(REJECTS) == 0
    audit = await line.audit()
    assert not audit.repeated
    assert not audit.rollups
    # The ledger forgot seven stored clicks; of the two unread ones nothing is left.
    assert not audit.clean
    assert [(s.accepted, s.stored, s.difference) for s in audit.balance.streams] == [
        (8, 15, -7),
        (0, 0, 0),
    ]


@pytest.mark.parametrize("again", [1, pytest.param(2, marks=pytest.mark.long)])
async def test_what_comes_below_the_stored_position_is_stored_once(
    restorable: Restorable, again: int
) -> None:
    line = await restorable.start()
    old = await line.click(3)
    await line.convert(line.make_conversion(1, old[0].click_id))
    await line.step_until_idle()
    line = await restorable.copy_files()
    await append_ahead(line, redis_keys.clicks(0), line.make_click())
    await append_ahead(line, redis_keys.conversions(0), line.make_conversion(2))
    await line.step_until_idle()
    assert await line.count(CLICKS) == 4
    for _ in range(again):
        line = await restorable.restore_files()
        new = await line.click(70)
        await line.convert(line.make_conversion(3, new[0].click_id))
        await line.step()
    await line.step_until_idle()
    assert await line.count(CLICKS) == 4 + 70 * again
    assert await line.count(CONVERSIONS) == 3
    # Another aggregator finds nothing more to recover.
    line.restart()
    await line.click(1)
    await line.step_until_idle()
    assert await line.count(CLICKS) == 4 + 70 * again + 1
    audit = await line.audit()
    assert not audit.repeated
    assert not audit.rollups


async def test_an_empty_redis_that_replaces_the_old_one_is_read_on(line: Line) -> None:
    await append_ahead(line, redis_keys.clicks(0), line.make_click())
    await line.step_until_idle()
    await call(line.redis, "FLUSHALL")
    await line.click(2)
    await line.step_until_idle()
    assert await line.count(CLICKS) == 3
    assert not (await line.audit()).repeated


async def test_an_entry_at_the_first_id_of_a_slice_ahead_of_the_clock_is_stored(line: Line) -> None:
    await append_ahead(line, redis_keys.clicks(0), line.make_click(), slice_ms=50)
    await line.step_until_idle()
    assert await line.count(CLICKS) == 1
