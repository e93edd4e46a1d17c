"""Tracking links over HTTP: the thin shell around `redirect`."""

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ingest import metrics
from ingest.edge import Edge
from ingest.redirect import Visit, closed_to, read_query, resolve_click
from linkjolt import web
from linkjolt.addresses import client_address, is_trusted
from linkjolt.errors import Reason, Rejected
from linkjolt.registry import Route, public_id

URL_MAX_BYTES = 8_192
_ANSWER_HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex"}


def header(scope: Scope, name: bytes) -> str:
    """The first header of this lower-case name, or ''."""
    return next((v.decode("latin-1") for k, v in scope["headers"] if k == name), "")


def speculative(scope: Scope) -> bool:
    """True for a browser's prefetch or prerender (Sec-Purpose, Purpose, X-Moz)."""
    for name, value in scope["headers"]:
        if name in (b"sec-purpose", b"purpose", b"x-moz") and value.startswith(b"prefetch"):
            return True
    return False


class Clicks:
    """GET and HEAD of `/{tracking_code}` and `/c/{tracking_code}`; a final `+` shows the link."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(scope)
        await response(scope, receive, send)

    async def _answer(self, scope: Scope) -> Response:
        if len(scope["raw_path"]) + len(scope["query_string"]) > URL_MAX_BYTES:
            raise Rejected(Reason.url_too_long, f"the URL is over {URL_MAX_BYTES} bytes")
        code: str = scope["path_params"]["tracking_code"]
        route = await self._route(code.removesuffix("+"))
        if code.endswith("+"):
            return _preview(route)
        if speculative(scope):
            raise Rejected(Reason.prefetch_declined, "ask again when the visitor clicks")
        if closed_to(route):
            return _closed(route)
        return await self._redirect(route, scope)

    async def _route(self, code: str) -> Route:
        directory = self._edge.directory
        route = directory.route_now(code) or await directory.route(code)
        if route is None:
            metrics.UNKNOWN_CODES.inc()
            raise Rejected(Reason.not_found, "no such tracking link")
        return route

    async def _redirect(self, route: Route, scope: Scope) -> Response:
        visit = self._visit(scope)
        pairs = read_query(visit.query)
        click_id = self._edge.click_ids.make(route.link.number)
        location, click = resolve_click(route, visit, pairs, click_id)
        if ("notrack", "1") not in pairs:
            try:
                await self._edge.clicks.publish(web.encode(click))
                metrics.CLICKS.inc()
            except Rejected:
                # The visitor goes on whatever happens here; the loss is counted.
                metrics.CLICKS_SHED.inc()
                self._edge.shed += 1
        return Response(status_code=302, headers={**_ANSWER_HEADERS, "Location": location})

    def _visit(self, scope: Scope) -> Visit:
        trusted = self._edge.trusted_proxies
        peer: str = scope["client"][0] if scope["client"] else ""
        behind_proxy = is_trusted(peer, trusted)
        country = header(scope, self._edge.country_header) if behind_proxy else ""
        if header(scope, b"x-purpose") == "preview":
            kind = "prefetch"
        else:
            kind = "head" if scope["method"] == "HEAD" else ""
        return Visit(
            query=scope["query_string"].decode("latin-1"),
            ip=client_address(peer, header(scope, b"x-forwarded-for"), trusted),
            user_agent=header(scope, b"user-agent")[:1024],
            referrer=header(scope, b"referer")[:1024],
            language=header(scope, b"accept-language").partition(",")[0].partition(";")[0][:16],
            country=country[:2],
            kind=kind,
        )


def _closed(route: Route) -> Response:
    if route.link.fallback_url:
        headers = {**_ANSWER_HEADERS, "Location": route.link.fallback_url}
        return Response(status_code=302, headers=headers)
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
