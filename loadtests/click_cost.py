"""Measures the CPU time of a click at the edge, by code path, without network and Redis.

`python -m loadtests.click_cost` sends the same request through many connections of an edge in
this process and prints microseconds per click: through the router, through the middleware that
recognises clicks first, and through the protocol that answers plain clicks itself.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import click
import uvloop
from starlette.types import ASGIApp

from ingest.app import routed
from ingest.clicks.http import ClickMiddleware
from ingest.conversions.protocol import edge_protocol_factory
from ingest.edge import Edge
from ingest.publishing.publishers import ClickPublisher
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.registry.keyring import Keyring
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import connect
from linkjolt.storage.sealing import Sealer
from linkjolt.web.answer_headers import RequestIds
from linkjolt.web.connections.bounded_protocol import BoundedProtocol
from loadtests.in_process import CONNECTIONS, OneLinkDirectory, open_connections, request_cost

_ROUNDS = 300
_AGENT = b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_SHORT = b"GET /tc_A HTTP/1.1\r\nHost: localhost:8000\r\nUser-Agent: " + _AGENT + b"\r\n\r\n"
_BROWSER = (
    b"GET /tc_A?sub1=spring&utm_source=mail HTTP/1.1\r\nHost: localhost:8000\r\n"
    b"User-Agent: " + _AGENT + b"\r\nAccept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n"
    b"Connection: keep-alive\r\nReferer: https://blog.example.com/post/1\r\n"
    b"Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Dest: document\r\nSec-Fetch-Mode: navigate\r\n"
    b"Sec-Fetch-Site: cross-site\r\nSec-Fetch-User: ?1\r\n\r\n"
)


class _FrameSink:
    """Accepts every frame in the next turn of the loop."""

    async def send(self, *_: object) -> list[bytes]:
        await asyncio.sleep(0)
        return []


def _edge() -> Edge:
    settings, key = Settings(), b"k" * 32
    return Edge(
        settings=settings,
        redis=connect("redis://"),
        fast_redis=connect("redis://"),
        directory=OneLinkDirectory(),
        sealer=Sealer(Path("no.key")),
        keyring=Keyring((key,), key),
        click_ids=ClickIdGenerator(1, key),
        click_publisher=ClickPublisher(cast(Any, _FrameSink()), settings),
        conversion_publishers=[],
        spool_folder=Path(),
        stop=asyncio.Event(),
    )


async def _main() -> None:
    edge = _edge()
    router = routed(edge)
    paths: list[tuple[str, ASGIApp, Callable[..., BoundedProtocol]]] = [
        ("router", RequestIds(router), BoundedProtocol),
        ("application", RequestIds(ClickMiddleware(router, edge)), BoundedProtocol),
        ("protocol", RequestIds(router), edge_protocol_factory(edge)),
    ]
    for name, request in (("short", _SHORT), ("browser", _BROWSER)):
        sent = [request] * CONNECTIONS
        costs = [await request_cost(open_connections(app, p), sent, _ROUNDS) for _, app, p in paths]
        shown = ", ".join(
            f"{way[0]} {spent:.1f} us ({costs[0] / spent:.1f}x)"
            for way, spent in zip(paths, costs, strict=True)
        )
        click.echo(f"{name:8} {shown}")


if __name__ == "__main__":
    uvloop.run(_main())
