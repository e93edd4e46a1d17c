"""Measures an installation under all attacks of strangers at once, beside the same load alone.

`python -m loadtests.attacks.hostile [--seconds 60]` starts an instance of its own, sends 500
clicks/s and 20 requests/s for `/v1/me`, alone and then beside `loadtests.attacks.hostile_clients`:
on each listener 1,000 idle connections, 100 slow heads, 100 slow bodies and a client that
pipelines and never reads; 10,000 distinct hostile user agents, and 10 MB of brackets again and
again. It exits with 1 unless no process died, every acknowledged event is stored, memory grew by
less than 200 MB and both p99 are at most five times those of the load alone.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import httpx2
import msgspec
import uvloop

from linkjolt.runtime.demo_file import Demo, read_demo
from linkjolt.runtime.instance import Pids, Run, read_run
from loadtests.attacks.hostile_clients import AttackCounts, AttackPlan
from loadtests.clicker import Tally, click_steadily, percentile
from loadtests.outage import running_instance

_CLICKS_PER_SECOND = 500.0
_PROBES_PER_SECOND = 20.0
_RATIO_MAX = 5.0
_GROWTH_MAX_BYTES = 200 << 20
_CATCH_UP_SECONDS = 60.0
_LOOK_SECONDS = 0.5
_ALL_CLICKS = ("clicks", "bot_clicks", "duplicate_clicks")


class Load(msgspec.Struct, frozen=True):
    """The answers of one run of the load, and the most memory that all processes had meanwhile."""

    clicks: Tally
    probes: Tally
    resident_bytes: int

    def p99_ms(self, tally: Tally) -> float:
        return percentile([took for _, took, _ in tally.answers], 0.99) * 1000


def process_ids(pids: Pids) -> list[int]:
    """Lists the ids of an installation's processes."""
    alone = [pids.supervisor, pids.redis, pids.warehouse, pids.webhooks]
    return sorted([*(pid for pid in alone if pid), *pids.edge])


def _resident_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) << 10
    return 0


async def _watch_memory(pids: list[int], most: list[int]) -> None:
    while True:
        most.append(sum(map(_resident_bytes, pids)))
        await asyncio.sleep(_LOOK_SECONDS)


async def run_load(run: Run, demo: Demo, seconds: float) -> Load:
    """Sends clicks and requests for /v1/me at steady rates."""
    most: list[int] = []
    watching = asyncio.create_task(_watch_memory(process_ids(run.pids), most))
    clicks, probes = await asyncio.gather(
        click_steadily(f"{run.edge_url}/{demo.tracking_code}", _CLICKS_PER_SECOND, seconds),
        click_steadily(f"{run.reports_url}/v1/me", _PROBES_PER_SECOND, seconds, 4, demo.key),
    )
    watching.cancel()
    return Load(clicks, probes, max(most))


class Registry:
    """Creates links over the API, and reads how many of their requests are stored."""

    def __init__(self, run: Run, demo: Demo) -> None:
        headers = {"Authorization": f"Bearer {demo.key}"}
        self._client = httpx2.AsyncClient(base_url=run.reports_url, headers=headers, timeout=30)
        self._demo = demo

    async def create_link(self) -> str:
        """Creates a link like the demo's, and returns its code."""
        links = (await self._client.get("/v1/links")).json()["data"]
        fields = {name: links[0][name] for name in ("campaign_id", "affiliate_id", "destination")}
        answer = await self._client.post("/v1/links", json=fields)
        return answer.raise_for_status().json()["tracking_code"]

    async def stored(self, code: str) -> int:
        """Counts the stored requests for a link: people's, bots' and all others."""
        parameters = {"link": code, "metrics": ",".join(_ALL_CLICKS)}
        answer = await self._client.get("/v1/reports", params=parameters)
        totals = answer.raise_for_status().json()["totals"]
        return sum(totals[name] for name in _ALL_CLICKS)

    async def wait_stored(self, code: str, expected: int) -> int:
        """Returns the count of `stored`, as soon as it is as expected."""
        for _ in range(int(_CATCH_UP_SECONDS / _LOOK_SECONDS)):
            if await self.stored(code) >= expected:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return await self.stored(code)

    async def close(self) -> None:
        await self._client.aclose()


async def _attack(plan: AttackPlan) -> AttackCounts:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests.attacks.hostile_clients"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    out, _ = await process.communicate(msgspec.json.encode(plan))
    return msgspec.json.decode(out, type=AttackCounts)


def _failures(alone: Load, attacked: Load) -> Iterator[str]:
    for name, before, after in (
        ("redirects", alone.clicks, attacked.clicks),
        ("/v1/me", alone.probes, attacked.probes),
    ):
        ratio = attacked.p99_ms(after) / alone.p99_ms(before)
        click.echo(
            f"{name:12} p99 {alone.p99_ms(before):.1f} ms alone, {attacked.p99_ms(after):.1f} ms"
            f" attacked: {ratio:.1f} times, {after.statuses()}"
        )
        if ratio > _RATIO_MAX:
            yield f"p99 of {name} is {ratio:.1f} times that of the load alone"
        if set(after.statuses()) > {200, 302}:
            yield f"{name} answered {after.statuses()}"
    grown = attacked.resident_bytes - alone.resident_bytes
    click.echo(
        f"memory       {alone.resident_bytes >> 20} MB alone, {grown >> 20} MB more attacked"
    )
    if grown > _GROWTH_MAX_BYTES:
        yield f"memory grew by {grown >> 20} MB"


async def _run(run: Run, data: str, seconds: float) -> list[str]:
    demo = read_demo(data)
    assert demo
    registry = Registry(run, demo)
    agents_code, unread_code = await registry.create_link(), await registry.create_link()
    await run_load(run, demo, 5)
    already = await registry.wait_stored(demo.tracking_code, int(5 * _CLICKS_PER_SECOND))
    alone = await run_load(run, demo, seconds)
    plan = AttackPlan(run.edge_url, run.reports_url, demo.key, agents_code, unread_code, seconds)
    attacked, counts = await asyncio.gather(run_load(run, demo, seconds), _attack(plan))
    click.echo(f"attack       {msgspec.to_builtins(counts)}")
    failures = [*_failures(alone, attacked)]
    now = read_run(data)
    if now is None or now.pids != run.pids:
        failures.append("a process died")
    for code, expected in (
        (demo.tracking_code, already + len(alone.clicks.answers) + len(attacked.clicks.answers)),
        (agents_code, counts.agents_redirected),
    ):
        stored = await registry.wait_stored(code, expected)
        click.echo(f"stored       {stored:,} of {expected:,} acknowledged")
        if stored < expected:
            failures.append(f"{expected - stored} acknowledged events are not stored")
    await registry.close()
    return failures


@click.command()
@click.option("--seconds", default=60.0, show_default=True)
def main(seconds: float) -> None:
    """Attacks an instance of its own beside a steady load."""
    with tempfile.TemporaryDirectory() as data, running_instance(data) as run:
        failures = uvloop.run(_run(run, data, seconds))
        audit = subprocess.run(
            [sys.executable, "-m", "linkjolt", "audit", "--data", data], check=False
        )
    if audit.returncode:
        failures.append("the audit is not clean")
    for failure in failures:
        click.echo(failure)
    click.echo("FAIL" if failures else "PASS")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
