"""Builds the edge's application: its routes, and the resources around them."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ingest.bootstrap import find_keyring, find_worker_number, follow_keyring
from ingest.clicks.http import ClickEndpoint, ClickMiddleware
from ingest.conversions.http import ConversionEndpoint, ConversionMiddleware
from ingest.early_adjustments import apply_early_adjustments
from ingest.edge import Edge, report_status
from ingest.oauth.http import OAuthEndpoints
from ingest.operations import operations
from ingest.postbacks.http import Postbacks
from ingest.publishing.publishers import ClickPublisher, ConversionPublisher
from ingest.publishing.spool_files import is_queued
from ingest.publishing.spools import Spools
from ingest.registry_snapshot import SqliteRegistrySnapshot
from ingest.worker_numbers import keep_worker_lease
from linkjolt import redis_keys
from linkjolt.api import resources
from linkjolt.auth.https_only import HttpsOnly
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.clicks.client_address import address_reader
from linkjolt.clicks.user_agent import build_patterns
from linkjolt.conversions.adjustments_api import Adjustments
from linkjolt.conversions.api import PATH, Conversions
from linkjolt.conversions.requested import RequestedAdjustments
from linkjolt.directory.directory import Directory
from linkjolt.registry.store import Registry
from linkjolt.runtime.background import outlive_os_errors
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.redis import RedisError, call, connect
from linkjolt.storage.sealing import Sealer
from linkjolt.web import openapi_page, probes, requests
from linkjolt.web.answer_headers import RequestIds

_ROBOTS = "User-agent: *\nDisallow: /\n"
# Asks Chrome's private prefetch proxy not to fetch links on its own (its traffic advice file).
_TRAFFIC_ADVICE = b'[{"user_agent":"prefetch-proxy","disallow":true}]'
_CACHED = {"Cache-Control": "public, max-age=86400"}
log = structlog.get_logger()


@asynccontextmanager
async def open_edge(settings: Settings, stop: asyncio.Event) -> AsyncGenerator[Edge]:
    """Opens an edge worker; on exit, publishes or spools everything it accepted."""
    fast = connect(settings.redis_url, settings.redis_timeout_seconds)
    control = connect(settings.redis_url)
    snapshot = SqliteRegistrySnapshot(Path(settings.data, "edge"))
    sealer = Sealer(settings.secret_key_path())
    keyring = await find_keyring(control, snapshot, sealer)
    worker = await find_worker_number(control)
    directory = _directory(fast, snapshot, settings)
    directory.clients.token_keys, directory.clients.sealer = keyring.token_keys, sealer
    spools = Spools(Path(settings.data, "spool"), fast, settings)
    async with asyncio.TaskGroup() as tasks:
        spools.start_draining()
        edge = Edge(
            settings=settings,
            redis=control,
            fast_redis=fast,
            directory=directory,
            sealer=sealer,
            keyring=keyring,
            click_ids=ClickIdGenerator(worker, keyring.signing_key(time.time_ns() // 1_000_000)),
            click_publisher=_click_publisher(spools, worker, settings),
            conversion_publishers=_conversion_publishers(spools, settings),
            spool_folder=spools.folder,
            stop=stop,
        )
        await _subscribe_directory(directory)
        tasks.create_task(outlive_os_errors(spools.drain_abandoned))
        loops = _background_loops(edge, worker, spools, snapshot)
        running = [tasks.create_task(outlive_os_errors(loop)) for loop in loops]
        build_patterns()
        log.info("edge started", worker=worker)
        yield edge
        await edge.wait_idle()
        await spools.stop()
        for task in running:
            task.cancel()
    for resource in (snapshot.close, fast.aclose, control.aclose):
        await resource()
    log.info("edge stopped", worker=worker)


def _background_loops(
    edge: Edge, worker: int, spools: Spools, snapshot: SqliteRegistrySnapshot
) -> list[Callable[[], Awaitable[None]]]:
    return [
        edge.directory.follow,
        partial(apply_early_adjustments, edge),
        partial(keep_worker_lease, edge.redis, worker),
        partial(report_status, edge, worker, spools),
        edge.customer_claims.make_late_claims,
        edge.rate_limits.run,
        partial(snapshot.follow, edge.redis),
        partial(follow_keyring, edge, edge.redis, snapshot),
        edge.refusals.run,
    ]


async def _subscribe_directory(directory: Directory) -> None:
    # Before anything is loaded, which would be dropped; while Redis is unavailable, later.
    with suppress(RedisError):
        await directory.start_at_feed_end()


def _click_publisher(spools: Spools, worker: int, settings: Settings) -> ClickPublisher:
    return ClickPublisher(spools.producer(redis_keys.clicks(worker % settings.shards)), settings)


def _conversion_publishers(spools: Spools, settings: Settings) -> list[ConversionPublisher]:
    shards = range(settings.shards)
    producers = [spools.producer(redis_keys.conversions(shard)) for shard in shards]
    return [
        ConversionPublisher(producer, shard, settings)
        for shard, producer in zip(shards, producers, strict=True)
    ]


def _directory(redis: Redis, snapshot: SqliteRegistrySnapshot, settings: Settings) -> Directory:
    return Directory(
        redis,
        links_cached=settings.links_cached,
        unknown_cached=settings.unknown_codes_cached,
        snapshot=snapshot,
        addresses=address_reader(settings),
    )


def create_app(edge: Edge) -> ASGIApp:
    """Returns the application of one edge worker, for any ASGI server."""
    clicks = ClickMiddleware(routed(edge), edge)
    app = ConversionMiddleware(clicks, ConversionEndpoint(edge))
    secured = HttpsOnly(app, edge.settings, edge.settings.public_url)
    return RequestIds(secured, edge.rate_limits, edge.refusals.count)


def routed(edge: Edge) -> Starlette:
    """Returns all routes, the links' too, without the middlewares ahead of them."""
    registry = Registry(edge.redis, edge.sealer)
    app = Starlette(
        routes=[
            *probes.routes(partial(_unready_reason, edge)),
            *openapi_page.routes(operations(), edge.settings.edge_url()),
            Route("/robots.txt", _robots),
            Route("/.well-known/traffic-advice", _traffic_advice),
            Route(PATH, ConversionEndpoint(edge), methods=["POST"]),
            *_adjustments(edge),
            *Postbacks(edge).routes(),
            *OAuthEndpoints(edge).routes(),
            *resources.routes(registry, edge.directory, edge.settings),
            Route("/c/{tracking_code}", ClickEndpoint(edge), methods=["GET", "HEAD"]),
            Route("/{tracking_code}", ClickEndpoint(edge), methods=["GET", "HEAD"]),
        ],
        exception_handlers=requests.EXCEPTION_HANDLERS,
    )
    # A redirect composed from the Host header would let a sender choose its target.
    app.router.redirect_slashes = False
    return app


def _adjustments(edge: Edge) -> list[BaseRoute]:
    async def waits_for_redis(conversion_id: str) -> bool:
        return await asyncio.to_thread(is_queued, edge.spool_folder, conversion_id)

    requested = RequestedAdjustments(edge.early, waits_for_redis)
    conversions = Conversions(edge.redis, edge.directory, edge.settings.shards, requested)
    adjustments = Adjustments(edge.redis, edge.directory, edge.early, requested)
    return [*conversions.routes(), *adjustments.routes()]


async def _unready_reason(edge: Edge) -> str | None:
    if edge.stop.is_set():
        return "this edge is stopping"
    try:
        await call(edge.redis, "PING")
    except RedisError:
        return "Redis cannot be reached"
    return None


async def _robots(_: Request) -> Response:
    return PlainTextResponse(_ROBOTS, headers=_CACHED)


async def _traffic_advice(_: Request) -> Response:
    media_type = "application/trafficadvice+json"
    return Response(_TRAFFIC_ADVICE, headers=_CACHED, media_type=media_type)
