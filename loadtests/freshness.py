"""Measures the seconds until a click is in a report of a running instance.

`python -m loadtests.freshness [--data DIR] [--probes 200]`, with `make run` in another terminal.
Each probe has a link of its own, clicks it once, and requests its report until the click shows.
"""

import asyncio
import random
import statistics
import time
from typing import Any

import click
import httpx2

from linkjolt.runtime.instance import read_run
from linkjolt.storage.redis import connect
from linkjolt.up.demo import open_demo
from loadtests.clicker import percentile
from loadtests.http_client import FIREFOX

GIVE_UP_SECONDS = 10.0
# Between two requests of a report: the mean is overstated by half of it.
LOOK_SECONDS = 0.02


class Probe:
    """A client of the edge and of reports with an admin key."""

    def __init__(self, edge: httpx2.AsyncClient, reports: httpx2.AsyncClient) -> None:
        self._edge = edge
        self._reports = reports

    async def make_links(self, count: int) -> list[str]:
        """Creates a link for each probe and returns the tracking codes."""
        campaign = await self._make("campaigns", {**CAMPAIGN})
        affiliate = await self._make("affiliates", {"name": "Probe"})
        link = {
            "campaign_id": campaign["id"],
            "affiliate_id": affiliate["id"],
            "destination": "https://example.com/",
        }
        links = [await self._make("links", link) for _ in range(count)]
        return [made["tracking_code"] for made in links]

    async def _make(self, kind: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._edge.post(f"/v1/{kind}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def seconds_until_visible(self, code: str) -> float:
        """Measures from the redirect's answer to the first report that counts the click."""
        answer = await self._edge.get(f"/{code}", headers={"User-Agent": FIREFOX})
        if answer.status_code != 302:
            raise click.ClickException(f"the edge answers {answer.status_code}")
        began = time.perf_counter()
        while time.perf_counter() - began < GIVE_UP_SECONDS:
            if await self._clicks(code):
                return time.perf_counter() - began
            await asyncio.sleep(LOOK_SECONDS)
        raise click.ClickException(f"{code} was not visible after {GIVE_UP_SECONDS:g} s")

    async def _clicks(self, code: str) -> int:
        query = {"link": code, "metrics": "clicks"}
        answer = await self._reports.get("/v1/reports", params=query)
        return answer.json()["totals"]["clicks"] if answer.status_code == 200 else 0


CAMPAIGN = {
    "name": "Probe",
    "currency": "USD",
    "commission": {"kind": "percentage", "rate": "30"},
}


async def measure(data: str, probes: int) -> list[float]:
    """Measures the seconds of each probe, one by one, at random moments of a slice."""
    run = read_run(data)
    if run is None:
        raise click.ClickException(f"nothing is running under {data}")
    redis = connect(run.redis_url)
    key = (await open_demo(redis, data)).key
    await redis.aclose()
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(base_url=run.edge_url, headers=headers) as edge,
        httpx2.AsyncClient(base_url=run.reports_url, headers=headers) as reports,
    ):
        probe = Probe(edge, reports)
        codes = await probe.make_links(probes)
        # Reports know a link once the aggregator has mirrored it.
        await asyncio.sleep(1)
        seconds: list[float] = []
        for code in codes:
            await asyncio.sleep(random.uniform(0, 0.5))
            seconds.append(await probe.seconds_until_visible(code))
        return seconds


@click.command()
@click.option("--data", default="data", envvar="LINKJOLT_DATA", show_default=True)
@click.option("--probes", default=200, show_default=True)
def main(data: str, probes: int) -> None:
    """Prints the seconds that clicks take to show in a report."""
    seconds = asyncio.run(measure(data, probes))
    shares = (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
    shown = "  ".join(f"{name} {percentile(seconds, share):.3f}" for name, share in shares)
    click.echo(f"{probes} probes, seconds: {shown}  mean {statistics.mean(seconds):.3f}")


if __name__ == "__main__":
    main()
