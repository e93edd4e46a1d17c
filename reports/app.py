"""Serves reports, lists, the live feed, the registry API and the dashboard on one listener."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2s

import msgspec
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.api import resources
from linkjolt.auth.access import authorize_request, identify_sender
from linkjolt.auth.https_only import HttpsOnly
from linkjolt.auth.people.session_cookies import SessionCookies, WithSessions
from linkjolt.auth.rate_limits import RateLimits
from linkjolt.auth.refused_authentications import RefusedAuthentications
from linkjolt.balance.stale import stale_rule
from linkjolt.conversions.adjustments_api import Adjustments
from linkjolt.conversions.api import PATH, READ_SCOPE, Conversions
from linkjolt.conversions.early.adjustments import EarlyAdjustments
from linkjolt.conversions.requested import RequestedAdjustments
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.directory.directory import Directory
from linkjolt.logs import MinuteLine
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.store import Registry
from linkjolt.runtime.background import outlive_os_errors
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse, ClickHouseFailed
from linkjolt.storage.sealing import Sealer
from linkjolt.web import openapi_page, probes, requests
from linkjolt.web.answer_headers import RequestIds
from linkjolt.webhooks.deliveries.log import WarehouseDeliveryLog
from reports import csv, people, static
from reports.answer.cache import ReportCache
from reports.answer.report import Report, ReportBuilder, TopRows
from reports.answer.rows import csv_columns, csv_row
from reports.balance import BalanceReader
from reports.freshness import data_as_of
from reports.live.feed import LiveFeed
from reports.live.http import LiveEndpoint
from reports.live.store import LiveStore
from reports.log.audit import SCOPE as AUDIT_SCOPE
from reports.log.audit import AuditLogReader, parse_audit_query
from reports.log.conversion_request import parse_list_query
from reports.log.conversions import ConversionList
from reports.log.event_request import parse_log_query
from reports.log.events import EventLog
from reports.log.listing import narrowed_affiliate
from reports.names import NameCache
from reports.open_answers import OpenAnswers
from reports.operations import operations
from reports.query.request import narrowed, parse_request, parse_tops
from reports.readiness import wait_until_ready, why_not_ready

_SCOPE = "reports:read"
_EVENTS_SCOPE = "events:read"
_unavailable = MinuteLine(logging.WARNING, "requests refused, clickhouse unavailable")
# Of one key at once: each holds a temporary file.
_DOWNLOADS_MAX = 8


class ReportEndpoints:
    """Answers the routes of reports and lists, for the dataset of the request's key."""

    def __init__(
        self, settings: ReportsSettings, redis: Redis, clickhouse: ClickHouse, directory: Directory
    ) -> None:
        self._settings = settings
        self._redis = redis
        self._clickhouse = clickhouse
        self._directory = directory
        self._names = NameCache(clickhouse)
        self._reports = ReportCache(ReportBuilder.report, redis, clickhouse, settings, self._names)
        self._tops = ReportCache(ReportBuilder.tops, redis, clickhouse, settings, self._names)
        self._downloads = OpenAnswers("CSV downloads", _DOWNLOADS_MAX)
        self.balances = BalanceReader(redis, clickhouse, settings.shards, stale_rule(settings))

    def routes(self) -> list[Route]:
        """Lists the routes of these endpoints."""
        return [
            Route("/v1/reports", self.get_report, methods=["GET"]),
            Route("/v1/reports/top", self.get_top_rows, methods=["GET"]),
            Route("/v1/events", self.list_events, methods=["GET"]),
            Route("/v1/audit", self.list_audit_log, methods=["GET"]),
            Route("/v1/balance", self.get_balance, methods=["GET"]),
            Route(PATH, self.list_conversions, methods=["GET"]),
        ]

    async def get_report(self, request: Request) -> Response:
        """Answers GET /v1/reports (API §4)."""
        key = await authorize_request(request, self._directory, _SCOPE, narrows=True)
        query = parse_request(request.query_params.multi_items(), datetime.now(UTC))
        query = narrowed(query, key.affiliate)
        if query.every_row:
            builder = ReportBuilder(
                key.dataset, self._redis, self._clickhouse, self._settings, self._names
            )
            as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
            texts = builder.csv(query, as_of)
            return await csv.stream_response(texts, "report", self._download(request, key))
        report = await self._reports.get(key.dataset, query)
        if query.format == "json":
            content = report.data, report.totals, report.next_cursor, key.affiliate
            return _conditional_response(request, report, content)
        rows = [csv_columns(query), *(csv_row(query, row) for row in report.data)]
        return csv.page_response(rows, "report", report.next_cursor)

    async def get_top_rows(self, request: Request) -> Response:
        """Answers GET /v1/reports/top: the first rows by several dimensions."""
        key = await authorize_request(request, self._directory, _SCOPE, narrows=True)
        query = parse_tops(request.query_params.multi_items(), datetime.now(UTC))
        top_rows = await self._tops.get(key.dataset, narrowed(query, key.affiliate))
        return _conditional_response(request, top_rows, (top_rows.data, key.affiliate))

    async def list_conversions(self, request: Request) -> Response:
        """Answers GET /v1/conversions."""
        key = await authorize_request(request, self._directory, READ_SCOPE, narrows=True)
        query = parse_list_query(request.query_params.multi_items(), datetime.now(UTC))
        query = query.narrowed_to(key.affiliate)
        conversions = ConversionList(key.dataset, self._redis, self._clickhouse, self._settings)
        return await conversions.answer(query, self._download(request, key))

    async def list_events(self, request: Request) -> Response:
        """Answers GET /v1/events, the event log."""
        key = await authorize_request(request, self._directory, _EVENTS_SCOPE, narrows=True)
        query = parse_log_query(request.query_params.multi_items(), datetime.now(UTC))
        affiliate = narrowed_affiliate(query.affiliate, key.affiliate)
        query = msgspec.structs.replace(query, affiliate=affiliate)
        log = EventLog(key.dataset, self._redis, self._clickhouse, self._settings)
        return await log.answer(query, self._download(request, key))

    async def list_audit_log(self, request: Request) -> Response:
        """Answers GET /v1/audit: who changed what in the account."""
        key = await authorize_request(request, self._directory, AUDIT_SCOPE)
        if key.test:
            message = "a test key reads nothing of the audit log: use a live key"
            raise Rejected(Reason.forbidden, message)
        query = parse_audit_query(request.query_params.multi_items(), datetime.now(UTC))
        log = AuditLogReader(key.account, self._clickhouse)
        return await log.answer(query, self._download(request, key))

    def _download(self, request: Request, key: ApiKey) -> csv.Download:
        check = partial(identify_sender, request.scope, self._directory)
        return csv.Download(partial(self._downloads.opened, key), check)

    async def get_balance(self, request: Request) -> Response:
        """Answers GET /v1/balance, of the whole installation rather than of one account."""
        key = await authorize_request(request, self._directory, _SCOPE)
        if key.account != ACCOUNT_DEFAULT:
            message = "the balance is that of all accounts: only the operator's account reads it"
            raise Rejected(Reason.forbidden, message)
        return requests.json_response(await self.balances.read())


def create_app(
    settings: ReportsSettings,
    redis: Redis,
    clickhouse: ClickHouse,
    directory: Directory,
    stop: asyncio.Event,
    sealer: Sealer | None = None,
) -> Starlette:
    """Creates the application; the caller runs `directory.follow` and closes what it passed.

    Once `stop` is set the live feed ends, which would otherwise delay the shutdown.
    """
    directory.clients.sealer = sealer
    reports = ReportEndpoints(settings, redis, clickhouse, directory)
    refusals = RefusedAuthentications(redis, directory)
    feed = LiveFeed(LiveStore(redis, clickhouse, settings.shards))
    live = LiveEndpoint(feed, directory, settings)
    rate_limits = RateLimits(redis, settings)
    cookies = people.session_cookies(settings, redis)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        watching = _watch_balance(reports.balances, redis, clickhouse)
        limiting = outlive_os_errors(rate_limits.run)
        async with _running(watching, feed.run(stop), limiting, refusals.run()):
            yield

    return Starlette(
        lifespan=lifespan,
        routes=[
            *static.routes(),
            *probes.routes(partial(why_not_ready, redis, clickhouse)),
            *reports.routes(),
            Route("/v1/live", live.stream, methods=["GET"]),
            *openapi_page.routes(operations(), settings.reports_url(), settings.edge_url()),
            *_api_routes(settings, Registry(redis, sealer), clickhouse, directory, cookies),
        ],
        middleware=_middleware(settings, rate_limits, refusals, cookies),
        exception_handlers={**requests.EXCEPTION_HANDLERS, ClickHouseFailed: _unavailable_answer},
    )


def _middleware(
    settings: ReportsSettings,
    rate_limits: RateLimits,
    refusals: RefusedAuthentications,
    cookies: SessionCookies,
) -> list[Middleware]:
    return [
        Middleware(RequestIds, rate_limits, refusals.count),
        # It tells over which scheme the browser came, which the cookies' names depend on.
        Middleware(HttpsOnly, settings, settings.reports_public_url),
        Middleware(WithSessions, cookies),
    ]


@asynccontextmanager
async def _running(*loops: Coroutine[None, None, None]) -> AsyncGenerator[None]:
    tasks = [asyncio.create_task(loop) for loop in loops]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _adjustment_routes(
    settings: ReportsSettings, redis: Redis, directory: Directory
) -> list[BaseRoute]:
    early = EarlyAdjustments(redis, settings.shards, settings.conversion_state_days)
    requested = RequestedAdjustments(early)
    return [
        *Conversions(redis, directory, settings.shards, requested).routes(),
        *Adjustments(redis, directory, early, requested).routes(),
    ]


def _api_routes(
    settings: ReportsSettings,
    registry: Registry,
    clickhouse: ClickHouse,
    directory: Directory,
    cookies: SessionCookies,
) -> list[BaseRoute]:
    log = WarehouseDeliveryLog(clickhouse)
    return [
        *_adjustment_routes(settings, registry.redis, directory),
        *people.routes(cookies, registry),
        *resources.routes(registry, directory, settings, log),
    ]


async def _watch_balance(balances: BalanceReader, redis: Redis, clickhouse: ClickHouse) -> None:
    # Before the first migration there is nothing to count, and to try would log an error.
    await wait_until_ready(redis, clickhouse)
    await balances.refresh_metrics()


def _conditional_response(request: Request, report: Report | TopRows, content: object) -> Response:
    """Answers the report, or 304 if the client has it; freshness and speed are not compared."""
    meta = report.meta
    compared = requests.encode((content, (meta.start, meta.end, meta.incomplete, meta.compared)))
    # The client alone may keep it, and asks each time whether it is still valid.
    etag = f'W/"{blake2s(compared, digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if meta.data_as_of:
        headers["X-Data-As-Of"] = meta.data_as_of.isoformat()
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    return requests.json_response(report, headers=headers)


async def _unavailable_answer(request: Request, error: Exception) -> Response:
    _unavailable.count(error=error)
    refused = Rejected(Reason.unavailable, "ClickHouse cannot answer now")
    return requests.problem_response(refused, request.scope)
