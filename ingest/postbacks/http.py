"""Accepts postbacks and the pixel over HTTP, as durable as posts, in each vendor's dialect."""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ingest import metrics
from ingest.clicks.http import is_speculative, visitor_json_of
from ingest.conversions.authority import Authority, authority_of
from ingest.conversions.body import (
    ConversionPost,
    click_ids,
    first_click_id,
    with_notes,
)
from ingest.conversions.intake import Intake
from ingest.conversions.later_posts import LaterPost, OrderUpdates
from ingest.edge import Edge
from ingest.fingerprints import content_of, fingerprint, former_fingerprint
from ingest.forged_clicks import is_well_formed
from ingest.postbacks.campaign_fit import fit_to_campaign, needs_campaign
from ingest.postbacks.dialects import DIALECTS, Dialect
from ingest.postbacks.pairs import json_to_query, read_parameters, requested_answer
from ingest.postbacks.parameters import Postback, read_postback
from ingest.postbacks.pixel import UnsignedPixel
from ingest.postbacks.signatures import (
    SignedCall,
    SignedQuery,
    check_recent,
    read_signed_query,
    signature_digest,
    verify_signature,
)
from ingest.publishing.publishers import QueuedPost
from linkjolt.auth.access import (
    count_failure,
    identify_limited,
    is_allowed_from,
    require_any_scope,
    take_post,
)
from linkjolt.clicks.route import Route as ClickRoute
from linkjolt.conversions.proposed import Author, ProposedAdjustment
from linkjolt.conversions.requested import RequestedAdjustments
from linkjolt.conversions.reservations import NamedOrder
from linkjolt.logs import MINUTE, MinuteLine
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.accounts import is_disabled
from linkjolt.registry.entries import ApiKey
from linkjolt.registry.reads import read_entry
from linkjolt.registry.sealed.entries import open_key
from linkjolt.storage.sealing import SealError
from linkjolt.web import requests

SCOPES = ("postback", "conversions:write")
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"
# The smallest GIF: one transparent pixel.
PIXEL = bytes.fromhex(
    "47494638396101000100800100000000ffffff21f90401000001002c00000000010001000002024c01003b"
)
# How a postback names what a refusal of an adjustment names.
_FIELDS_OF_REFUNDS = {"amount": "order_value", "kind": "status"}
log = structlog.get_logger()


class _VisitorAddress(msgspec.Struct):
    ip: str = ""


class Postbacks:
    """Serves `/postback`, `/postback/{dialect}` and `/p.gif`."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._intake = Intake(edge)
        self._order_updates = OrderUpdates(edge.redis, edge.settings)
        self._pixel = UnsignedPixel(edge, self._intake)
        self._requested = RequestedAdjustments(edge.early)
        self._warned_keys: set[int] = set()
        self._refused_pixels = MinuteLine(logging.INFO, "pixels refused")

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
            return Response()
        _decline_prefetch(request)
        try:
            text = await self._accept(request, name)
        except Rejected as error:
            refused = count_failure(request.scope, error)
            metrics.POSTBACKS.labels(refused.reason).inc()
            raise refused from None
        metrics.POSTBACKS.labels("taken").inc()
        return PlainTextResponse(text)

    async def pixel(self, request: Request) -> Response:
        """Always answers with the image, so that it reveals nothing about clicks or orders."""
        _decline_prefetch(request)
        try:
            if request.method == "GET":
                await self._accept_pixel(request)
                metrics.POSTBACKS.labels("taken").inc()
        except Exception as error:
            refused = requests.refusal_of(error)
            if not _is_unsigned(request):
                refused = count_failure(request.scope, refused)
            metrics.POSTBACKS.labels(refused.reason).inc()
            is_fault = refused.reason is Reason.internal
            self._refused_pixels.count(refused.reason, error=error if is_fault else None)
        return self._pixel_response(request)

    def _pixel_response(self, request: Request) -> Response:
        if _is_unsigned(request) and self._edge.forged_clicks.is_over(self._address(request)):
            # For a genuine click, too: it is recorded, and its sender cannot tell.
            headers = {"Retry-After": f"{MINUTE:.0f}"}
            return Response(PIXEL, 429, headers, "image/gif")
        return Response(PIXEL, media_type="image/gif")

    def _address(self, request: Request) -> str:
        """Returns the visitor's address, as trusted proxies say."""
        fields = f'{{"kind":""{visitor_json_of(self._edge, request.scope)}}}'
        return msgspec.json.decode(fields, type=_VisitorAddress).ip

    async def _accept(self, request: Request, name: str) -> str:
        dialect = DIALECTS.get(name)
        if dialect is None:
            raise Rejected(Reason.not_found, f"is none of {', '.join(DIALECTS)}", field="dialect")
        query: bytes = request.scope["query_string"]
        signed = read_signed_query(query)
        # A key that the query or a header names is judged before the body is read.
        key = await (
            self._signing_key(signed, request)
            if signed
            else self._api_key(read_parameters(query), request)
        )
        body = await requests.read_body(request) if request.method == "POST" else b""
        if signed and key:
            self._verify(signed, key, request, body)
        parameters = read_parameters(query, _body_parameters(request, body, dialect))
        key = key or await self._api_key(parameters, request)
        if key is None:
            message = "is required, or key_id, ts and sig"
            raise Rejected(Reason.unauthorized, message, field="key")
        await take_post(request.scope, key)
        text = requested_answer(parameters)
        postback = read_postback(dialect, parameters, signature_digest(query))
        if not postback.ignored:
            await self._record_fitted(postback, key)
        return text

    async def _accept_pixel(self, request: Request) -> None:
        query: bytes = request.scope["query_string"]
        signed = read_signed_query(query)
        key = await self._signing_key(signed, request) if signed else None
        if signed and key:
            self._verify(signed, key, request)
        parameters = read_parameters(query)
        postback = read_postback(DIALECTS["linkjolt"], parameters, signature_digest(query))
        if key is None and parameters.get("key"):
            key = await self._api_key(parameters, request)
        if key is not None:
            await self._record_fitted(postback, key)
            return
        if postback.refunds:
            raise Rejected(Reason.unauthorized, "is required for a refund", field="key")
        await self._pixel.record(postback.post, await self._route_of_click(postback.post, request))

    async def _signing_key(self, signed: SignedQuery, request: Request) -> ApiKey:
        """Returns the key that a recent signature names; Rejected where it can sign nothing."""
        check_recent(signed, time.time())
        key = await read_entry(self._edge.fast_redis, ApiKey, signed.key_number)
        is_valid = (
            key is not None
            and not (key.deleted_at or key.is_expired(datetime.now(UTC)))
            and is_allowed_from(key, self._edge.directory, request.scope)
        )
        if key is None or not is_valid or await is_disabled(self._edge.fast_redis, key.account):
            raise Rejected(Reason.unauthorized, "names no valid key", field="key_id")
        require_any_scope(key, SCOPES)
        try:
            return open_key(key, self._edge.sealer)
        except SealError as error:
            log.error("signing secret does not open", error=str(error))
            message = "the key's signing secret cannot be opened now"
            raise Rejected(Reason.unavailable, message) from None

    def _verify(
        self, signed: SignedQuery, key: ApiKey, request: Request, body: bytes = b""
    ) -> None:
        """Verifies the signature of the whole call; else Rejected."""
        call = SignedCall(request.method, request.scope["path"], body)
        form = verify_signature(signed, key, call, datetime.now(UTC))
        self._edge.directory.key_uses.note(key.number)
        metrics.POSTBACK_SIGNATURES.labels(form).inc()
        if form == "query" and key.number not in self._warned_keys:
            self._warned_keys.add(key.number)
            log.warning(
                "postback signed in a form that ends with the next release",
                key=key.id,
            )

    async def _api_key(self, parameters: Mapping[str, str], request: Request) -> ApiKey | None:
        """Returns the key that the parameters or the header name; None where neither does."""
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        secret = parameters.get("key") or (secret.strip() if scheme.lower() == "bearer" else "")
        if not secret:
            return None
        key = await identify_limited(secret, request.scope, self._edge.directory)
        require_any_scope(key, SCOPES)
        return key

    async def _route_of_click(self, post: ConversionPost, request: Request) -> ClickRoute:
        """Returns the route of the first genuine click; Rejected if there is none."""
        keyring = self._edge.keyring
        for text in click_ids(post):
            click = keyring.verify_click(text, _now_ms())
            route = await self._edge.directory.route_by_number(click.link) if click else None
            if route:
                return route
        if any(map(is_well_formed, click_ids(post))):
            self._edge.forged_clicks.count_unsigned(self._address(request))
        raise Rejected(Reason.unauthorized, "is no genuine click", field="click_id")

    async def _record_fitted(self, postback: Postback, key: ApiKey) -> None:
        """Records a postback, as `_record`, once its campaign has settled what it means."""
        try:
            if needs_campaign(postback):
                decision = await self._intake.decide(postback.post, key, _now_ms())
                campaign = decision.attribution.campaign
                postback = fit_to_campaign(postback, campaign, self._edge.settings.default_currency)
            await self._record(postback, key)
        except Rejected as error:
            raise postback.renamed(error) from None
        for note in postback.notes:
            metrics.POSTBACK_NOTES.labels(note).inc()

    async def _record(self, postback: Postback, key: ApiKey) -> None:
        """Records a postback as a conversion, or as a change of one."""
        is_signed = postback.signature_digest != ""
        authority = authority_of(key, signed=is_signed, order_scope=postback.order_scope)
        post = with_notes(postback.post, postback.notes)
        if postback.refunds:
            await self._refund(postback, key, authority)
            return
        pending = await self._intake.accept_post(post, key, _now_ms(), authority)
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

    async def _refund(self, postback: Postback, key: ApiKey, authority: Authority) -> None:
        """Refunds the conversion of a postback's order, now or as soon as it is stored."""
        post, now_ms = postback.post, _now_ms()
        attribution = (await self._intake.decide(post, key, now_ms, authority)).attribution
        campaign, currency = attribution.campaign, post.currency
        click_id = first_click_id(post) if postback.order_scope == "click" else ""
        order = NamedOrder(key.dataset, post.event, post.order_id or "", click_id)
        amount = post.order_value if postback.has_value else None
        content = content_of(post, 0, currency or "")
        refund = f"refund of {amount or 'all'} by"
        proposed = ProposedAdjustment(
            # The same postback again is the same refund.
            adjustment_id=f"{refund} {fingerprint(content, self._edge.keyring.customer_key)}",
            kind="refunded",
            author=Author(key.id, authority.hand, key.campaign),
            amount=amount,
            reason="a postback refunds the order",
            currency=currency or "",
            campaign=campaign.number if campaign else 0,
            click_id=attribution.click_id,
        )
        try:
            stored = await self._edge.early.find(order, proposed)
            # As a former release named it.
            former = f"{refund} {former_fingerprint(content)}"
            history = stored.reservation.state.history if stored else ()
            if any(entry.adjustment_id == former for entry in history):
                proposed = msgspec.structs.replace(proposed, adjustment_id=former)
            await self._requested.adjust_order(order, proposed, now_ms, None)
        except Rejected as error:
            field = _FIELDS_OF_REFUNDS.get(error.field, error.field)
            raise Rejected(error.reason, error.message, field=field) from None


def _body_parameters(request: Request, body: bytes, dialect: Dialect) -> bytes:
    """Returns the parameters of a body, written as a query."""
    if not body:
        return b""
    declared = requests.header(request.scope, b"content-type")
    media_type = declared.partition(";")[0].strip().lower()
    if not media_type:
        is_json = body.removeprefix(requests.BYTE_ORDER_MARK).lstrip()[:1] == b"{"
        media_type = _JSON if is_json else _FORM
    if media_type == _FORM:
        return body
    if media_type == _JSON:
        return json_to_query(body, dialect.parameters | {"key", "return"})
    message = f"send {_FORM} or application/json, not {media_type[:64]}"
    raise Rejected(Reason.unsupported_media_type, message)


def _is_unsigned(request: Request) -> bool:
    query: bytes = request.scope["query_string"]
    return b"sig=" not in query and b"key=" not in query


def _decline_prefetch(request: Request) -> None:
    if is_speculative(request.scope):
        metrics.POSTBACKS.labels(Reason.prefetch_declined).inc()
        raise Rejected(Reason.prefetch_declined, "ask again when the page is shown")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
