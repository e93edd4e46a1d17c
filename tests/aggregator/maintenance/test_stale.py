"""`linkjolt audit` is not clean while an event waits for longer than it may."""

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aggregator.maintenance.audit import summarize
from ingest.publishing.frames import Frame, Payload
from ingest.publishing.spool_files import open_spool
from ingest.publishing.stream_producer import new_producer
from linkjolt import redis_keys
from linkjolt.balance.stale import StaleRule
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import connect
from tests.aggregator.conftest import Line
from tests.reports.test_balance import accept


async def test_an_audit_names_what_waits_too_long(line: Line) -> None:
    await line.convert(line.make_conversion(1))
    await line.convert(line.make_conversion(2))
    assert (await line.audit()).clean
    found = await line.audit(StaleRule(0.0))
    assert found.adds_up()
    assert not found.clean
    *_, named, verdict = summarize(found).splitlines()
    assert named.startswith("conversions/0: 2 events wait too long, the oldest for ")
    assert verdict == "NOT CLEAN"
    await line.step_until_idle()
    assert (await line.audit(StaleRule(0.0))).clean


@pytest.fixture
async def stopped(tmp_path: Path) -> Path:
    """Provides the data directory of a stopped instance, in which a conversion waits for 400 s."""
    server = RedisServer(tmp_path / "redis")
    child = server.start()
    await asyncio.to_thread(server.wait_ready, child)
    async with connect(server.url) as redis:
        old_ms = int((time.time() - 400) * 1000)
        await accept(redis, redis_keys.conversions(0), old_ms, 1)
    child.terminate()
    child.wait()
    return tmp_path


def audit(data: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "linkjolt", "audit", "--data", str(data)]
    environ = {k: v for k, v in os.environ.items() if not k.startswith("LINKJOLT_")} | variables
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.long
async def test_what_a_stopped_instance_holds_in_streams_and_spools_counts(stopped: Path) -> None:
    spool = open_spool(stopped / "spool", 1 << 20, new_producer)
    await spool.add(Frame(redis_keys.clicks(0).number, 3, Payload([], [b"{}"])))
    await spool.close()
    done = await asyncio.to_thread(audit, stopped)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.endswith(" s\nNOT CLEAN\n")
    assert "\nconversions/0: 1 events wait too long, the oldest for 4" in done.stdout
    # The spool was written just now.
    assert "spool" not in done.stdout
    for path in (stopped / "spool").iterdir():
        os.utime(path, times=(time.time(), time.time() - 500))
    done = await asyncio.to_thread(audit, stopped)
    assert "\nspool of clicks/0: 3 events wait too long, the oldest for 5" in done.stdout
    done = await asyncio.to_thread(audit, stopped, LINKJOLT_STALE_AFTER_SECONDS="3600")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("\nclean\n")
