"""Clicks past their retention are deleted whole, whenever the process that does it is killed."""

import os
import signal
from pathlib import Path

import msgspec
import pytest

from linkjolt.runtime.redis_server import RedisServer
from tests.chaos.retention_child import LeftClicks
from tests.chaos.test_aggregator_faults import aggregate

_CHILD = "tests.chaos.retention_child"


@pytest.mark.long
@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize(
    "point", ["retention_before_delete:1", "retention_after_month:1", "retention_after_month:2"]
)
async def test_a_deletion_killed_at_any_point_is_finished_by_the_next(
    redis_server: RedisServer, tmp_path: Path, point: str
) -> None:
    status, _ = await aggregate(tmp_path, redis_server.url, point, _CHILD)
    assert status == -signal.SIGKILL, f"it was not killed by {point}"
    status, printed = await aggregate(tmp_path, redis_server.url, child=_CHILD)
    assert status == os.EX_OK
    # Log lines come before it.
    left = msgspec.json.decode(printed.splitlines()[-1], type=LeftClicks)
    assert left == LeftClicks([202611], 400, agrees=True)
