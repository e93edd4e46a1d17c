"""The reports listener: its routes, and what they answer when a server is away."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from hashlib import blake2s

import structlog
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from linkjolt.api import routes
from linkjolt.auth.access import authenticate, bearer, identify, require_any
from linkjolt.conversions.api import PATH, READ_SCOPES, Conversions
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.store import Registry
from linkjolt.settings import Reports as Settings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.redis import RedisError, call
from linkjolt.web import openapi_page, probes, requests
from reports import csv, static
from reports.answer.answers import Answers
from reports.answer.report import Report, Reporter, Tops
from reports.answer.rows import csv_columns, csv_row
from reports.balance import Balances
from reports.freshness import data_as_of
from reports.live.feed import Feed
from reports.live.live import Live
from reports.live.store import LiveStore
from reports.log import conversion_request
from reports.log import request as log_request
from reports.log.conversions import ConversionList
from reports.log.log import Log
from reports.names import NameCache
from reports.operations import operations
from reports.query.request import parse_request
from reports.query.top_request import parse_tops

_SCOPE = "reports:read"
_EVENTS_SCOPE = "events:read"
_log = structlog.get_logger()


class Reports:
    """The endpoints of reports, for the account of the request's key."""

    def __init__(
        self, settings: Settings, redis: Redis, clickhouse: ClickHouse, directory: Directory
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._clickhouse = clickhouse
        self._directory = directory
        self._named = NameCache(clickhouse)
        self._reports = Answers(Reporter.make, redis, clickhouse, settings, self._named)
        self._tops = Answers(Reporter.tops, redis, clickhouse, settings, self._named)
        self.balances = Balances(redis, clickhouse, settings.shards)

    def routes(self) -> list[Route]:
        """What these endpoints are reached by."""
        return [
            Route("/v1/reports", self.report, methods=["GET"]),
            Route("/v1/reports/top", self.tops, methods=["GET"]),
            Route("/v1/events", self.events, methods=["GET"]),
            Route("/v1/balance", self.balance, methods=["GET"]),
            Route(PATH, self.conversions, methods=["GET"]),
        ]

    async def report(self, request: Request) -> Response:
        """GET /v1/reports (API §4)."""
        key = await authenticate(request, self._directory, _SCOPE)
        wanted = parse_request(request.query_params.multi_items(), datetime.now(UTC))
        if wanted.whole:
            reporter = Reporter(
                key.books, self._redis, self._clickhouse, self._settings, self._named
            )
            as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
            return await csv.stream(reporter.csv(wanted, as_of), "report")
        found = await self._reports.get(key.books, wanted)
        if wanted.format == "json":
            return _unless_known(request, found, (found.data, found.totals, found.next_cursor))
        rows = [csv_columns(wanted), *(csv_row(wanted, row) for row in found.data)]
        return csv.page(rows, "report", found.next_cursor)

    async def tops(self, request: Request) -> Response:
        """GET /v1/reports/top: the first rows by several dimensions."""
        key = await authenticate(request, self._directory, _SCOPE)
        wanted = parse_tops(request.query_params.multi_items(), datetime.now(UTC))
        found = await self._tops.get(key.books, wanted)
        return _unless_known(request, found, found.data)

    async def conversions(self, request: Request) -> Response:
        """GET /v1/conversions: the list."""
        key = await identify(bearer(request.scope), self._directory)
        require_any(key, READ_SCOPES)
        wanted = conversion_request.read_wanted(
            request.query_params.multi_items(), datetime.now(UTC)
        )
        found = ConversionList(key.books, self._redis, self._clickhouse, self._settings)
        return await found.answer(wanted)

    async def events(self, request: Request) -> Response:
        """GET /v1/events: the log."""
        key = await authenticate(request, self._directory, _EVENTS_SCOPE)
        wanted = log_request.read_wanted(request.query_params.multi_items(), datetime.now(UTC))
        log = Log(key.books, self._redis, self._clickhouse, self._settings)
        return await log.answer(wanted)

    async def balance(self, request: Request) -> Response:
        """GET /v1/balance: of the whole installation, not of one account."""
        await authenticate(request, self._directory, _SCOPE)
        return requests.json_response(await self.balances.read())

    async def why_not_ready(self) -> str | None:
        try:
            await call(self._redis, "PING")
            # Of the last table that is made: before it is there, reports could not answer.
            await self._clickhouse.execute("SELECT number FROM registry LIMIT 1")
        except RedisError:
            return "Redis cannot be reached"
        except ClickHouseFailed:
            return "ClickHouse cannot be reached"
        return None


def create_app(
    settings: Settings,
    redis: Redis,
    clickhouse: ClickHouse,
    directory: Directory,
    stop: asyncio.Event,
) -> Starlette:
    """The application; the caller runs `directory.follow` beside it and closes what it gave.

    When `stop` is set the live feed ends, which would hold up the drain.
    """
    reports = Reports(settings, redis, clickhouse, directory)
    feed = Feed(LiveStore(redis, clickhouse, settings.shards))
    live = Live(feed, directory, settings.live_clients_max)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        watching = asyncio.create_task(reports.balances.watch())
        feeding = asyncio.create_task(feed.run(stop))
        yield
        watching.cancel()
        feeding.cancel()

    return Starlette(
        lifespan=lifespan,
        routes=[
            *static.routes(),
            *probes.routes(reports.why_not_ready),
            *reports.routes(),
            Route("/v1/live", live.get, methods=["GET"]),
            *Conversions(redis, directory, settings).routes(),
            *openapi_page.routes(operations(), settings.reports_url()),
            *routes.routes(Registry(redis), directory, settings),
        ],
        middleware=[Middleware(requests.RequestIds)],
        exception_handlers={**requests.EXCEPTION_HANDLERS, ClickHouseFailed: _clickhouse_away},
    )


def _unless_known(request: Request, found: Report | Tops, content: object) -> Response:
    """The answer, or 304 where the client has it: all but how fresh and how quick it is."""
    kept = found.meta.start, found.meta.end, found.meta.incomplete, found.meta.compared
    told = requests.encode((content, kept))
    headers = {"ETag": f'W/"{blake2s(told, digest_size=12).hexdigest()}"'}
    if found.meta.data_as_of:
        headers["X-Data-As-Of"] = found.meta.data_as_of.isoformat()
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return requests.json_response(found, headers={"Cache-Control": "private, no-cache", **headers})


async def _clickhouse_away(request: Request, error: Exception) -> Response:
    _log.warning("clickhouse_away", error=str(error)[:500])
    refused = Rejected(Reason.unavailable, "ClickHouse cannot answer now")
    return requests.problem_response(refused, request.scope)
