"""Two aggregators on one Redis, and inserts executed late, store each event once."""

import asyncio
import signal
from contextlib import suppress

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.rollups import pull as pulling
from aggregator.rows.rows import CLICK_COLUMNS, click_marker
from aggregator.warehouse.insert_tokens import InsertStart
from aggregator.warehouse.migrate import migrate
from aggregator.warehouse.writer import Warehouse as Raw
from aggregator.warehouse.writer import encode_rows
from linkjolt import redis_keys
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouseFailed
from tests.servers.installation import Installation, Warehouse
from tests.servers.processes import Linkjolt
from tests.servers.proxy import OK, InsertProxy, execute
from tests.waiting import wait_until

MARKERS = "SELECT count() AS n FROM clicks WHERE account = 0"
TABLES = ("clicks", "rollup_quarter", "rollup_dimension")
_LEASE = {"LINKJOLT_LEASE_SECONDS": "1"}


@pytest.mark.long
async def test_an_insert_that_is_executed_after_its_repeat_changes_nothing(
    installation: Installation,
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    late: list[bytes] = []

    async def hold_back(request: bytes) -> None:
        late.append(request)

    proxy = InsertProxy(warehouse.engine.port, TABLES, hold_back)
    async with proxy.running():
        url = warehouse.url(proxy.port)
        aggregator = linkjolt.start("aggregator", LINKJOLT_CLICKHOUSE_URL=url)
        async with installation.clicks() as ids:
            await wait_until(lambda: len(late) == len(TABLES))
        await installation.stores(ids)
        for request in late:
            assert await execute(warehouse.engine.port, request) == OK
        # While it runs and later, for it continues from its position.
        await installation.stores(ids)
        ids.append(await installation.click())
        await installation.stores(ids)
    assert aggregator.poll() is None
    assert linkjolt.levels("aggregator") == {"info", "warning"}


@pytest.mark.long
async def test_two_aggregators_frozen_in_turn_store_each_click_once(
    installation: Installation,
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    both = [linkjolt.start("aggregator", **_LEASE) for _ in range(2)]
    await wait_until(lambda: leases_taken(linkjolt) >= 2)
    async with installation.clicks() as ids:
        for turn in range(4):
            frozen = both[turn % 2]
            frozen.send_signal(signal.SIGSTOP)
            there = len(ids)
            await wait_until(lambda there=there: warehouse.holds(there + 50))
            frozen.send_signal(signal.SIGCONT)
    await installation.stores(ids)
    assert [process.poll() for process in both] == [None, None]
    assert linkjolt.levels("aggregator") <= {"info", "warning"}
    # The lease changed hands several times.
    assert leases_taken(linkjolt) >= 6


def leases_taken(linkjolt: Linkjolt) -> int:
    return sum(line.event == "lease taken" for line in linkjolt.log("aggregator"))


async def test_two_that_both_believe_a_stream_theirs_store_each_click_once(
    installation: Installation, redis: Redis
) -> None:
    client = installation.warehouse.client
    await migrate(client)
    settings = Settings(slice_ms=50)
    both = [
        Aggregation(Streams(redis), client, VisitorSalts(redis, 72), settings) for _ in range(2)
    ]
    stop = asyncio.Event()

    async def step_on(aggregation: Aggregation) -> None:
        while not stop.is_set():
            with suppress(ClickHouseFailed):
                await aggregation.step()

    async with asyncio.TaskGroup() as tasks:
        for aggregation in both:
            tasks.create_task(step_on(aggregation))
        async with installation.clicks() as ids:
            await wait_until(lambda: len(ids) >= 600)
        await wait_until(lambda: installation.warehouse.holds(len(ids)))
        stop.set()
    await installation.stores(ids)


@pytest.mark.long
async def test_a_stop_hands_the_streams_over_at_once(installation: Installation) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    lease = {"LINKJOLT_LEASE_SECONDS": "600"}
    first = linkjolt.start("aggregator", **lease)
    await wait_until(lambda: leases_taken(linkjolt) == 2)
    linkjolt.start("aggregator", **lease)
    async with installation.clicks() as ids:
        await wait_until(lambda: warehouse.holds(50))
        first.terminate()
        assert first.wait(10) == 0
        there = len(ids)
        await wait_until(lambda: warehouse.holds(there + 50))
    await installation.stores(ids)
    assert leases_taken(linkjolt) == 4


async def test_a_second_insert_from_the_same_position_is_dropped_whatever_its_length(
    warehouse: Warehouse,
) -> None:
    await migrate(warehouse.client)
    raw = Raw(warehouse.client)
    assert await raw.insert_clicks([], 0, 200, 0) == 200
    for late in (100, 200, 300):
        # Returns the position that the winner stored.
        assert await raw.insert_clicks([], 0, late, 0) == 200
    assert await warehouse.count(MARKERS) == 1
    assert await raw.insert_clicks([], 0, 300, 200) == 300
    assert await raw.insert_clicks([], 2, 200, 0) == 200
    assert await warehouse.count(MARKERS) == 3


async def test_a_token_that_a_killed_server_noted_without_its_rows_loses_nothing(
    warehouse: Warehouse,
) -> None:
    await migrate(warehouse.client)
    raw = Raw(warehouse.client)
    # Another stream's marker under the token: it is recorded, and nothing of this stream is stored.
    marker = raw_marker(4, 50)
    spent = InsertStart("clicks", 0, 0).token(0)
    await warehouse.client.insert("clicks", CLICK_COLUMNS, marker, token=spent)
    assert await raw.insert_clicks([], 0, 200, 0) == 200
    # The insert that recorded it, executed late, is dropped as before.
    await warehouse.client.insert("clicks", CLICK_COLUMNS, raw_marker(0, 100), token=spent)
    assert await raw.stored_position(redis_keys.clicks(0)) == 200
    assert await warehouse.count(MARKERS) == 2


def raw_marker(s: int, pos: int) -> bytes:
    return msgspec.json.encode(click_marker(s, pos))


async def test_a_rollup_pulled_twice_from_the_same_watermark_counts_once(
    warehouse: Warehouse,
) -> None:
    await migrate(warehouse.client)
    client = warehouse.client
    raw = Raw(client)
    row = msgspec.structs.replace(click_marker(0, 100), account=1, click_id="A")
    await raw.insert_clicks(encode_rows([row]), 0, 100, 0)
    await raw.insert_clicks(encode_rows([msgspec.structs.replace(row, pos=200)]), 0, 200, 100)
    for end_position, now in ((200, 200), (100, 200), (200, 200)):
        assert await pulling.pull(client, "rollup_quarter", "clicks", 0, 0, end_position) == now
    clicks = "SELECT sum(clicks) AS n FROM rollup_quarter WHERE account = 1"
    assert await warehouse.count(clicks) == 2
