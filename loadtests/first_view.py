"""Measures the seconds until the dashboard shows its first view in a browser without a cache.

`python -m loadtests.first_view [--times 10]` uses an instance of its own and Debian's chromium,
already logged in. The time runs from entering the address to the drawn top lists.
"""

import shutil
import tempfile
import time

import click
import httpx2
import uvloop
from playwright.sync_api import Browser, sync_playwright

from linkjolt.runtime.demo_file import Demo
from linkjolt.runtime.instance import Run
from linkjolt.storage.redis import connect
from linkjolt.up.demo import open_demo
from loadtests.clicker import percentile
from loadtests.http_client import FIREFOX
from loadtests.outage import running_instance

_MAX_SECONDS = 1.0
_CLICKS = 50


def seconds_to_view(browser: Browser, run: Run, demo: Demo) -> float:
    """Opens the dashboard in a new context and times its first view."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.add_init_script(f"sessionStorage.setItem('linkjolt.key', '{demo.key}')")
    began = time.perf_counter()
    page.goto(run.reports_url)
    page.get_by_role("button", name="Blog of Ann").wait_for()
    took = time.perf_counter() - began
    context.close()
    return took


async def _demo(run: Run, data: str) -> Demo:
    async with connect(run.redis_url) as redis:
        return await open_demo(redis, data)


@click.command()
@click.option("--times", default=10, show_default=True)
def main(times: int) -> None:
    """Opens the dashboard some times and prints the seconds until its first view."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise click.ClickException("there is no chromium on PATH")
    with tempfile.TemporaryDirectory() as data, running_instance(data) as run:
        demo = uvloop.run(_demo(run, data))
        for number in range(_CLICKS):
            url = f"{run.edge_url}/{demo.tracking_code}?sub1=s{number}"
            httpx2.get(url, headers={"User-Agent": FIREFOX})
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-background-networking"]
            )
            # The first view also waits for the clicks to be stored and the browser to start.
            seconds_to_view(browser, run, demo)
            took = [seconds_to_view(browser, run, demo) for _ in range(times)]
            browser.close()
    middle, most = percentile(took, 0.5), max(took)
    verdict = "PASS" if middle <= _MAX_SECONDS else "FAIL"
    click.echo(
        f"first view, {times} times: p50 {middle:.2f} s, most {most:.2f} s, of 1 s: {verdict}"
    )


if __name__ == "__main__":
    main()
