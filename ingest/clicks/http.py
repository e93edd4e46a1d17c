"""Answers tracking links over HTTP: ASGI shells around the pure `resolve_click`."""

import asyncio

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest import metrics
from ingest.edge import Edge
from linkjolt.clicks.redirect import parse_query, resolve_click
from linkjolt.clicks.route import Route
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import public_id
from linkjolt.web import requests

_ANSWER_HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
_PREFETCH_HEADERS = (b"sec-purpose", b"purpose", b"x-moz")
# A redirect's location; the future is done when the click is on disk, or counted as shed.
PendingRedirect = tuple[str, asyncio.Future[None] | None]


def resolve_redirect(edge: Edge, route: Route, query: str, visitor_json: str) -> tuple[str, str]:
    """Returns a click's redirect location and the stream line to publish before redirecting.

    The link is open. The line is '' where the click asks not to be recorded. `query` is raw;
    `visitor_json` comes from `visitor_fields.VisitorReader`.
    """
    pairs = parse_query(query) if query else ()
    click_id = edge.click_ids.make(route.link.number)
    location, line = resolve_click(route, pairs, visitor_json, click_id)
    if pairs and ("notrack", "1") in pairs:
        return location, ""
    return location, line


class ClickEndpoint:
    """Answers GET and HEAD of `/{tracking_code}` and `/c/{tracking_code}`.

    A trailing `+` previews the link.
    """

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        code: str = scope["path_params"]["tracking_code"]
        route = await self._route(code.removesuffix("+"))
        if code.endswith("+"):
            return _answer_preview(route)
        if is_speculative(scope):
            raise Rejected(Reason.prefetch_declined, "ask again when the visitor clicks")
        if route.closed:
            return _answer_closed(route)
        location, durable = _start_redirect(self._edge, route, scope)
        if durable:
            await durable
        return _redirect(location)

    async def _route(self, code: str) -> Route:
        directory = self._edge.directory
        route = directory.cached_route(code) or await directory.route(code)
        if route is None:
            metrics.UNKNOWN_CODES.inc()
            raise Rejected(Reason.not_found, "no such tracking link")
        return route


class ClickMiddleware:
    """Answers clicks on cached links ahead of the router, which costs as much as a click."""

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self.app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        pending = self._try_redirect(scope) if scope["type"] == "http" else None
        if pending is None:
            await self.app(scope, receive, send)
            return
        location, durable = pending
        if durable:
            await durable
        await _redirect(location)(scope, receive, send)

    def _try_redirect(self, scope: Scope) -> PendingRedirect | None:
        code = scope["path"][1:].removeprefix("c/")
        route = self._edge.directory.cached_route(code)
        if route is None or scope["method"] not in ("GET", "HEAD"):
            return None
        if route.closed or is_speculative(scope):
            return None
        return _start_redirect(self._edge, route, scope)


def visitor_json_of(edge: Edge, scope: Scope) -> str:
    """Reads the visitor's fields, as `VisitorReader.visitor_json`."""
    # Latin-1 keeps every byte (RFC 9110, 5.5).
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    headers = dict(reversed(lines))
    client_ip = edge.visitor_reader.client_ip_header
    if client_ip in headers:
        # Several lines form one list (RFC 9110, 5.3): a proxy may add its entry as a line.
        headers[client_ip] = ",".join([value for name, value in lines if name == client_ip])
    return edge.visitor_reader.visitor_json(scope["client"], scope["method"], headers)


def _start_redirect(edge: Edge, route: Route, scope: Scope) -> PendingRedirect:
    query = scope["query_string"].decode("latin-1")
    location, line = resolve_redirect(edge, route, query, visitor_json_of(edge, scope))
    return location, edge.click_publisher.publish(line) if line else None


def is_speculative(scope: Scope) -> bool:
    """Returns True for a browser's prefetch or prerender (Sec-Purpose, Purpose, X-Moz)."""
    return any(
        name in _PREFETCH_HEADERS and value.startswith(b"prefetch")
        for name, value in scope["headers"]
    )


def _redirect(location: str) -> Response:
    return Response(status_code=302, headers={**_ANSWER_HEADERS, "Location": location})


def _answer_closed(route: Route) -> Response:
    if route.link.fallback_url:
        return _redirect(route.link.fallback_url)
    raise Rejected(Reason.gone, "this tracking link is closed")


class LinkPreview(msgspec.Struct, frozen=True):
    """A tracking link as `/{tracking_code}+` shows it; nothing is counted."""

    tracking_code: str
    destination: str
    campaign_id: str
    affiliate_id: str
    active: bool


def _answer_preview(route: Route) -> Response:
    shown = LinkPreview(
        tracking_code=route.link.tracking_code,
        destination=route.link.destination,
        campaign_id=public_id("campaign", route.link.campaign),
        affiliate_id=public_id("affiliate", route.link.affiliate),
        active=not route.closed,
    )
    return requests.json_response(shown, headers=_ANSWER_HEADERS)
