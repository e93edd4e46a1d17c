"""Serves an edge of this process on a socket, with the protocol that answers plain requests."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from ingest.app import create_app
from ingest.conversions.protocol import edge_protocol_factory
from ingest.edge import Edge
from linkjolt.web import server
from tests.waiting import wait_until


@asynccontextmanager
async def edge_port(edge: Edge) -> AsyncGenerator[int]:
    """Serves the edge for the duration of the block; yields its port."""
    stop = asyncio.Event()
    sock = server.listen("127.0.0.1", 0)
    port: int = sock.getsockname()[1]
    serving = asyncio.create_task(
        server.serve(
            create_app(edge),
            sock=sock,
            stop=stop,
            shutdown_seconds=1,
            protocol=edge_protocol_factory(edge),
        )
    )
    try:
        await wait_until(lambda: server.is_ready("127.0.0.1", port))
        yield port
    finally:
        stop.set()
        await serving
