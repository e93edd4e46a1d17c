"""Measures how long lists of many links hold the loop of an edge, and what they cost.

`python -m loadtests.longest_list` creates links in a Redis server of its own, asks an edge in this
process for lists of them, and prints the longest time for which another coroutine got no turn.
"""

import asyncio
import resource
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop
from starlette.types import ASGIApp, Message, Scope

from ingest.commands import tune_garbage_collector
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.registry.entries import Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.storage.redis import connect
from loadtests.longest_turn import SECRET, open_app, running_clock

_CREATED_AT_ONCE = 1_000
LISTS = (
    "limit=1",
    "limit=1000",
    "q=x99&limit=100",
    "q=x99&limit=100",
    "q=nothing-has-this",
    "sort=-created_at&limit=100",
    "sort=tracking_code&limit=1000",
    "affiliate_id=aff_1&status=active&sort=-id&limit=1000",
)


async def create_links(registry: Registry, count: int) -> None:
    """Creates links x0, x1, ... of the first campaign and affiliate."""
    link = Link(
        number=0,
        account=ACCOUNT_DEFAULT,
        campaign=1,
        affiliate=1,
        tracking_code="",
        destination="https://shop.example/p?ref={affiliate_id}&click={click_id}",
        created_at=datetime.now(UTC),
    )
    for start in range(0, count, _CREATED_AT_ONCE):
        codes = [f"x{number}" for number in range(start, min(count, start + _CREATED_AT_ONCE))]
        await registry.create_many(
            [msgspec.structs.replace(link, tracking_code=code) for code in codes]
        )


async def get_list(app: ASGIApp, query: str) -> bytes:
    """Gets a list of links; returns the answer's body."""
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/links",
        "raw_path": b"/v1/links",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer " + SECRET.encode())],
        "client": ("127.0.0.1", 1),
    }
    body = b""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        nonlocal body
        body += message.get("body", b"")

    await app(scope, receive, send)
    return body


async def _measure(url: str, folder: Path, links: int, at_once: int) -> None:
    async with open_app(url, folder) as app:
        async with connect(url) as redis:
            await create_links(Registry(redis), links)
        tune_garbage_collector()
        before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for query in LISTS:
            async with running_clock() as clock:
                began, used = time.perf_counter(), time.process_time()
                bodies = await asyncio.gather(*(get_list(app, query) for _ in range(at_once)))
            longest_ms, all_ms = clock.longest_seconds * 1e3, (time.perf_counter() - began) * 1e3
            total = msgspec.json.decode(bodies[0])["total"]
            cpu_ms = (time.process_time() - used) * 1e3
            click.echo(
                f"{longest_ms:6.1f} ms of {all_ms:6.0f} ms ({cpu_ms:.0f} of processor,"
                f" {clock.turns} turns), {total} in all: {query}"
            )
        more_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
        click.echo(f"{more_kb / 1024:.0f} MiB more memory")


@click.command()
@click.option("--links", default=100_000, show_default=True, help="Links of the account.")
@click.option("--at-once", default=1, show_default=True, help="Requests of each list at once.")
def main(links: int, at_once: int) -> None:
    """Prints the longest turn of the loop for each list."""
    with tempfile.TemporaryDirectory() as data:
        server = RedisServer(Path(data) / "redis", appendfsync="everysec")
        child = server.start()
        try:
            server.wait_ready(child)
            uvloop.run(_measure(server.url, Path(data), links, at_once))
        finally:
            child.terminate()
            child.wait(20)


if __name__ == "__main__":
    main()
