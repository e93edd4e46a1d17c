"""The control socket: commands reach the process that holds the embedded warehouse."""

import asyncio

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aggregator.audit import audit
from linkjolt import server, web
from linkjolt.clickhouse import ClickHouse
from linkjolt.settings import Aggregator as Settings


def create_app(
    redis: Redis, clickhouse: ClickHouse, settings: Settings, quiet: asyncio.Lock
) -> Starlette:
    """GET /audit, run while the aggregator stands still."""

    async def run_audit(_: Request) -> Response:
        async with quiet:
            return web.json_response(await audit(redis, clickhouse, settings.shards))

    return Starlette(
        routes=[Route("/audit", run_audit)],
        middleware=[Middleware(web.RequestIds)],
        exception_handlers=web.EXCEPTION_HANDLERS,
    )


async def serve(app: Starlette, path: str, stop: asyncio.Event) -> None:
    """Serves on the Unix socket at `path` until `stop`."""
    await server.serve(app, sock=None, uds=path, stop=stop, shutdown_seconds=1)
