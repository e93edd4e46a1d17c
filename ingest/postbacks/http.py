"""Accepts postbacks and the pixel over HTTP, as durable as posts, in each vendor's dialect."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ingest import metrics
from ingest.conversions.authority import authority_of
from ingest.conversions.body import ConversionPost, click_ids
from ingest.conversions.intake import Intake
from ingest.conversions.later_posts import LaterPost, OrderUpdates
from ingest.edge import Edge
from ingest.postbacks.dialects import DIALECTS
from ingest.postbacks.parameters import (
    Postback,
    json_to_query,
    read_parameters,
    read_postback,
    read_signed_query,
    requested_answer,
    verify_signature,
)
from ingest.postbacks.pixel import UnsignedPixel
from ingest.publishing.publishers import QueuedPost
from linkjolt.auth.access import identify, require_any_scope
from linkjolt.click_ids import verify_click_id
from linkjolt.clicks.route import Route as ClickRoute
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.reads import read_entry
from linkjolt.web import requests

_SCOPES = ("postback", "conversions:write")
_FORM = "application/x-www-form-urlencoded"
# The smallest GIF: one transparent pixel.
PIXEL = bytes.fromhex(
    "47494638396101000100800100000000ffffff21f90401000001002c00000000010001000002024c01003b"
)
_NO_STORE = {"Cache-Control": "no-store"}
_TEXT_HEADERS = {**_NO_STORE, "X-Content-Type-Options": "nosniff"}
log = structlog.get_logger()


class Postbacks:
    """Serves `/postback`, `/postback/{dialect}` and `/p.gif`."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._intake = Intake(edge)
        self._order_updates = OrderUpdates(edge.redis, edge.settings)
        self._pixel = UnsignedPixel(edge, self._intake)

    def routes(self) -> list[BaseRoute]:
        methods = ["GET", "POST"]
        return [
            Route("/postback", self.postback, methods=methods),
            Route("/postback/{dialect}", self.postback, methods=methods),
            Route("/p.gif", self.pixel, methods=["GET"]),
        ]

    async def postback(self, request: Request) -> Response:
        """Records a conversion, or changes an existing one, and answers `OK`."""
        name: str = request.path_params.get("dialect", "linkjolt")
        if request.method == "HEAD":
            # A HEAD request must not record anything.
            return Response(headers=_TEXT_HEADERS)
        try:
            status, text = await self._accept(request, name)
        except Rejected as error:
            metrics.POSTBACKS.labels(error.reason).inc()
            raise
        metrics.POSTBACKS.labels("taken").inc()
        return PlainTextResponse(text, status, headers=_TEXT_HEADERS)

    async def pixel(self, request: Request) -> Response:
        """Always answers with the image, so that it reveals nothing about clicks or orders."""
        try:
            if request.method == "GET":
                await self._accept_pixel(request)
                metrics.POSTBACKS.labels("taken").inc()
        except Exception as error:
            refused = requests.refusal_of(error)
            metrics.POSTBACKS.labels(refused.reason).inc()
            log.info("pixel refused", reason=refused.reason, field=refused.field)
            if refused.reason is Reason.internal:
                log.exception("pixel failed")
        return Response(PIXEL, media_type="image/gif", headers=_NO_STORE)

    async def _accept(self, request: Request, name: str) -> tuple[int, str]:
        dialect = DIALECTS.get(name)
        if dialect is None:
            raise Rejected(Reason.not_found, f"is none of {', '.join(DIALECTS)}", field="dialect")
        query: bytes = request.scope["query_string"]
        signing_key = await self._signing_key(query)
        parameters = read_parameters(query) | await _body_parameters(request)
        key = signing_key or await self._api_key(parameters, request)
        text = requested_answer(parameters)
        postback = read_postback(dialect, parameters, self._edge.settings.default_currency)
        await self._record(postback, key, signed=signing_key is not None)
        return 200, text

    async def _accept_pixel(self, request: Request) -> None:
        query: bytes = request.scope["query_string"]
        signing_key = await self._signing_key(query)
        parameters = read_parameters(query)
        postback = read_postback(
            DIALECTS["linkjolt"], parameters, self._edge.settings.default_currency
        )
        if signing_key or "key" in parameters:
            key = signing_key or await self._api_key(parameters, request)
            await self._record(postback, key, signed=signing_key is not None)
            return
        await self._pixel.record(postback.post, await self._route_of_click(postback.post))

    async def _signing_key(self, query: bytes) -> ApiKey | None:
        """Returns the key that signed the query; None where it is unsigned."""
        signed = read_signed_query(query)
        if signed is None:
            return None
        key = await read_entry(self._edge.fast_redis, ApiKey, signed.key_number)
        if key is None or key.deleted_at is not None or key.is_expired(datetime.now(UTC)):
            raise Rejected(Reason.unauthorized, "names no valid key", field="key_id")
        verify_signature(signed, key.digest, time.time())
        require_any_scope(key, _SCOPES)
        return key

    async def _api_key(self, parameters: Mapping[str, str], request: Request) -> ApiKey:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = parameters.get("key", secret.strip() if scheme.lower() == "bearer" else "")
        if not secret:
            message = "is required, or key_id, ts and sig"
            raise Rejected(Reason.unauthorized, message, field="key")
        key = await identify(secret, self._edge.directory)
        require_any_scope(key, _SCOPES)
        return key

    async def _route_of_click(self, post: ConversionPost) -> ClickRoute:
        """Returns the route of the first genuine click; Rejected if there is none."""
        keys = self._edge.keyring.click_keys
        for text in click_ids(post):
            click = verify_click_id(text, keys)
            route = await self._edge.directory.route_by_number(click.link) if click else None
            if route:
                return route
        raise Rejected(Reason.unauthorized, "is no genuine click", field="click_id")

    async def _record(self, postback: Postback, key: ApiKey, *, signed: bool) -> None:
        """Records a postback as a conversion, or as a change of one."""
        authority = authority_of(key, signed=signed)
        pending = await self._intake.accept_post(postback.post, key, _now_ms(), authority)
        existing = await self._intake.settle(pending)
        assert not isinstance(existing, QueuedPost), "postbacks are not spooled"
        later_post = LaterPost(
            pending.posted,
            postback.status or pending.posted.conversion.status,
            changes_value=postback.has_value,
            changes_status=postback.status is not None,
            is_postback=True,
        )
        await self._order_updates.apply_later_post(existing, later_post, key)


async def _body_parameters(request: Request) -> dict[str, str]:
    if request.method != "POST":
        return {}
    body = await requests.read_body(request)
    if not body:
        return {}
    media_type = requests.media_type(request.scope)
    if media_type == _FORM:
        return read_parameters(body)
    if media_type == "application/json":
        return read_parameters(json_to_query(body))
    message = f"send {_FORM} or application/json, not {media_type[:64]}"
    raise Rejected(Reason.unsupported_media_type, message)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
