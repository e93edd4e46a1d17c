"""An aggregator killed at any of its fault points is recovered by the next start."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.fault_points import POINTS, VARIABLE
from linkjolt.runtime.bound_children import bound
from linkjolt.runtime.redis_server import RedisServer
from tests.chaos.aggregator_child import Left
from tests.chaos.environment import ROOT, plain_environ
from tests.chaos.producer import Producer, new_worker
from tests.chaos.rounds import rounds

AGGREGATOR_POINTS = [point for point in POINTS if point.startswith("aggregator_")]


@pytest.fixture
async def producer(redis: Redis, tmp_path: Path) -> AsyncGenerator[Producer]:
    producer = new_worker(redis, tmp_path)
    yield producer
    await producer.spool.close()


async def aggregate(
    folder: Path, redis_url: str, fault: str = "", child: str = "tests.chaos.aggregator_child"
) -> tuple[int, bytes]:
    """Runs an aggregator process; returns its return code and output."""
    args = ["-P", "-m", child, str(folder / "clickhouse"), redis_url]
    process = await asyncio.create_subprocess_exec(
        *bound([sys.executable, *args]),
        stdout=asyncio.subprocess.PIPE,
        env={**plain_environ(), "PYTHONPATH": str(ROOT), VARIABLE: fault},
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed


@pytest.mark.long
@pytest.mark.parametrize("faults", rounds(AGGREGATOR_POINTS))
async def test_an_aggregator_killed_at_any_passage_stores_everything_once(
    producer: Producer, redis_server: RedisServer, tmp_path: Path, faults: list[str]
) -> None:
    for fault in faults:
        await producer.publish()
        status, _ = await aggregate(tmp_path, redis_server.url, fault)
        assert status == -signal.SIGKILL, f"it was not killed by {fault}"
    await producer.publish()
    status, printed = await aggregate(tmp_path, redis_server.url)
    assert status == os.EX_OK
    left = msgspec.json.decode(printed, type=Left)
    assert sorted(left.click_ids) == sorted(producer.click_ids)
    assert sorted(left.conversion_ids) == sorted(producer.conversion_ids)
    assert left.clean
