"""`/v1/adjustments`: adjustments by conversion or by order, one or many; on both listeners."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal

import msgspec
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.auth.access import authorize_request
from linkjolt.conversions.adjust import AdjustmentResult
from linkjolt.conversions.api import ADJUSTED_EXAMPLE, READ_SCOPE
from linkjolt.conversions.early.adjustments import EarlyAdjustments
from linkjolt.conversions.early.entries import EarlyAdjustment, FailedAdjustment
from linkjolt.conversions.forms import (
    ADJUSTMENT_SCOPE,
    VERBS,
    AdjustmentVerb,
    EventName,
    OrderAdjustmentForm,
    Text128,
    check_adjustment,
    check_scope,
    check_target,
    decode_form,
    proposal_of,
)
from linkjolt.conversions.history import (
    AdjustedConversionAnswer,
    AdjustmentAnswer,
    HistoryEntryAnswer,
    adjusted_answer,
)
from linkjolt.conversions.json_lines import read_lines
from linkjolt.conversions.proposed import author_of
from linkjolt.conversions.requested import RequestedAdjustments, Requester, requester
from linkjolt.conversions.reservations import NamedOrder
from linkjolt.directory.directory import Directory
from linkjolt.reasons import FieldError, Reason, Rejected
from linkjolt.registry.entries import ApiKey, Campaign
from linkjolt.registry.reads import read_entry
from linkjolt.runtime.loop_slices import LoopSlices
from linkjolt.storage.redis import RedisError
from linkjolt.web import posted_fields, requests
from linkjolt.web.forms import Instant, unknown_reference
from linkjolt.web.json_structure import split_array, too_many_entries
from linkjolt.web.openapi import Operation, Parameter, of, page_of, text_body

PATH = "/v1/adjustments"
BATCH_MAX = 1_000
BATCH_MAX_BYTES = 10 << 20
_EVENT = "sale"


class WaitingAnswer(msgspec.Struct, frozen=True):
    """An adjustment that waits until the conversion of its order is posted."""

    status: Literal["waiting"]
    adjustment_id: str
    order_id: str
    event: str
    expires_at: Instant


class AdjustmentResultAnswer(msgspec.Struct, frozen=True):
    """The result of one adjustment of many: `status` is what it would be answered alone.

    An adjustment that was made has `adjustment`, `duplicate` and `conversion` (without its
    history), one that waits has `waiting`, a refused one `code` and `errors`.
    """

    status: int
    adjustment: HistoryEntryAnswer | None = None
    duplicate: bool = False
    conversion: AdjustedConversionAnswer | None = None
    waiting: WaitingAnswer | None = None
    code: Reason | None = None
    errors: tuple[FieldError, ...] = ()


class AdjustmentBatchAnswer(msgspec.Struct, frozen=True):
    """The answer to many adjustments at once: a result for each, in order."""

    data: list[AdjustmentResultAnswer]
    accepted: int
    rejected: int


class EarlyAdjustmentAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An adjustment that waits for its order, or one that failed when the order came.

    A failed one has the reason as `code` and `errors`, and is listed until `expires_at`.
    """

    status: Literal["waiting", "failed"]
    adjustment_id: str
    kind: AdjustmentVerb
    order_id: str
    event: str
    amount: Decimal | None
    order_value: Decimal | None
    reason: str | None
    author: str
    received_at: Instant
    expires_at: Instant
    code: Reason | None = None
    errors: tuple[FieldError, ...] = ()


class _EarlyPage(msgspec.Struct, frozen=True):
    data: list[EarlyAdjustmentAnswer]
    next_cursor: None = None


class _OrderQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    order_id: Text128
    event: EventName = _EVENT
    click_id: str = ""


class Adjustments:
    """The routes of adjustments that name their conversion or order themselves."""

    def __init__(
        self,
        redis: Redis,
        directory: Directory,
        early: EarlyAdjustments,
        requested: RequestedAdjustments,
    ) -> None:
        self._redis = redis
        self._directory = directory
        self._early = early
        self._requested = requested

    def routes(self) -> list[BaseRoute]:
        return [
            Route(PATH, self.adjust, methods=["POST"]),
            Route(PATH, self.list_early, methods=["GET"]),
        ]

    async def adjust(self, request: Request) -> Response:
        """Makes one adjustment, or those of an array or of lines in their order."""
        key = await authorize_request(request, self._directory, ADJUSTMENT_SCOPE)
        by = requester(request, key, "postAdjustments", self._directory)
        media_type = requests.media_type(request.scope)
        if media_type in requests.NDJSON:
            return _json_response(await self._adjust_many(await _read_lines(request), by))
        requests.require_json(request)
        body = await requests.read_body(request, BATCH_MAX_BYTES)
        body = body.removeprefix(requests.BYTE_ORDER_MARK)
        if body.lstrip()[:1] != b"[":
            requests.check_size(len(body), requests.BODY_MAX_BYTES)
            return _single_response(await self._adjust_one(body, by, {}))
        entries = await split_array(body, BATCH_MAX)
        return _json_response(await self._adjust_many(entries, by))

    async def list_early(self, request: Request) -> Response:
        """Lists the adjustments of an order that wait for it, and those that failed."""
        key = await authorize_request(request, self._directory, READ_SCOPE)
        query = _parse_query(request.query_params.multi_items())
        order_id = posted_fields.normalize_identifier(query.order_id)
        order = NamedOrder(key.dataset, query.event, order_id, query.click_id)
        waiting, failed = await self._early.list_order(order, _now_ms())
        earlies = [*waiting, *(one.early for one in failed)]
        listed = [*map(_waiting_entry, waiting), *map(_failed_entry, failed)]
        visible = [
            entry
            for early, entry in zip(earlies, listed, strict=True)
            if key.campaign in (0, early.proposed.author.campaign)
        ]
        return requests.json_response(_EarlyPage(visible))

    async def _adjust_many(self, entries: Sequence[bytes], by: Requester) -> bytes:
        results: list[bytes] = []
        rejected, campaigns = 0, dict[int, Campaign | None]()
        unavailable: RedisError | None = None
        slices = LoopSlices()
        for entry in entries:
            await slices.next_if_over()
            try:
                if unavailable:
                    # An earlier one may change the same conversion, and must come first.
                    raise unavailable
                requests.check_size(len(entry), requests.BODY_MAX_BYTES)
                results.append(_result(await self._adjust_one(entry, by, campaigns)))
            except (Rejected, RedisError) as error:
                unavailable = unavailable or (error if isinstance(error, RedisError) else None)
                results.append(requests.encode(requests.refusal_of(error).entry()))
                rejected += 1
        counts = b'],"accepted":%d,"rejected":%d}' % (len(results) - rejected, rejected)
        return b'{"data":[' + b",".join(results) + counts

    async def _adjust_one(
        self, body: bytes, by: Requester, campaigns: dict[int, Campaign | None]
    ) -> AdjustmentResult | EarlyAdjustment:
        form = decode_form(body, OrderAdjustmentForm)
        check_scope(form, by.key)
        check_target(form)
        if form.conversion_id is not None:
            stored = await self._requested.find(by.key, form.conversion_id)
            check_adjustment(form)
            request_for = proposal_of(form, author_of(by.key)).request_for
            return await self._requested.adjust(stored, request_for, _now_ms(), by.source)
        check_adjustment(form)
        proposed = proposal_of(form, author_of(by.key))
        if campaign := proposed.campaign or by.key.campaign:
            await self._check_campaign(campaign, by.key, campaigns)
        assert form.order_id is not None
        order = NamedOrder(by.key.dataset, form.event or _EVENT, form.order_id)
        return await self._requested.adjust_order(order, proposed, _now_ms(), by.source)

    async def _check_campaign(
        self, number: int, key: ApiKey, known: dict[int, Campaign | None]
    ) -> None:
        """Rejected if an order cannot be of a campaign; `known` are those that were looked up."""
        if key.campaign and number != key.campaign:
            message = "is another campaign than the API key's"
            raise Rejected(Reason.forbidden, message, field="campaign_id")
        if number not in known:
            known[number] = await read_entry(self._redis, Campaign, number)
        campaign = known[number]
        if campaign is None or campaign.account != key.account:
            raise unknown_reference("campaign")
        if campaign.duplicates == "allow":
            message = "is not enough: its campaign allows an order many conversions"
            raise Rejected(Reason.not_adjustable, message, field="order_id")


async def _read_lines(request: Request) -> list[bytes]:
    chunks = requests.chunks(request.scope, request.receive, BATCH_MAX_BYTES)
    entries: list[bytes] = []
    async for lines in read_lines(chunks, BATCH_MAX + 1):
        entries += lines
        if len(entries) > BATCH_MAX:
            raise too_many_entries(BATCH_MAX)
    return entries


def _single_response(result: AdjustmentResult | EarlyAdjustment) -> Response:
    if isinstance(result, EarlyAdjustment):
        return requests.json_response(_waiting_answer(result), 202)
    body = adjusted_answer(result.state, result.entry, repeated=result.repeated)
    return _json_response(body, 200 if result.repeated else 201)


def _result(result: AdjustmentResult | EarlyAdjustment) -> bytes:
    """Returns a result of many; without histories, which would repeat each other."""
    if isinstance(result, EarlyAdjustment):
        return b'{"status":202,"waiting":%b}' % requests.encode(_waiting_answer(result))
    body = adjusted_answer(result.state, result.entry, repeated=result.repeated, with_history=False)
    return b'{"status":%d,%b' % (200 if result.repeated else 201, body[1:])


def _json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _waiting_answer(early: EarlyAdjustment) -> WaitingAnswer:
    order = early.order
    return WaitingAnswer(
        "waiting",
        early.proposed.adjustment_id,
        order.order_id,
        order.event,
        _instant(early.expires_ms),
    )


def _waiting_entry(early: EarlyAdjustment) -> EarlyAdjustmentAnswer:
    proposed = early.proposed
    return EarlyAdjustmentAnswer(
        status="waiting",
        adjustment_id=proposed.adjustment_id,
        kind=VERBS[proposed.kind],
        order_id=early.order.order_id,
        event=early.order.event,
        amount=proposed.amount,
        order_value=proposed.order_value,
        reason=proposed.reason or None,
        author=proposed.author.name,
        received_at=_instant(early.parked_ms),
        expires_at=_instant(early.expires_ms),
    )


def _failed_entry(failed: FailedAdjustment) -> EarlyAdjustmentAnswer:
    return msgspec.structs.replace(
        _waiting_entry(failed.early),
        status="failed",
        expires_at=_instant(failed.expires_ms),
        code=failed.code,
        errors=(FieldError(failed.field, failed.message),),
    )


def _instant(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _parse_query(items: Sequence[tuple[str, str]]) -> _OrderQuery:
    """Parses the parameters of the list; Rejected, naming the parameter."""
    for name, times in Counter(name for name, _ in items).items():
        if times > 1:
            raise Rejected(Reason.invalid_field, "is given more than once", field=name)
    try:
        return msgspec.convert(dict(items), _OrderQuery)
    except msgspec.ValidationError as error:
        raise requests.invalid(error) from None


_ORDER_ADJUSTMENT: dict[str, Any] = {
    "order_id": "order_12345",
    "kind": "refund",
    "amount": 20.00,
    "adjustment_id": "return-1",
}
_WAITING: dict[str, Any] = {
    "status": "waiting",
    "adjustment_id": "return-1",
    "order_id": "order_12345",
    "event": _EVENT,
    "expires_at": "2026-05-07T10:00:00Z",
}
_FAILED: dict[str, Any] = {
    **_WAITING,
    "status": "failed",
    "kind": "refund",
    "amount": 120.00,
    "order_value": None,
    "reason": None,
    "author": "key_1",
    "received_at": "2026-05-04T10:00:00Z",
    "code": "amount_exceeds",
    "errors": [{"field": "amount", "message": "is more than is left to refund: 99.99"}],
}
_LINES = (
    '{"order_id":"order_1","kind":"refund","amount":"5.00","adjustment_id":"return-1"}\n'
    '{"order_id":"order_2","kind":"approve","adjustment_id":"approval-2"}\n'
)
OPERATIONS = [
    Operation(
        id="postAdjustments",
        tag="Conversions",
        method="POST",
        path=PATH,
        summary="Adjust conversions by id or by order.",
        description="Makes an adjustment, or an array or lines of up to 1,000 in their order. Each"
        " names a conversion by `conversion_id`, or an order by `order_id` and `event`. One that"
        " comes before its order waits for 72 hours and is made as soon as the conversion is"
        " stored. Several adjustments answer 200 with a result each. The same `adjustment_id` sent"
        " again changes nothing.",
        scope=ADJUSTMENT_SCOPE,
        bodies=[
            of(OrderAdjustmentForm, list[OrderAdjustmentForm], example=_ORDER_ADJUSTMENT),
            *(text_body(_LINES, media) for media in requests.NDJSON),
        ],
        answers={
            200: of(
                AdjustmentAnswer,
                AdjustmentBatchAnswer,
                example={**ADJUSTED_EXAMPLE, "duplicate": True},
            ),
            201: of(AdjustmentAnswer, example=ADJUSTED_EXAMPLE),
            202: of(WaitingAnswer, example=_WAITING),
        },
        refusals=(404, 409, 429),
        texts={
            200: "Already adjusted so, or the results of several adjustments.",
            201: "Adjusted.",
            202: "The adjustment waits for the conversion of its order.",
        },
    ),
    Operation(
        id="listEarlyAdjustments",
        tag="Conversions",
        method="GET",
        path=PATH,
        summary="List an order's early adjustments.",
        description="Returns the adjustments that wait for the order, then those that could not be"
        " made when its conversion came, or for which none came, for 72 hours.",
        scope=READ_SCOPE,
        parameters=[
            Parameter("order_id", "The order.", required=True),
            Parameter("event", "The event of the order's conversion, `sale` by default."),
            Parameter("click_id", "The click, if its vendor's orders are unique in a click only."),
        ],
        answers={200: page_of(EarlyAdjustmentAnswer, _FAILED)},
    ),
]
