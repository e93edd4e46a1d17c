"""The edge as an application: its routes, and what is opened before and closed after them."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ingest.clicks import Clicks
from ingest.conversions import Conversions
from ingest.edge import Edge
from ingest.publish import ClickPublisher, ConversionPublisher
from ingest.workers import claim_worker, keep_worker
from linkjolt import probes, registry_api, web
from linkjolt.addresses import parse_networks
from linkjolt.clickid import ClickIds
from linkjolt.directory import Directory
from linkjolt.keyring import load_keyring
from linkjolt.redis_client import RedisError, call, connect
from linkjolt.registry_store import Registry
from linkjolt.settings import Edge as Settings

_ROBOTS = "User-agent: *\nDisallow: /\n"
# Asks Chrome's private prefetch proxy not to fetch links on its own (its traffic advice file).
_TRAFFIC_ADVICE = b'[{"user_agent":"prefetch-proxy","disallow":true}]'
log = structlog.get_logger()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_edge(settings: Settings, stop: asyncio.Event) -> AsyncGenerator[Edge]:
    """An edge worker ready to serve; on leaving, all it accepted is published."""
    redis = connect(settings.redis_url, settings.redis_timeout_seconds)
    control = connect(settings.redis_url)
    directory = Directory(
        control,
        links_cached=settings.links_cached,
        unknown_cached=settings.unknown_codes_cached,
    )
    keyring = await load_keyring(control)
    worker = await claim_worker(control)
    edge = Edge(
        settings=settings,
        redis=control,
        directory=directory,
        keyring=keyring,
        click_ids=ClickIds(worker, keyring.click_keys[0], _now_ms),
        clicks=ClickPublisher(redis, worker % settings.shards, settings),
        conversions=[ConversionPublisher(redis, n, settings) for n in range(settings.shards)],
        trusted_proxies=parse_networks(settings.trusted_proxies),
        country_header=settings.country_header.lower().encode(),
        stop=stop,
    )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(directory.follow())]
        running.append(tasks.create_task(keep_worker(control, worker)))
        log.info("edge started", worker=worker)
        yield edge
        await edge.clicks.lane.idle()
        for publisher in edge.conversions:
            await publisher.lane.idle()
        for task in running:
            task.cancel()
    await redis.aclose()
    await control.aclose()
    log.info("edge stopped", worker=worker)


def create_app(edge: Edge) -> Starlette:
    """The routes of one edge worker."""
    conversions = Conversions(edge)
    registry = Registry(edge.redis)
    return Starlette(
        routes=[
            *probes.routes(partial(_why_not_ready, edge)),
            Route("/robots.txt", _robots),
            Route("/.well-known/traffic-advice", _traffic_advice),
            Route("/v1/conversions", conversions.post, methods=["POST"]),
            Route("/v1/conversions/{conversion_id}", conversions.get, methods=["GET"]),
            *registry_api.routes(registry, edge.directory, edge.settings.edge_url()),
            Route("/c/{tracking_code}", Clicks(edge), methods=["GET", "HEAD"]),
            Route("/{tracking_code}", Clicks(edge), methods=["GET", "HEAD"]),
        ],
        middleware=[Middleware(web.RequestIds)],
        exception_handlers=web.EXCEPTION_HANDLERS,
    )


async def _why_not_ready(edge: Edge) -> str | None:
    if edge.stop.is_set():
        return "this edge is stopping"
    try:
        await call(edge.redis, "PING")
    except RedisError:
        return "Redis cannot be reached"
    return None


async def _robots(_: Request) -> Response:
    return PlainTextResponse(_ROBOTS)


async def _traffic_advice(_: Request) -> Response:
    return Response(_TRAFFIC_ADVICE, media_type="application/trafficadvice+json")
