"""Measures the CPU time of a conversion at the edge, by stage, without network and Redis.

`python -m loadtests.conversion_cost` prints microseconds of CPU per conversion: for a whole
POST through the application, for a line of NDJSON, and for the stages that both share.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import click
import uvloop

from ingest.app import create_app
from ingest.conversions.body import parse_carefully, parse_post
from ingest.conversions.decision import Lookups, decide, make_conversion
from ingest.conversions.protocol import edge_protocol_factory
from ingest.edge import Edge
from ingest.publishing.frames import Payload
from ingest.publishing.publishers import ClickPublisher, ConversionPublisher
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.conversions.answer import answer
from linkjolt.datasets import Account
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.keyring import Keyring
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import connect
from linkjolt.storage.sealing import Sealer
from linkjolt.web.connections.bounded_protocol import BoundedProtocol
from loadtests.in_process import CODE, CONNECTIONS, OneLinkDirectory, open_connections, request_cost

_ROUNDS = 40
_BATCH_LINES = 2_000
_STAGE_RUNS = 2_000
_KEY = b"k" * 32
_SECRET = api_key_secrets.make_secret()


class _OneKeyDirectory(OneLinkDirectory):
    """A directory of one link and one key, as after a client's first post."""

    def __init__(self) -> None:
        super().__init__()
        digest = api_key_secrets.digest(_SECRET)
        self._keys.put(digest, _key(digest))
        self._keys.remember_secret(_SECRET, digest)


def _key(digest: str) -> ApiKey:
    return ApiKey(
        number=1,
        account=Account(1),
        name="k",
        scopes=("conversions:write",),
        digest=digest,
        hint="",
        created_at=datetime.now(UTC),
    )


class _PackingSink:
    """Packs every frame into the bytes that Redis would get, and accepts it in the next turn."""

    def __init__(self) -> None:
        self._connection = connect("redis://").connection_pool.make_connection()

    async def send(self, payload: Payload, _: Payload, events: int, *__: object) -> list[bytes]:
        arguments = [len(payload.keys), *payload.keys, *payload.arguments]
        self._connection.pack_command("EVALSHA", "0" * 40, *arguments)
        await asyncio.sleep(0)
        return [b""] * events


def _edge() -> Edge:
    settings = Settings()
    return Edge(
        settings=settings,
        redis=connect("redis://"),
        fast_redis=connect("redis://"),
        directory=_OneKeyDirectory(),
        sealer=Sealer(Path("no.key")),
        keyring=Keyring((_KEY,), _KEY),
        click_ids=ClickIdGenerator(1, _KEY),
        click_publisher=ClickPublisher(cast(Any, _PackingSink()), settings),
        conversion_publishers=[ConversionPublisher(cast(Any, _PackingSink()), 0, settings)],
        spool_folder=Path(),
        stop=asyncio.Event(),
    )


def _post(number: int) -> bytes:
    return (
        b'{"tracking_code":"%s","order_value":99.99,"order_id":"order_%010d",'
        b'"customer_email":"customer@example.com"}'
    ) % (CODE.encode(), number)


def _request(body: bytes, media_type: bytes) -> bytes:
    return (
        b"POST /v1/conversions HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: shop/1.0\r\n"
        b"Accept: */*\r\nAuthorization: Bearer %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    ) % (_SECRET.encode(), media_type, len(body)) + body


def _stages() -> dict[str, Callable[[], object]]:
    """Prepares each stage of a sale through a tracking code, with the input it needs."""
    body, now_ms = _post(1), time.time_ns() // 1_000_000
    post, publisher = (
        parse_post(body),
        ConversionPublisher(cast(Any, _PackingSink()), 0, Settings()),
    )
    lookups = Lookups((), OneLinkDirectory().only_route(), None)
    key, settings = _key(api_key_secrets.digest(_SECRET)), Settings()
    decision = decide(post, key, lookups, now_ms, _KEY)
    posted = make_conversion(decision, settings, now_ms)
    return {
        "parse": lambda: parse_post(body),
        "parse carefully": lambda: parse_carefully(body),
        "decide": lambda: decide(post, key, lookups, now_ms, _KEY),
        "make": lambda: make_conversion(decision, settings, now_ms),
        "encode": lambda: publisher.script_entry(posted),
        "answer": lambda: answer(posted.state),
    }


def _stage_cost(stage: Callable[[], object]) -> float:
    """Measures microseconds of CPU in the cheapest of many runs."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began = time.process_time()
        for _ in range(_STAGE_RUNS):
            stage()
        best = min(best, time.process_time() - began)
    return best / _STAGE_RUNS * 1e6


async def _main() -> None:
    edge = _edge()
    app = create_app(edge)
    single = [_request(_post(number), b"application/json") for number in range(CONNECTIONS)]
    paths = (("application", BoundedProtocol), ("protocol", edge_protocol_factory(edge)))
    for way, protocol in paths:
        microseconds = await request_cost(open_connections(app, protocol), single, _ROUNDS)
        click.echo(f"{'POST, ' + way:18} {microseconds:.1f} us")
    lines = b"\n".join([_post(number) for number in range(_BATCH_LINES)])
    batch = [_request(lines, b"application/x-ndjson")]
    batch_microseconds = await request_cost(
        open_connections(app, BoundedProtocol, 1), batch, _ROUNDS
    )
    click.echo(f"{'line of NDJSON':18} {batch_microseconds / _BATCH_LINES:.1f} us")
    for name, stage in _stages().items():
        click.echo(f"{name:18} {_stage_cost(stage):.1f} us")


if __name__ == "__main__":
    uvloop.run(_main())
