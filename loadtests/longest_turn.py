"""Measures how long hostile or large bodies, and lists of many links, hold the loop of an edge.

`python -m loadtests.longest_turn` posts each body to an edge in this process, over a Redis server
of its own, and prints the longest time for which another coroutine got no turn. With
`--links 100000` it asks for lists of so many links instead, and prints what they cost.
"""

import asyncio
import resource
import tempfile
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import click
import msgspec
import uvloop
from starlette.types import ASGIApp, Message, Scope

from ingest.app import create_app, open_edge
from ingest.commands import tune_garbage_collector
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.money import Percentage
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Link
from linkjolt.registry.store import Registry
from linkjolt.runtime.redis_server import RedisServer
from linkjolt.settings import EdgeSettings
from linkjolt.storage.redis import connect

# As many as are accepted, less what stands around the repeated part.
_BODY_BYTES = (10 << 20) - 100
_CHUNK_BYTES = 64 << 10
_CREATED_AT_ONCE = 1_000
_SECRET = api_key_secrets.make_secret()
_LINK = b'{"campaign_id":"cmp_1","affiliate_id":"aff_1","destination":"https://shop.example/%b"}'
_POST = b'{"tracking_code":"tc_A","order_id":"%d","order_value":9.99%b}'


def repeat(part: bytes, size: int = _BODY_BYTES) -> bytes:
    """Repeats a part up to a size."""
    return part * (size // len(part))


def _posts(count: int, more: bytes = b"") -> list[bytes]:
    return [_POST % (number, more) for number in range(count)]


def _metadata(content: bytes) -> bytes:
    """Composes a member of a post whose value has `content` and is too long to be accepted."""
    return b',"metadata":{"m":[' + content + b"0]}"


def hostile_lines() -> list[bytes]:
    """Composes lines of nearly 64 KB, each dear to judge in another way."""
    size = 62_000
    return [
        _POST % (1, _metadata(repeat(content, size)))
        for content in (b"[],", b'{"":0},', b'"",', b'"\\u003a",', b"1e9,", b'{"a":{"a":0}},')
    ] + [
        b"{%b" % b",".join([b'"%d":0' % number for number in range(6_000)]) + b',"1":0}',
        b'{"a":[' + repeat(b'{"":0},', size) + b'{"a":1,"a":1}]}',
        b'{"' + repeat(b" - at `$`", size) + b'":0}',
    ]


def bodies() -> Iterator[tuple[str, str, str, bytes]]:
    """Yields name, path, media type and body of each request."""
    yield from _bodies_of_links("/v1/links/bulk", "application/json")
    for path in ("/v1/conversions", "/v1/adjustments"):
        yield from _bodies_of_batches(path, "application/json", "application/x-ndjson")


def _bodies_of_links(links: str, json: str) -> Iterator[tuple[str, str, str, bytes]]:
    yield "links: brackets", links, json, b'{"links":["' + b'",' + repeat(b"[")
    yield "links: brackets in a text", links, json, b'{"links":["' + repeat(b"[") + b'"]}'
    yield "links: pairs of brackets", links, json, b'{"links":[' + repeat(b"[],") + b"0]}"
    yield "links: pairs in one entry", links, json, b'{"links":[[' + repeat(b"[],") + b"0]]}"
    yield "links: escapes", links, json, b'{"links":["' + repeat(b'\\"') + b'"]}'
    yield "links: texts", links, json, b'{"links":[[' + repeat(b'"",') + b"0]]}"
    honest = b",".join([_LINK % (b"p" * 2_000) for _ in range(1_000)])
    yield "links: 1,000 honest", links, json, b'{"links":[' + honest + b"]}"
    padded = b",".join([_LINK % b"p" + b" " * 10_000 for _ in range(1_000)])
    yield "links: 1,000 of 10 KB", links, json, b'{"links":[' + padded + b"]}"


def _bodies_of_batches(path: str, json: str, lines: str) -> Iterator[tuple[str, str, str, bytes]]:
    name = path.removeprefix("/v1/")
    yield f"{name}: brackets", path, json, repeat(b"[")
    yield f"{name}: pairs of brackets", path, json, b"[" + repeat(b"[],") + b"0]"
    yield f"{name}: pairs in one entry", path, json, b"[[" + repeat(b"[],") + b"0]]"
    yield f"{name}: empty lines", path, lines, repeat(b"\n")
    yield f"{name}: lines of brackets", path, lines, repeat(b"[" * 1_100 + b"\n")
    for line in hostile_lines():
        yield (
            f"{name}: 64 KB lines {line[60:80].decode()}",
            path,
            lines,
            repeat(line + b"\n", _BODY_BYTES),
        )
    array = b",".join(hostile_lines() * 18)[: _BODY_BYTES - 100_000]
    yield f"{name}: 64 KB entries", path, json, b"[" + array[: array.rindex(b"},{") + 1] + b"]"
    yield f"{name}: 10,000 lines", path, lines, b"\n".join(_posts(10_000))
    many = b",".join(_posts(1_000, _metadata(b'"xxxxxxxx",' * 300)))
    yield f"{name}: 1,000 of 4 KB", path, json, b"[" + many + b"]"


def _scope(path: str, media_type: str, length: int) -> Scope:
    return {
        "type": "http",
        "scheme": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            (b"authorization", b"Bearer " + _SECRET.encode()),
            (b"content-type", media_type.encode()),
            (b"content-length", b"%d" % length),
        ],
        "client": ("127.0.0.1", 1),
    }


async def post(
    app: ASGIApp,
    path: str,
    media_type: str,
    body: bytes,
    on_received: Callable[[], None] = lambda: None,
) -> int:
    """Posts a body in chunks as a server would, and returns the status.

    Calls `on_received` when the last chunk is handed over.
    """
    scope = _scope(path, media_type, len(body))
    begins = iter(range(0, len(body), _CHUNK_BYTES))
    statuses: list[int] = []

    async def receive() -> Message:
        await asyncio.sleep(0)
        at = next(begins)
        chunk = body[at : at + _CHUNK_BYTES]
        more = at + len(chunk) < len(body)
        if not more:
            on_received()
        return {"type": "http.request", "body": chunk, "more_body": more}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(scope, receive, send)
    return statuses[0]


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
        "scheme": "http",
        "method": "GET",
        "path": "/v1/links",
        "raw_path": b"/v1/links",
        "query_string": query.encode(),
        "headers": [(b"host", b"localhost"), (b"authorization", b"Bearer " + _SECRET.encode())],
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


class TurnClock:
    """Takes a turn of the loop as often as it can; `longest_seconds` is the longest wait for it.

    Of processor time: what else a busy machine does is no work of the loop's.
    """

    def __init__(self) -> None:
        self.longest_seconds = 0.0
        self.turns = 0

    async def run(self) -> None:
        before = time.thread_time()
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.longest_seconds = max(self.longest_seconds, now - before)
            self.turns += 1
            before = now


@asynccontextmanager
async def running_clock() -> AsyncGenerator[TurnClock]:
    """Runs a clock in the background."""
    clock = TurnClock()
    task = asyncio.ensure_future(clock.run())
    try:
        yield clock
    finally:
        task.cancel()


async def _fill(registry: Registry) -> None:
    now = datetime.now(UTC)
    campaign = Campaign(
        number=0,
        account=ACCOUNT_DEFAULT,
        name="C",
        currency="USD",
        commission=Percentage(rate=Decimal(30)),
        created_at=now,
    )
    await registry.create(campaign)
    await registry.create(Affiliate(number=0, account=ACCOUNT_DEFAULT, name="A", created_at=now))
    link = Link(
        number=0,
        account=ACCOUNT_DEFAULT,
        campaign=1,
        affiliate=1,
        tracking_code="tc_A",
        destination="https://shop.example/",
        created_at=now,
    )
    await registry.create(link)
    key = ApiKey(
        number=0,
        account=ACCOUNT_DEFAULT,
        name="k",
        scopes=("conversions:write", "links:read", "links:write"),
        digest=api_key_secrets.digest(_SECRET),
        hint="",
        created_at=now,
    )
    await registry.create(key)


@asynccontextmanager
async def open_app(url: str, folder: Path) -> AsyncGenerator[ASGIApp]:
    """Opens an edge in this process, with a link and a key, over an empty Redis."""
    async with connect(url) as redis:
        await _fill(Registry(redis))
    settings = EdgeSettings(redis_url=url, data=str(folder), redis_timeout_seconds=5)
    async with open_edge(settings, asyncio.Event()) as edge:
        yield create_app(edge)


async def _measure(url: str, folder: Path, at_once: int, matches: Callable[[str], bool]) -> None:
    async with open_app(url, folder) as app:
        tune_garbage_collector()
        for name, path, media_type, body in bodies():
            if not matches(name):
                continue
            async with running_clock() as clock:
                began = time.perf_counter()
                statuses = await asyncio.gather(
                    *(post(app, path, media_type, body) for _ in range(at_once))
                )
            longest_ms, all_ms = clock.longest_seconds * 1e3, (time.perf_counter() - began) * 1e3
            click.echo(f"{longest_ms:8.1f} ms of {all_ms:8.0f} ms, {set(statuses)}: {name}")


async def _measure_lists(url: str, folder: Path, links: int, at_once: int) -> None:
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
@click.option("--at-once", default=1, show_default=True, help="Requests with each body at once.")
@click.option("--only", default="", help="Only bodies whose name has this text.")
@click.option("--links", default=0, help="Lists of so many links, instead of bodies.")
def main(at_once: int, only: str, links: int) -> None:
    """Prints the longest turn of the loop for each body or list."""
    with tempfile.TemporaryDirectory() as data:
        server = RedisServer(Path(data) / "redis", appendfsync="everysec")
        child = server.start()
        try:
            server.wait_ready(child)
            if links:
                uvloop.run(_measure_lists(server.url, Path(data), links, at_once))
            else:
                uvloop.run(_measure(server.url, Path(data), at_once, lambda name: only in name))
        finally:
            child.terminate()
            child.wait(20)


if __name__ == "__main__":
    main()
