"""A full Redis or a full spool stops no visitor, loses nothing acknowledged, and recovers."""

import re
from pathlib import Path

import httpx2
import pytest
from redis.asyncio import Redis

from aggregator.deliveries.skipped import SkippedEntries
from aggregator.delivery.step import Aggregation
from aggregator.delivery.streams import Streams
from aggregator.delivery.trim import Trimmer
from aggregator.delivery.visitor_salts import VisitorSalts
from aggregator.maintenance.audit import audit
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import RedisError, connect
from loadtests.chaos_instance import spooled_under
from loadtests.chaos_proxy import LossyProxy
from tests.chaos.shop import Custom, EdgeProcess, spool_is_empty, store_all
from tests.ingest.conftest import make_key, make_link
from tests.waiting import wait_until

pytestmark = pytest.mark.long

REDIS_BYTES = 8_000_000
CLICKS_MAX = 3_000
# About 6 KB per click, so that few of them fill a small Redis.
LARGE = {f"sub{number}": "x" * 600 for number in range(1, 11)}
SHED = re.compile(r"^linkjolt_clicks_shed_total ([0-9.]+)$", re.MULTILINE)


async def shed(edge: EdgeProcess) -> int:
    async with httpx2.AsyncClient() as client:
        found = SHED.search((await client.get(f"{edge.url}/metrics")).text)
    return int(float(found[1])) if found else 0


async def taken_straight(custom: Custom, client: httpx2.AsyncClient) -> bool:
    """True for 201; before that an edge may have to read keys and links again (503)."""
    answer = await custom.order(client)
    assert answer is not None
    assert answer.status_code in (201, 503)
    return answer.status_code == 201


async def aggregate_and_trim(redis: Redis, engine: ClickHouse, data: Path) -> None:
    """Trims and steps, as the aggregator's loop does, until streams and spools are empty."""
    settings = AggregatorSettings(slice_ms=50, stream_memory_max_bytes=REDIS_BYTES // 2)
    streams = Streams(redis)
    aggregation = Aggregation(streams, engine, VisitorSalts(redis, 72), settings)

    async def done() -> bool:
        try:
            skipped = SkippedEntries(redis)
            await Trimmer(streams, aggregation.position, settings, skipped.record).step()
            await aggregation.step()
        except RedisError:
            aggregation.forget()
            return False
        balance = (await audit(redis, engine, 1)).balance
        return spooled_under(data) == 0 and all(s.waiting == 0 for s in balance.streams)

    await wait_until(done)


async def test_a_full_redis_stops_no_visitor_and_recovers_when_it_is_trimmed(
    tmp_path: Path, clickhouse: ClickHouse
) -> None:
    server = RedisServer(tmp_path / "redis", max_memory_bytes=REDIS_BYTES, appendfsync="everysec")
    child = server.start()
    server.wait_ready(child)
    edge = EdgeProcess(tmp_path, server.url)
    try:
        async with connect(server.url) as redis, httpx2.AsyncClient(timeout=20) as client:
            registry = Registry(redis)
            await make_link(registry)
            custom = Custom(edge.url, await make_key(registry, ["conversions:write"]))
            await edge.start()
            await custom.order(client)
            assert await custom.visit(client) == 302
            while spooled_under(tmp_path) == 0 and len(custom.clicks) < CLICKS_MAX:
                assert await custom.visit(client, **LARGE) == 302
            assert spooled_under(tmp_path) > 0
            assert {await custom.visit(client) for _ in range(50)} == {302}
            taken = await custom.order(client)
            assert taken is not None
            # 201 if this small order still had room.
            assert taken.status_code in (201, 202)
            await aggregate_and_trim(redis, clickhouse, tmp_path)
            assert await shed(edge) == 0
            straight = await custom.order(client)
            assert straight is not None
            assert straight.status_code == 201
        assert edge.stop() == 0
        stored = await store_all(server.url, clickhouse)
        assert stored.holds_once(custom), stored.audit
    finally:
        edge.kill()
        child.terminate()
        child.wait(10)


async def test_a_full_spool_sheds_clicks_and_refuses_conversions_until_redis_is_back(
    custom: Custom,
    proxy: LossyProxy,
    redis_server: RedisServer,
    clickhouse: ClickHouse,
    tmp_path: Path,
) -> None:
    edge = EdgeProcess(tmp_path, proxy.url, LINKJOLT_SPOOL_MAX_BYTES="1")
    custom.url = edge.url
    try:
        await edge.start()
        async with httpx2.AsyncClient(timeout=20) as client:
            await custom.order(client)
            await custom.visit(client)
            proxy.lost_share = 1.0
            while await shed(edge) == 0 and len(custom.clicks) < CLICKS_MAX:
                assert await custom.visit(client, **LARGE) == 302
            # A small order may still fit where a large click did not.
            refused = await custom.order(client)
            while refused is not None and refused.status_code == 202:
                refused = await custom.order(client)
            assert refused is not None
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            lost = await shed(edge)
            assert lost > 0
            proxy.lost_share = 0.0
            await spool_is_empty(tmp_path)
            await wait_until(lambda: taken_straight(custom, client))
            assert await custom.visit(client) == 302
            assert await shed(edge) == lost
        assert edge.stop() == 0
        stored = await store_all(redis_server.url, clickhouse)
        assert len(stored.clicks) == len(set(stored.clicks)) == len(custom.clicks) - lost
        assert custom.orders.keys() == set(stored.orders)
        assert stored.audit.clean
    finally:
        edge.kill()
