"""Serves the control socket, by which commands reach the process with the embedded warehouse."""

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

from aggregator.maintenance.operations import OPERATIONS, WarehouseOperation
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import AggregatorSettings as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.web import requests, server
from linkjolt.web.answer_headers import RequestIds

_MESSAGE_MAX_CHARACTERS = 500


def create_app(
    redis: Redis,
    clickhouse: ClickHouse,
    settings: Settings,
    pause: Callable[[], AbstractAsyncContextManager[None]],
) -> Starlette:
    """Creates the app: POST /{operation} runs an operation while the aggregator is paused."""

    def route(operation: WarehouseOperation[Any, Any]) -> Route:
        async def run_operation(request: Request) -> Response:
            body = await requests.read_body(request)
            operation_request = requests.decode(body, operation.request_type)
            async with pause():
                answer = await operation.run(redis, clickhouse, settings, operation_request)
            return requests.json_response(answer)

        return Route(f"/{operation.name}", run_operation, methods=["POST"])

    return Starlette(
        routes=[route(operation) for operation in OPERATIONS],
        middleware=[Middleware(RequestIds)],
        exception_handlers={**requests.EXCEPTION_HANDLERS, ClickHouseFailed: _clickhouse_failed},
    )


async def _clickhouse_failed(request: Request, error: Exception) -> Response:
    message = str(error)[:_MESSAGE_MAX_CHARACTERS]
    return requests.problem_response(Rejected(Reason.unavailable, message), request.scope)


async def serve(app: Starlette, path: str, stop: asyncio.Event) -> None:
    """Serves on the Unix socket at `path` until `stop`."""
    await server.serve(app, sock=None, uds=path, stop=stop, shutdown_seconds=1)
