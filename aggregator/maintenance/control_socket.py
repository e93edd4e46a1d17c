"""The control socket: commands reach the process that holds the embedded warehouse."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aggregator.maintenance.operations import OPERATIONS, Operation
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import Aggregator as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.web import requests, server

_MESSAGE_MAX_CHARACTERS = 500


def create_app(
    redis: Redis,
    clickhouse: ClickHouse,
    settings: Settings,
    quiet: Callable[[], AbstractAsyncContextManager[None]],
) -> Starlette:
    """POST /{operation}, each run while the aggregator stands still."""

    def route(operation: Operation[Any, Any]) -> Route:
        async def answer(request: Request) -> Response:
            wanted = requests.decode(await requests.read_body(request), operation.takes)
            async with quiet():
                done = await operation.run(redis, clickhouse, settings, wanted)
            return requests.json_response(done)

        return Route(f"/{operation.name}", answer, methods=["POST"])

    return Starlette(
        routes=[route(operation) for operation in OPERATIONS],
        middleware=[Middleware(requests.RequestIds)],
        exception_handlers={**requests.EXCEPTION_HANDLERS, ClickHouseFailed: _clickhouse_failed},
    )


async def _clickhouse_failed(request: Request, error: Exception) -> Response:
    message = str(error)[:_MESSAGE_MAX_CHARACTERS]
    return requests.problem_response(Rejected(Reason.unavailable, message), request.scope)


async def serve(app: Starlette, path: str, stop: asyncio.Event) -> None:
    """Serves on the Unix socket at `path` until `stop`."""
    await server.serve(app, sock=None, uds=path, stop=stop, shutdown_seconds=1)
