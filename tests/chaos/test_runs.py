"""A small seeded chaos run loses nothing, and a killed supervisor leaves no child."""

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from loadtests.chaos_instance import AuditOutput, Instance
from tests.chaos.environment import ROOT, plain_environ
from tests.waiting import wait_until

_BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"}


@pytest.mark.long
def test_a_short_chaos_run_loses_and_doubles_nothing(tmp_path: Path) -> None:
    words = ["--rounds", "4", "--seed", "5", "--pace", "0.25", "--data", str(tmp_path)]
    rates = ["--clicks-per-second", "300", "--conversions-per-second", "30"]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "loadtests.chaos", *words, *rates],
        env=plain_environ() | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing missing, nothing doubled" in done.stdout


def gone(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return False
    return True


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux binds children to their parent")
async def test_a_killed_supervisor_leaves_no_child_and_the_next_start_has_everything(
    tmp_path: Path,
) -> None:
    instance = Instance(tmp_path / "data", 1, {})
    clicks = 20
    try:
        await instance.start()
        [code] = await instance.make_links(1)
        async with httpx2.AsyncClient(headers=_BROWSER) as client:
            for _ in range(clicks):
                answer = await client.get(f"{instance.edge_url}/{code}")
                assert answer.status_code == 302
        pids = instance.pids()
        instance.end()
        assert pids.redis
        assert pids.warehouse
        children = [pids.redis, pids.warehouse, *pids.edge]
        await wait_until(lambda: all(gone(pid) for pid in children))
        await instance.start()

        async def all_is_stored() -> bool:
            found: AuditOutput | None = await instance.audit()
            return (
                found is not None
                and found.clean
                and [(s.accepted, s.stored) for s in found.balance.streams]
                == [(clicks, clicks), (0, 0)]
            )

        await wait_until(all_is_stored)
        assert await instance.stop() == 0
    finally:
        instance.end()
