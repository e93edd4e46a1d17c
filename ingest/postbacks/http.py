"""Postbacks and the pixel over HTTP: as durable as posts, answered in the sender's words."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ingest import metrics
from ingest.conversions.body import ConversionPost, click_ids
from ingest.conversions.intake import Intake
from ingest.conversions.later_posts import Updates, Wish
from ingest.edge import Edge
from ingest.postbacks.dialects import DIALECTS
from ingest.postbacks.parameters import (
    Postback,
    json_pairs,
    read_pairs,
    read_postback,
    read_signed,
    returned_text,
    verify,
)
from ingest.publishing.publishers import Queued
from linkjolt.auth.access import identify, require_any
from linkjolt.click_ids import read_click_id
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.reads import read_entry
from linkjolt.web import requests

_SCOPES = ("postback", "conversions:write")
_FORM = "application/x-www-form-urlencoded"
# The least GIF there is: one pixel that nobody sees.
PIXEL = bytes.fromhex(
    "47494638396101000100800100000000ffffff21f90401000001002c00000000010001000002024c01003b"
)
_NO_STORE = {"Cache-Control": "no-store"}
_TEXT = {**_NO_STORE, "X-Content-Type-Options": "nosniff"}
log = structlog.get_logger()


class Postbacks:
    """`/postback`, `/postback/{dialect}` and `/p.gif`."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._intake = Intake(edge)
        self._updates = Updates(edge.redis, edge.settings)

    def routes(self) -> list[BaseRoute]:
        methods = ["GET", "POST"]
        return [
            Route("/postback", self.postback, methods=methods),
            Route("/postback/{dialect}", self.postback, methods=methods),
            Route("/p.gif", self.pixel, methods=["GET"]),
        ]

    async def postback(self, request: Request) -> Response:
        """Records the conversion, or changes the one that it is about, and says `OK`."""
        name: str = request.path_params.get("dialect", "linkjolt")
        if request.method == "HEAD":
            # Nothing is to be recorded by who only asks what would be answered.
            return Response(headers=_TEXT)
        try:
            status, text = await self._take(request, name)
        except Rejected as error:
            metrics.POSTBACKS.labels(error.reason).inc()
            raise
        metrics.POSTBACKS.labels("taken").inc()
        return PlainTextResponse(text, status, headers=_TEXT)

    async def pixel(self, request: Request) -> Response:
        """An image, whatever becomes of it: nobody learns from it what is known here."""
        try:
            if request.method == "GET":
                await self._take_pixel(request)
                metrics.POSTBACKS.labels("taken").inc()
        except Exception as error:
            refused = requests.refusal_of(error)
            metrics.POSTBACKS.labels(refused.reason).inc()
            log.info("pixel refused", reason=refused.reason, field=refused.field)
            if refused.reason is Reason.internal:
                log.exception("a pixel failed")
        return Response(PIXEL, media_type="image/gif", headers=_NO_STORE)

    async def _take(self, request: Request, name: str) -> tuple[int, str]:
        dialect = DIALECTS.get(name)
        if dialect is None:
            raise Rejected(Reason.not_found, f"is none of {', '.join(DIALECTS)}", field="dialect")
        query: bytes = request.scope["query_string"]
        signer = await self._signer(query)
        given = read_pairs(query) | await _body_pairs(request)
        key = signer or await self._key(given, request)
        text = returned_text(given)
        postback = read_postback(dialect, given, self._edge.settings.default_currency)
        return (202 if await self._record(postback, key) else 200), text

    async def _take_pixel(self, request: Request) -> None:
        query: bytes = request.scope["query_string"]
        signer = await self._signer(query)
        given = read_pairs(query)
        postback = read_postback(DIALECTS["linkjolt"], given, self._edge.settings.default_currency)
        if signer or "key" in given:
            await self._record(postback, signer or await self._key(given, request))
            return
        # Anybody may call it with a click of his: what it says is for people to approve.
        key = await self._key_of_click(postback.post)
        taken = await self._intake.take_post(_pending(postback.post), key, _now_ms())
        taken.answer(await taken.frame)

    async def _signer(self, query: bytes) -> ApiKey | None:
        """The key by which a query is signed; None where it is not."""
        signed = read_signed(query)
        if signed is None:
            return None
        key = await read_entry(self._edge.fast, ApiKey, signed.key)
        if key is None or key.deleted_at is not None or key.expired(datetime.now(UTC)):
            raise Rejected(Reason.unauthorized, "names no valid key", field="key_id")
        verify(signed, key.digest, time.time())
        require_any(key, _SCOPES)
        return key

    async def _key(self, given: Mapping[str, str], request: Request) -> ApiKey:
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = given.get("key", secret.strip() if scheme.lower() == "bearer" else "")
        if not secret:
            message = "send key=, or key_id=, ts= and sig="
            raise Rejected(Reason.unauthorized, message, field="key")
        key = await identify(secret, self._edge.directory)
        require_any(key, _SCOPES)
        return key

    async def _key_of_click(self, post: ConversionPost) -> ApiKey:
        """Stands for the account of the clicked link, where the click is genuine."""
        keys = self._edge.keyring.click_keys
        for text in click_ids(post):
            click = read_click_id(text, keys)
            route = await self._edge.directory.route_by_number(click.link) if click else None
            if route:
                link = route.link
                return ApiKey(
                    number=0,
                    account=link.account,
                    name="pixel",
                    scopes=(),
                    digest="",
                    hint="",
                    campaign=link.campaign,
                    created_at=link.created_at,
                )
        raise Rejected(Reason.unauthorized, "is no genuine click", field="click_id")

    async def _record(self, postback: Postback, key: ApiKey) -> bool:
        """True where it waits for Redis on this edge's disk."""
        taken = await self._intake.take_post(postback.post, key, _now_ms())
        held = taken.held(await taken.frame)
        if isinstance(held, Queued):
            return True
        wish = Wish(
            taken.posted,
            postback.status or taken.posted.conversion.status,
            restates=postback.value_given,
            says_status=postback.status is not None,
        )
        await self._updates.bring(held, wish, key)
        return False


async def _body_pairs(request: Request) -> dict[str, str]:
    if request.method != "POST":
        return {}
    body = await requests.read_body(request)
    if not body:
        return {}
    declared = requests.media_type(request.scope)
    if declared == _FORM:
        return read_pairs(body)
    if declared == "application/json":
        return read_pairs(json_pairs(body))
    message = f"send {_FORM} or application/json, not {declared[:64]}"
    raise Rejected(Reason.unsupported_media_type, message)


def _pending(post: ConversionPost) -> ConversionPost:
    return msgspec.structs.replace(post, status="pending")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
