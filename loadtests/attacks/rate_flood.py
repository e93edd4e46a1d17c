"""Measures how exactly a key's rate limit holds, while one client floods all listeners with it.

`python -m loadtests.attacks.rate_flood [--limit 600] [--seconds 60]` starts an instance with two
edges, sends 400 requests/s to them and 200/s to the reports listener under one key, and beside
them 90 % of the limit under another one. It exits with 1 unless the first key got its limit within
10 %, and the second one no refusal.
"""

import asyncio
import sys
import tempfile
from collections import Counter

import click
import httpx2
import msgspec
import uvloop
from redis.asyncio import Redis

from linkjolt.runtime.demo_file import Demo, read_demo
from linkjolt.runtime.instance import Run, find_redis_url
from linkjolt.storage.redis import call, connect
from loadtests.clicker import Tally, click_steadily, percentile
from loadtests.outage import running_instance

_PATH = "/v1/campaigns"
_EDGES_PER_SECOND = 400.0
_REPORTS_PER_SECOND = 200.0
_STEADY_SHARE = 0.9
_DEVIATION_MAX = 0.1


class Flood(msgspec.Struct, frozen=True):
    """The answers of the flooding and of the steady client, and the calls of Redis meanwhile."""

    limit: int
    seconds: float
    flooding: Tally
    steady: Tally
    redis_calls: int

    @property
    def statuses(self) -> Counter[int]:
        return Counter(status for _, _, status in self.flooding.answers)

    @property
    def deviation(self) -> float:
        """Returns by how much of its limit the flooding client got more."""
        return self.statuses[200] / (self.limit * self.seconds / 60) - 1

    @property
    def steady_refusals(self) -> int:
        return sum(status != 200 for _, _, status in self.steady.answers)

    def problems(self) -> list[str]:
        """Lists the promises that were broken."""
        found: list[str] = []
        if abs(self.deviation) > _DEVIATION_MAX:
            found.append(f"the flooding key got {self.deviation:+.1%} of its limit")
        if self.steady_refusals:
            found.append(f"{self.steady_refusals} requests below the limit were not answered 200")
        if unexpected := self.statuses.keys() - {200, 429}:
            found.append(f"unexpected statuses: {sorted(unexpected)}")
        return found


async def _make_key(run: Run, demo: Demo, limit: int) -> str:
    headers = {"Authorization": f"Bearer {demo.key}"}
    form = {"name": "flood", "scopes": ["links:read"], "rate_limit_per_minute": limit}
    async with httpx2.AsyncClient(headers=headers) as client:
        answer = await client.post(f"{run.edge_url}/v1/keys", json=form)
    answer.raise_for_status()
    return answer.json()["key"]


async def _script_calls(redis: Redis) -> int:
    stats = await call(redis, "INFO", "commandstats")
    return int(stats.get("cmdstat_evalsha", {"calls": 0})["calls"])


async def flood(run: Run, demo: Demo, redis: Redis, limit: int, seconds: float) -> Flood:
    """Sends both clients' requests; returns when all are answered."""
    key, steady_key = [await _make_key(run, demo, limit) for _ in range(2)]
    calls = await _script_calls(redis)
    edges, reports, steady = await asyncio.gather(
        click_steadily(run.edge_url + _PATH, _EDGES_PER_SECOND, seconds, 32, key),
        click_steadily(run.reports_url + _PATH, _REPORTS_PER_SECOND, seconds, 16, key),
        click_steadily(run.edge_url + _PATH, limit / 60 * _STEADY_SHARE, seconds, 8, steady_key),
    )
    edges.answers += reports.answers
    return Flood(limit, seconds, edges, steady, await _script_calls(redis) - calls)


async def _measure(run: Run, demo: Demo, data: str, limit: int, seconds: float) -> Flood:
    redis = connect(find_redis_url(data, ""))
    try:
        return await flood(run, demo, redis, limit, seconds)
    finally:
        await redis.aclose()


@click.command()
@click.option("--limit", default=600, help="Requests a minute of each key.")
@click.option("--seconds", default=60.0)
def main(limit: int, seconds: float) -> None:
    """Runs the flood and prints what it got."""
    variables = {"LINKJOLT_EDGES": "2", "LINKJOLT_RATE_ACCOUNT_PER_MINUTE": "0"}
    with tempfile.TemporaryDirectory() as data, running_instance(data, **variables) as run:
        demo = read_demo(data)
        assert demo
        found = uvloop.run(_measure(run, demo, data, limit, seconds))
    took_ms = percentile([took for _, took, _ in found.flooding.answers], 0.99) * 1000
    click.echo(f"limit {limit}/min, {seconds:g} s: {dict(found.statuses)} ({found.deviation:+.1%})")
    click.echo(f"steady client: {len(found.steady.answers)}, refused {found.steady_refusals}")
    click.echo(f"calls of scripts {found.redis_calls}, p99 of the flood {took_ms:.1f} ms")
    for problem in found.problems():
        click.echo(problem, err=True)
    sys.exit(bool(found.problems()))


if __name__ == "__main__":
    main()
