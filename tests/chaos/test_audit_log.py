"""The audit log has every write once, whenever the process that stores it is killed."""

import os
import signal
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.fault_points import POINTS
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from tests.chaos.audit_log_child import LeftLog
from tests.chaos.rounds import rounds
from tests.chaos.test_aggregator_faults import aggregate
from tests.linkjolt.registry import samples

_CHILD = "tests.chaos.audit_log_child"
AUDIT_POINTS = [point for point in POINTS if point.startswith("audit_log_")]


@pytest.mark.parametrize("points", rounds(AUDIT_POINTS))
async def test_a_store_killed_at_any_point_has_every_entry_once(
    redis: Redis, redis_server: RedisServer, tmp_path: Path, points: list[str]
) -> None:
    registry = Registry(redis)
    written = 0
    for point in points:
        # A page more than that, so that each point is passed three times.
        count = 2_500 if not point.endswith(":1") else 3
        await registry.create_many([samples.affiliate() for _ in range(count)])
        written += count
        status, _ = await aggregate(tmp_path, redis_server.url, point, _CHILD)
        assert status == -signal.SIGKILL, f"it was not killed by {point}"
    await registry.create(samples.affiliate())
    status, printed = await aggregate(tmp_path, redis_server.url, child=_CHILD)
    assert status == os.EX_OK
    left = msgspec.json.decode(printed, type=LeftLog)
    assert left.objects == [f"aff_{number}" for number in range(1, written + 2)]
    assert left.clean
