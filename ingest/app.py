"""The edge as an application: its routes, and what is opened before and closed after them."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ingest.bootstrap import find_keyring, find_worker
from ingest.clicks.http import Clicks, ClicksFirst
from ingest.conversions.http import ConversionPosts, ConversionsFirst
from ingest.edge import Edge
from ingest.operations import operations
from ingest.postbacks.http import Postbacks
from ingest.publishing.publishers import ClickPublisher, ConversionPublisher
from ingest.publishing.spool_files import queued
from ingest.publishing.spools import Spools
from ingest.registry_snapshot import Snapshot
from ingest.status_report import keep_telling
from ingest.worker_numbers import keep_worker
from linkjolt import redis_keys
from linkjolt.api import routes
from linkjolt.click_ids import ClickIds
from linkjolt.clicks.user_agent import read_agent
from linkjolt.conversions.api import PATH, Conversions
from linkjolt.directory.directory import Directory
from linkjolt.registry.store import Registry
from linkjolt.settings import Edge as Settings
from linkjolt.storage.redis import RedisError, call, connect
from linkjolt.web import openapi_page, probes, requests

_ROBOTS = "User-agent: *\nDisallow: /\n"
# Asks Chrome's private prefetch proxy not to fetch links on its own (its traffic advice file).
_TRAFFIC_ADVICE = b'[{"user_agent":"prefetch-proxy","disallow":true}]'
# The first look at any user agent builds the patterns, which takes a third of a second.
_FIRST_AGENT = "Mozilla/5.0"
log = structlog.get_logger()


@asynccontextmanager
async def open_edge(settings: Settings, stop: asyncio.Event) -> AsyncGenerator[Edge]:
    """An edge worker ready to serve; on leaving, all it accepted is published or spooled."""
    fast = connect(settings.redis_url, settings.redis_timeout_seconds)
    control = connect(settings.redis_url)
    snapshot = Snapshot(Path(settings.data, "edge"))
    keyring = await find_keyring(control, snapshot)
    worker = await find_worker(control)
    spools = Spools(Path(settings.data, "spool"), fast, settings)
    async with asyncio.TaskGroup() as tasks:
        spools.start(tasks)
        edge = Edge(
            settings=settings,
            redis=control,
            fast=fast,
            directory=_directory(fast, snapshot, settings),
            keyring=keyring,
            click_ids=ClickIds(worker, keyring.click_keys[0]),
            clicks=_click_publisher(spools, worker, settings),
            conversions=_conversion_publishers(spools, settings),
            spool_folder=spools.folder,
            stop=stop,
        )
        await _begin(edge.directory)
        running = [
            tasks.create_task(edge.directory.follow()),
            tasks.create_task(keep_worker(control, worker)),
            tasks.create_task(snapshot.follow(control)),
            tasks.create_task(keep_telling(edge, worker, spools)),
        ]
        read_agent(_FIRST_AGENT)
        log.info("edge started", worker=worker)
        yield edge
        await edge.idle()
        await spools.stop()
        for task in running:
            task.cancel()
    await snapshot.close()
    await fast.aclose()
    await control.aclose()
    log.info("edge stopped", worker=worker)


async def _begin(directory: Directory) -> None:
    # Before anything is loaded, which would be forgotten; where Redis is away, later.
    with suppress(RedisError):
        await directory.begin()


def _click_publisher(spools: Spools, worker: int, settings: Settings) -> ClickPublisher:
    return ClickPublisher(spools.outlet(redis_keys.clicks(worker % settings.shards)), settings)


def _conversion_publishers(spools: Spools, settings: Settings) -> list[ConversionPublisher]:
    shards = range(settings.shards)
    outlets = [spools.outlet(redis_keys.conversions(shard)) for shard in shards]
    return [
        ConversionPublisher(outlet, shard, settings)
        for shard, outlet in zip(shards, outlets, strict=True)
    ]


def _directory(redis: Redis, snapshot: Snapshot, settings: Settings) -> Directory:
    return Directory(
        redis,
        links_cached=settings.links_cached,
        unknown_cached=settings.unknown_codes_cached,
        last_known=snapshot,
    )


def create_app(edge: Edge) -> ASGIApp:
    """The routes of one edge worker, for any ASGI server."""
    posts = ConversionsFirst(routed(edge), ConversionPosts(edge))
    return requests.RequestIds(ClicksFirst(posts, edge))


def routed(edge: Edge) -> Starlette:
    """All routes, the links' too, without what stands before them."""
    registry = Registry(edge.redis)
    app = Starlette(
        routes=[
            *probes.routes(partial(_why_not_ready, edge)),
            *openapi_page.routes(operations(), edge.settings.edge_url()),
            Route("/robots.txt", _robots),
            Route("/.well-known/traffic-advice", _traffic_advice),
            Route(PATH, ConversionPosts(edge), methods=["POST"]),
            *_conversions(edge).routes(),
            *Postbacks(edge).routes(),
            *routes.routes(registry, edge.directory, edge.settings),
            Route("/c/{tracking_code}", Clicks(edge), methods=["GET", "HEAD"]),
            Route("/{tracking_code}", Clicks(edge), methods=["GET", "HEAD"]),
        ],
        exception_handlers=requests.EXCEPTION_HANDLERS,
    )
    # A redirect made of the Host header is none of ours to give.
    app.router.redirect_slashes = False
    return app


def _conversions(edge: Edge) -> Conversions:
    async def is_queued(conversion_id: str) -> bool:
        return await asyncio.to_thread(queued, edge.spool_folder, conversion_id)

    return Conversions(edge.redis, edge.directory, edge.settings, is_queued)


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
