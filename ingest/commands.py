"""`linkjolt edge`: one edge worker, alone."""

import asyncio
import gc

import click

from ingest.app import create_app, open_edge
from ingest.conversions.protocol import edge_protocol
from linkjolt.runtime.instance import find_redis_url
from linkjolt.runtime.lifecycle import run
from linkjolt.settings import Edge, load
from linkjolt.web import server

# Objects made and not yet dropped; Python's own 700 are fewer than one batch holds.
_COLLECT_AFTER = 20_000


@click.command()
@click.option("--host", help="Address to bind.")
@click.option("--edge-port", type=int, help="Port; several edges may share it.")
@click.option("--data", help="Data directory of the running instance.")
def edge(host: str | None, edge_port: int | None, data: str | None) -> None:
    """Serves tracking links and conversions in one process."""

    async def main(stop: asyncio.Event) -> None:
        overrides = {"host": host, "edge_port": edge_port, "data": data}
        settings = load(Edge, overrides=overrides)
        url = find_redis_url(settings.data, settings.redis_url)
        settings = load(Edge, overrides={**overrides, "redis_url": url})
        sock = server.listen(settings.host, settings.edge_port)
        async with open_edge(settings, stop) as worker:
            _spare_collector()
            await server.serve(
                create_app(worker),
                sock=sock,
                stop=stop,
                shutdown_seconds=settings.shutdown_seconds,
                protocol=edge_protocol(worker),
            )

    run(main)


def _spare_collector() -> None:
    """What is here at the start stays: the garbage collector need not look at it time and again.

    With its own settings it takes a sixth of an edge's time under batches of conversions.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)
