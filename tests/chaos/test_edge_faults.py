"""An edge killed at any of its fault points has stored what it answered, each event once."""

import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from linkjolt.balance.balance import read_balance
from linkjolt.fault_points import POINTS
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.clickhouse import ClickHouse
from loadtests.chaos_proxy import LossyProxy
from tests.chaos.rounds import PASSAGES, rounds
from tests.chaos.shop import Custom, EdgeProcess, spool_is_empty, store_all
from tests.waiting import wait_until

PUBLISH_POINTS = [point for point in POINTS if point.startswith("edge_")]
COMMIT_POINTS = [point for point in POINTS if point.endswith("_commit")]
REQUESTS_MAX = 30
# A frame each, a third of them conversions. The passages end at most 3 round trips of 64 frames;
# one more was answered, and one of the other stream may have been executed: 5, and these make 6.
SPOOLED = 320


async def killed(edge: EdgeProcess) -> None:
    await wait_until(lambda: edge.ended() is not None)
    assert edge.ended() == -signal.SIGKILL


async def accepted(redis: Redis, engine: ClickHouse) -> int:
    """Counts the events that the streams accepted."""
    return sum(stream.accepted for stream in (await read_balance(redis, engine, 1)).streams)


async def all_is_stored_once(
    custom: Custom, edge: EdgeProcess, data: Path, redis_url: str, engine: ClickHouse
) -> None:
    """Starts the edge without a fault, repeats an unanswered order, and checks the warehouse."""
    await edge.start()
    await custom.until_ended(edge, 3)
    await spool_is_empty(data)
    assert edge.stop() == 0
    stored = await store_all(redis_url, engine)
    assert stored.holds_once(custom), stored.audit


@pytest.mark.long
@pytest.mark.parametrize("faults", rounds(PUBLISH_POINTS))
async def test_an_edge_killed_while_it_publishes_doubles_and_loses_nothing(
    custom: Custom,
    edge: EdgeProcess,
    redis_server: RedisServer,
    clickhouse: ClickHouse,
    tmp_path: Path,
    faults: list[str],
) -> None:
    for fault in faults:
        await edge.start(fault)
        await custom.until_ended(edge, REQUESTS_MAX)
        await killed(edge)
    await all_is_stored_once(custom, edge, tmp_path, redis_server.url, clickhouse)


@pytest.mark.parametrize("faults", rounds(COMMIT_POINTS))
async def test_an_edge_killed_while_it_spools_keeps_what_it_answered(
    custom: Custom,
    edge: EdgeProcess,
    proxy: LossyProxy,
    redis_server: RedisServer,
    clickhouse: ClickHouse,
    tmp_path: Path,
    faults: list[str],
) -> None:
    for fault in faults:
        await edge.start(fault)
        # It knows link and key before Redis goes.
        await custom.until_ended(edge, 3)
        proxy.lost_share = 1.0
        await custom.until_ended(edge, REQUESTS_MAX)
        await killed(edge)
        proxy.lost_share = 0.0
    await all_is_stored_once(custom, edge, tmp_path, redis_server.url, clickhouse)


@pytest.mark.long
async def test_an_edge_killed_while_it_drains_doubles_and_loses_nothing(
    custom: Custom,
    edge: EdgeProcess,
    proxy: LossyProxy,
    redis: Redis,
    redis_server: RedisServer,
    clickhouse: ClickHouse,
    tmp_path: Path,
) -> None:
    await edge.start()
    await custom.until_ended(edge, 3)
    proxy.lost_share = 1.0
    await custom.until_ended(edge, SPOOLED)
    edge.kill()
    proxy.lost_share = 0.0
    for passage in PASSAGES:
        # What is left is drained from the start on.
        await edge.start(f"spool_mid_drain:{passage}")
        await killed(edge)
        # Otherwise it did not die during a drain, but at its end.
        assert await accepted(redis, clickhouse) < len(custom.clicks) + len(custom.orders)
    await all_is_stored_once(custom, edge, tmp_path, redis_server.url, clickhouse)
