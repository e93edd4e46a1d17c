"""Serves /healthz, /readyz and /metrics on every listener."""

import os
from collections.abc import Awaitable, Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from linkjolt.reasons import Reason, Rejected

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def routes(why_not_ready: Callable[[], Awaitable[str | None]]) -> list[BaseRoute]:
    """The three routes; `why_not_ready` answers None when requests may come."""

    async def ready(_: Request) -> Response:
        reason = await why_not_ready()
        if reason is not None:
            raise Rejected(Reason.not_ready, reason)
        return PlainTextResponse("ready\n")

    return [Route("/healthz", _healthy), Route("/readyz", ready), Route("/metrics", _metrics)]


async def _healthy(_: Request) -> Response:
    return PlainTextResponse("ok\n")


async def _metrics(_: Request) -> Response:
    return Response(metrics_text(), media_type=CONTENT_TYPE_LATEST)


def metrics_text() -> bytes:
    """This process's metrics, or those of all processes that share the port."""
    if MULTIPROCESS_VARIABLE not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
