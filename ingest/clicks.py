"""Tracking links over HTTP: the thin shells around `resolve_click`."""

import asyncio
from collections.abc import Sequence

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest import metrics
from ingest.edge import Edge
from ingest.redirect import Visit, read_query, resolve_click
from linkjolt import web
from linkjolt.addresses import client_address, is_trusted
from linkjolt.errors import Reason, Rejected
from linkjolt.registry import Route, public_id

_ANSWER_HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
_SPECULATIVE = (b"sec-purpose", b"purpose", b"x-moz")
_READ = (b"user-agent", b"referer", b"accept-language", b"x-forwarded-for", b"x-purpose")


# Where a visitor goes; the future is done when the click is on disk, or counted as shed.
Departure = tuple[str, asyncio.Future[None] | None]


def headers_read(edge: Edge) -> tuple[bytes, ...]:
    """The headers that make a visit, in lower case; of each the first counts."""
    return (*_READ, edge.country_header)


def peer_address(client: tuple[str, int] | None) -> str:
    """The other end's address, in its shortest form; '' where it has none."""
    return client_address(client[0], "", ()) if client else ""


def visit_of(
    edge: Edge, peer: str, method: str, query: str, values: Sequence[str], *, plain: bool = False
) -> Visit:
    """A request from the address `peer`; `values` are those of `headers_read`, '' if missing.

    `plain`: none of them needs an escape in JSON.
    """
    user_agent, referrer, language, forwarded_for, purpose, country = values
    proxies = edge.trusted_proxies
    return Visit(
        query,
        client_address(peer, forwarded_for, proxies) if forwarded_for else peer,
        user_agent[:1024],
        referrer[:1024],
        language.partition(",")[0].partition(";")[0][:16],
        country[:2] if country and is_trusted(peer, proxies) else "",
        "prefetch" if purpose == "preview" else "head" if method == "HEAD" else "",
        plain,
    )


def depart(edge: Edge, route: Route, visit: Visit) -> Departure:
    """Records a click on an open link, unless it asks not to be, and sends the visitor on."""
    pairs = read_query(visit.query) if visit.query else []
    click_id = edge.click_ids.make(route.link.number)
    location, line = resolve_click(route, visit, pairs, click_id)
    if pairs and ("notrack", "1") in pairs:
        return location, None
    return location, edge.clicks.publish(line)


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
        location, kept = depart(self._edge, route, _visit(self._edge, scope))
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
        return depart(self._edge, route, _visit(self._edge, scope))


def _visit(edge: Edge, scope: Scope) -> Visit:
    headers = dict(reversed(scope["headers"]))
    values = [headers.get(name, b"").decode("latin-1") for name in headers_read(edge)]
    peer = peer_address(scope["client"])
    query = scope["query_string"].decode("latin-1")
    return visit_of(edge, peer, scope["method"], query, values)


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
    return web.json_response(shown, headers=_ANSWER_HEADERS)
