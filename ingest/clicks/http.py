"""Tracking links over HTTP: the thin shells around `resolve_click`."""

import asyncio

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest import metrics
from ingest.edge import Edge
from ingest.visitor_fields import FORWARDED
from linkjolt.clicks.redirect import read_query, resolve_click
from linkjolt.clicks.route import Route
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import public_id
from linkjolt.web import requests

_ANSWER_HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
_SPECULATIVE = (b"sec-purpose", b"purpose", b"x-moz")
# Where a visitor goes; the future is done when the click is on disk, or counted as shed.
Departure = tuple[str, asyncio.Future[None] | None]


def depart(edge: Edge, route: Route, query: str, told: str) -> tuple[str, str]:
    """Where a click on an open link leads, and the line to publish before the visitor goes there.

    No line where the click asks not to be recorded. `query` is the raw one, and `told` what the
    visit tells of itself (`visit.Visits`).
    """
    pairs = read_query(query) if query else ()
    click_id = edge.click_ids.make(route.link.number)
    location, line = resolve_click(route, pairs, told, click_id)
    if pairs and ("notrack", "1") in pairs:
        return location, ""
    return location, line


class Clicks:
    """GET and HEAD of `/{tracking_code}` and `/c/{tracking_code}`; a final `+` shows the link."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        code: str = scope["path_params"]["tracking_code"]
        route = await self._route(code.removesuffix("+"))
        if code.endswith("+"):
            return _preview(route)
        if _speculative(scope):
            raise Rejected(Reason.prefetch_declined, "ask again when the visitor clicks")
        if route.closed:
            return _closed(route)
        location, kept = _depart(self._edge, route, scope)
        if kept:
            await kept
        return _redirect(location)

    async def _route(self, code: str) -> Route:
        directory = self._edge.directory
        route = directory.route_now(code) or await directory.route(code)
        if route is None:
            metrics.UNKNOWN_CODES.inc()
            raise Rejected(Reason.not_found, "no such tracking link")
        return route


class ClicksFirst:
    """Answers clicks on links in memory before the router, which costs as much as a click."""

    def __init__(self, app: ASGIApp, edge: Edge) -> None:
        self.app = app
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        departure = self._depart(scope) if scope["type"] == "http" else None
        if departure is None:
            await self.app(scope, receive, send)
            return
        location, kept = departure
        if kept:
            await kept
        await _redirect(location)(scope, receive, send)

    def _depart(self, scope: Scope) -> Departure | None:
        code = scope["path"][1:].removeprefix("c/")
        route = self._edge.directory.route_now(code)
        if route is None or scope["method"] not in ("GET", "HEAD"):
            return None
        if route.closed or _speculative(scope):
            return None
        return _depart(self._edge, route, scope)


def _depart(edge: Edge, route: Route, scope: Scope) -> Departure:
    # Latin-1 keeps every byte (RFC 9110, 5.5).
    lines = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    headers = dict(reversed(lines))
    if FORWARDED in headers:
        # Several lines are one list (RFC 9110, 5.3); a proxy may add its word as a line of its own.
        headers[FORWARDED] = ",".join([value for name, value in lines if name == FORWARDED])
    told = edge.visits.told(scope["client"], scope["method"], headers)
    location, line = depart(edge, route, scope["query_string"].decode("latin-1"), told)
    return location, edge.clicks.publish(line) if line else None


def _speculative(scope: Scope) -> bool:
    """True for a browser's prefetch or prerender (Sec-Purpose, Purpose, X-Moz)."""
    return any(
        name in _SPECULATIVE and value.startswith(b"prefetch") for name, value in scope["headers"]
    )


def _redirect(location: str) -> Response:
    return Response(status_code=302, headers={**_ANSWER_HEADERS, "Location": location})


def _closed(route: Route) -> Response:
    if route.link.fallback_url:
        return _redirect(route.link.fallback_url)
    raise Rejected(Reason.gone, "this tracking link is closed")


class Preview(msgspec.Struct, frozen=True):
    """What `/{tracking_code}+` shows; nothing is counted."""

    tracking_code: str
    destination: str
    campaign_id: str
    affiliate_id: str
    active: bool


def _preview(route: Route) -> Response:
    shown = Preview(
        tracking_code=route.link.tracking_code,
        destination=route.link.destination,
        campaign_id=public_id("campaign", route.link.campaign),
        affiliate_id=public_id("affiliate", route.link.affiliate),
        active=not route.closed,
    )
    return requests.json_response(shown, headers=_ANSWER_HEADERS)
