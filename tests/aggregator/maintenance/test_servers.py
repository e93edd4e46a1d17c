"""On servers a command that rewrites the warehouse keeps every aggregator out, or is refused."""

import pytest
from redis.asyncio import Redis

from aggregator.delivery.lease import Leases
from linkjolt import redis_keys
from linkjolt.storage.redis import call
from tests.servers.conftest import engine, linkjolt, warehouse
from tests.servers.processes import Linkjolt

__all__ = ["engine", "linkjolt", "warehouse"]
REBUILD = ("rebuild", "--from", "2026-11", "--to", "2026-11")


@pytest.mark.long
async def test_it_is_refused_in_one_line_while_an_aggregator_holds_a_stream(
    linkjolt: Linkjolt, redis: Redis
) -> None:
    assert (await linkjolt.run("migrate")).returncode == 0
    aggregator = Leases(redis, 600)
    assert await aggregator.acquire(redis_keys.conversions(0)) == "taken"
    for command in (REBUILD, ("restore", "--from-stream"), ("audit", "--repair")):
        refused = await linkjolt.run(*command)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr.startswith("Error: an aggregator is at work on this Redis")
    # Leases taken before the refusal are released; the aggregator's own is not.
    assert await call(redis, "EXISTS", redis_keys.clicks(0).lease_key) == 0
    assert await aggregator.acquire(redis_keys.conversions(0)) == "held"


@pytest.mark.long
async def test_each_command_runs_on_empty_servers_and_leaves_no_lease(
    linkjolt: Linkjolt, redis: Redis
) -> None:
    assert (await linkjolt.run("migrate")).returncode == 0
    endings = {
        REBUILD: "nothing is stored in these months\n",
        ("restore", "--from-stream"): "complete\n",
        ("audit", "--repair"): "clean\n",
        ("rejects", "list"): "no rejects\n",
        ("rejects", "replay", "--all"): "replayed 0, not replayed 0\n",
    }
    for command, end in endings.items():
        done = await linkjolt.run(*command)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(end)
    assert (
        await call(
            redis, "EXISTS", redis_keys.clicks(0).lease_key, redis_keys.conversions(0).lease_key
        )
        == 0
    )
