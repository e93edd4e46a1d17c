"""The operator's commands work on a running instance and on a stopped one."""

import asyncio
import json
import subprocess
import sys

import httpx2
import pytest

from linkjolt.storage.redis import call, connect
from tests.system.conftest import Instance, wait_for

FIREFOX = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}
# Only one process can open the engine, so the damage is done in another one.
DAMAGE = """
import asyncio, sys
from linkjolt.storage import clickhouse

async def damage():
    engine = clickhouse.embedded(sys.argv[1], clients=1)
    await engine.execute(sys.argv[2])
    await engine.close()

asyncio.run(damage())
"""
DOUBLED = "INSERT INTO rollup_quarter SELECT * FROM rollup_quarter WHERE account != 0"


def damage(instance: Instance, sql: str) -> None:
    path = str(instance.data / "clickhouse")
    subprocess.run([sys.executable, "-c", DAMAGE, path, sql], check=True)


def publish_unreadable(instance: Instance) -> None:
    async def publish() -> None:
        redis = connect(instance.run["redis_url"])
        body = '{"click_id":7,"ip":"203.0.113.77"}'
        entry: bytes = await call(redis, "XADD", "lj:{0}:clicks", "*", "f", body)
        hour = int(entry.partition(b"-")[0]) // 3_600_000
        await call(redis, "HINCRBY", "lj:{0}:ledger:clicks", hour, 1)
        await redis.aclose()

    asyncio.run(publish())


def clean(instance: Instance) -> bool:
    return instance.linkjolt("audit").stdout.endswith("clean\n")


@pytest.mark.long
def test_a_damaged_rollup_and_lost_clicks_are_repaired_by_three_commands(
    own_instance: Instance,
) -> None:
    for _ in range(6):
        assert httpx2.get(own_instance.demo("link"), headers=FIREFOX).status_code == 302
    wait_for("the clicks are stored", lambda: "stored 6 " in own_instance.linkjolt("audit").stdout)
    fine = own_instance.linkjolt("audit", "--repair")
    assert fine.returncode == 0, fine.stderr
    assert fine.stdout.startswith("no rollup to repair\n")
    assert own_instance.stop() == 0

    damage(own_instance, DOUBLED)
    assert own_instance.linkjolt("audit").returncode == 1
    repaired = own_instance.linkjolt("audit", "--repair")
    assert repaired.returncode == 0, repaired.stderr
    assert repaired.stdout.startswith("rollup_quarter 20")
    assert repaired.stdout.endswith("clean\n")

    damage(own_instance, "ALTER TABLE clicks DELETE WHERE 1 SETTINGS mutations_sync = 2")
    restored = own_instance.linkjolt("restore", "--from-stream")
    assert restored.returncode == 0, restored.stderr
    assert "restored 6, rejected 0, waiting 0" in restored.stdout
    assert clean(own_instance)
    rebuilt = own_instance.linkjolt("rebuild", "--from", "2026-01", "--to", "2105-01-31")
    assert rebuilt.stdout.count("rebuilt from raw") >= 3
    assert clean(own_instance)


@pytest.mark.long
def test_a_reject_of_a_running_instance_is_listed_shown_and_not_replayed_unreadable(
    own_instance: Instance,
) -> None:
    assert own_instance.linkjolt("rejects", "list").stdout == "no rejects\n"
    publish_unreadable(own_instance)
    wait_for("it is listed", lambda: "undeco" in own_instance.linkjolt("rejects", "list").stdout)
    [row] = json.loads(own_instance.linkjolt("rejects", "list", "--json").stdout)
    place = f"{row['s']}/{row['pos']}/{row['line']}"
    shown = own_instance.linkjolt("rejects", "show", place)
    assert '{"click_id":7,"ip":"203.0.113.0"}' in shown.stdout
    replayed = own_instance.linkjolt("rejects", "replay", place)
    assert replayed.returncode == 1
    assert "it still cannot be read" in replayed.stdout
    missing = own_instance.linkjolt("rejects", "show", "0/1/2")
    assert (missing.returncode, missing.stderr) == (1, "Error: There is no reject 0/1/2.\n")
    assert clean(own_instance)
