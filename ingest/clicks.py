"""Tracking links over HTTP: the thin shells around `resolve_click`."""

import asyncio
from collections.abc import Mapping
from typing import Literal

import msgspec
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest import metrics
from ingest.edge import Edge
from ingest.redirect import Visit, closed_to, read_query, resolve_click
from linkjolt import web
from linkjolt.addresses import client_address, is_trusted
from linkjolt.errors import Reason, Rejected
from linkjolt.registry import Route, public_id

# The first of each name counts; names are in lower case.
Headers = Mapping[bytes, bytes]
_ANSWER_HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}
_SPECULATIVE = (b"sec-purpose", b"purpose", b"x-moz")


class Departure(msgspec.Struct, frozen=True):
    """Where a visitor goes; `kept` is done when the click is on disk, or counted as shed."""

    location: str
    kept: asyncio.Future[None] | None


def headers_of(pairs: list[tuple[bytes, bytes]]) -> Headers:
    """A request's headers by name."""
    return dict(reversed(pairs))


def speculative(headers: Headers) -> bool:
    """True for a browser's prefetch or prerender (Sec-Purpose, Purpose, X-Moz)."""
    # A list and no generator: this runs for every click.
    return True in [headers.get(name, b"").startswith(b"prefetch") for name in _SPECULATIVE]


def depart(
    edge: Edge, route: Route, method: bytes, query: bytes, headers: Headers, peer: str
) -> Departure:
    """Records a click on an open link, unless it asks not to be, and sends the visitor on."""
    visit = _visit(edge, method, query, headers, peer)
    pairs = read_query(visit.query)
    click_id = edge.click_ids.make(route.link.number)
    location, click = resolve_click(route, visit, pairs, click_id)
    if pairs and ("notrack", "1") in pairs:
        return Departure(location, None)
    return Departure(location, edge.clicks.publish(web.encode(click)))


def depart_now(
    edge: Edge, method: bytes, code: str, query: bytes, headers: Headers, peer: str
) -> Departure | None:
    """As `depart`, for a link in memory; None for all that is not simply a click on one."""
    route = edge.directory.route_now(code)
    if route is None or closed_to(route) or speculative(headers):
        return None
    return depart(edge, route, method, query, headers, peer)


def _visit(edge: Edge, method: bytes, query: bytes, headers: Headers, peer: str) -> Visit:
    get = headers.get
    country = b""
    if edge.trusted_proxies and is_trusted(peer, edge.trusted_proxies):
        country = get(edge.country_header, b"")
    forwarded_for = get(b"x-forwarded-for", b"").decode("latin-1")
    language = get(b"accept-language", b"").partition(b",")[0].partition(b";")[0]
    return Visit(
        query=query.decode("latin-1"),
        ip=client_address(peer, forwarded_for, edge.trusted_proxies),
        user_agent=get(b"user-agent", b"")[:1024].decode("latin-1"),
        referrer=get(b"referer", b"")[:1024].decode("latin-1"),
        language=language[:16].decode("latin-1"),
        country=country[:2].decode("latin-1"),
        kind=_kind(method, headers),
    )


def _kind(method: bytes, headers: Headers) -> Literal["", "head", "prefetch"]:
    if headers.get(b"x-purpose") == b"preview":
        return "prefetch"
    return "head" if method == b"HEAD" else ""


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
        headers = headers_of(scope["headers"])
        if speculative(headers):
            raise Rejected(Reason.prefetch_declined, "ask again when the visitor clicks")
        if closed_to(route):
            return _closed(route)
        query, peer = scope["query_string"], peer_of(scope)
        method = scope["method"].encode()
        departure = depart(self._edge, route, method, query, headers, peer)
        if departure.kept:
            await departure.kept
        return _redirect(departure.location)

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
        departure = None
        if scope["type"] == "http" and scope["method"] in ("GET", "HEAD"):
            headers = headers_of(scope["headers"])
            query, peer = scope["query_string"], peer_of(scope)
            method = scope["method"].encode()
            code = scope["path"][1:].removeprefix("c/")
            departure = depart_now(self._edge, method, code, query, headers, peer)
        if departure is None:
            await self.app(scope, receive, send)
            return
        if departure.kept:
            await departure.kept
        await _redirect(departure.location)(scope, receive, send)


def peer_of(scope: Scope) -> str:
    """The address of whoever holds the connection."""
    return scope["client"][0] if scope["client"] else ""


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
        active=not closed_to(route),
    )
    return web.json_response(shown, headers=_ANSWER_HEADERS)
