"""`/v1/conversions/{conversion_id}`: read, adjusted, attributed by hand; on both listeners."""

import time
from typing import Any

import msgspec
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.auth.access import authorize_request
from linkjolt.conversions.adjust import AdjustmentResult
from linkjolt.conversions.answer import EXAMPLE
from linkjolt.conversions.forms import (
    ADJUSTMENT_SCOPE,
    SCOPE,
    AdjustmentForm,
    AttributionForm,
    check_adjustment,
    check_attribution,
    check_scope,
    decode_form,
    proposal_of,
)
from linkjolt.conversions.history import (
    AdjustmentAnswer,
    ConversionDetailsAnswer,
    adjusted_answer,
    read_answer,
)
from linkjolt.conversions.manual_attribution import find_payee
from linkjolt.conversions.proposed import author_of, check_campaign, propose_payee
from linkjolt.conversions.requested import RequestedAdjustments, requester
from linkjolt.conversions.reservations import RefusedPost, StoredReservation, find_reservation
from linkjolt.directory.directory import Directory
from linkjolt.events import ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests
from linkjolt.web.openapi import Body, Operation, of

PATH = "/v1/conversions"
READ_SCOPE = f"{SCOPE} or reports:read"


class ConversionOutcomeAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a post that was answered 202: `queued`, or `refused` with the reason."""

    conversion_id: str
    status: str
    reason: str = ""
    conflicts_with: str = ""


class Conversions:
    """The routes under one conversion's id."""

    def __init__(
        self, redis: Redis, directory: Directory, shards: int, requested: RequestedAdjustments
    ) -> None:
        self._redis = redis
        self._directory = directory
        self._shards = shards
        self._requested = requested

    def routes(self) -> list[BaseRoute]:
        one = f"{PATH}/{{conversion_id}}"
        return [
            Route(one, self.get, methods=["GET"]),
            Route(f"{one}/adjustments", self.adjust, methods=["POST"]),
            Route(f"{one}/attribute", self.attribute, methods=["POST"]),
        ]

    async def get(self, request: Request) -> Response:
        """Answers a conversion by its id, as it is now; queued and refused ones too."""
        key = await authorize_request(request, self._directory, READ_SCOPE, narrows=True)
        conversion_id: str = request.path_params["conversion_id"]
        # Of a queued post nobody knows yet whose it is.
        if not key.affiliate and await self._requested.is_queued(conversion_id):
            return requests.json_response(ConversionOutcomeAnswer(conversion_id, "queued"))
        found = await find_reservation(self._redis, self._shards, conversion_id)
        refused = found if isinstance(found, RefusedPost) else None
        if refused:
            found = await find_reservation(self._redis, self._shards, refused.conflicts_with)
        if not isinstance(found, StoredReservation) or not _is_visible(
            found.reservation.state, key
        ):
            raise Rejected(Reason.not_found, "no such conversion")
        check_campaign(found.reservation.state, author_of(key))
        if refused:
            outcome = ConversionOutcomeAnswer(
                conversion_id, "refused", Reason.conflict, refused.conflicts_with
            )
            return requests.json_response(outcome)
        return _json_response(read_answer(found.reservation.state))

    async def adjust(self, request: Request) -> Response:
        """Approves, rejects, refunds, reinstates or restates it, or marks its commission paid."""
        key = await authorize_request(request, self._directory, ADJUSTMENT_SCOPE)
        requests.require_json(request)
        body = await requests.read_body(request)
        stored = await self._requested.find(key, request.path_params["conversion_id"])
        form = decode_form(body, AdjustmentForm)
        check_scope(form, key)
        check_adjustment(form)
        request_for = proposal_of(form, author_of(key)).request_for
        source = requester(request, key, "adjustConversion", self._directory).source
        return _adjusted(await self._requested.adjust(stored, request_for, _now_ms(), source))

    async def attribute(self, request: Request) -> Response:
        """Gives a conversion that nothing attributed to an affiliate."""
        key = await authorize_request(request, self._directory, SCOPE)
        requests.require_json(request)
        body = await requests.read_body(request)
        stored = await self._requested.find(key, request.path_params["conversion_id"])
        form = decode_form(body, AttributionForm)
        check_attribution(form)
        rates = await self._directory.rates.table(key.account)
        payee_of = await find_payee(self._redis, rates, form, key.account)
        request_for = propose_payee(form.adjustment_id, author_of(key), form.reason, payee_of)
        source = requester(request, key, "attributeConversion", self._directory).source
        return _adjusted(await self._requested.adjust(stored, request_for, _now_ms(), source))


def _is_visible(state: ConversionState, key: ApiKey) -> bool:
    return state.account == key.dataset and key.affiliate in (0, state.affiliate)


def _adjusted(result: AdjustmentResult) -> Response:
    body = adjusted_answer(result.state, result.entry, repeated=result.repeated)
    return _json_response(body, 200 if result.repeated else 201)


def _json_response(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


_DETAILS: dict[str, Any] = {
    **EXAMPLE,
    "refunded": 0,
    "payout": "unpaid",
    "clawback": 0,
    "verified": True,
    "commission_rule": 1,
    "rate": None,
    "rate_from": None,
    "rate_to": None,
    "notes": [],
    "history_length": 1,
    "history": [
        {
            "adjustment_id": None,
            "kind": "created",
            "status": "pending",
            "order_value_change": 99.99,
            "commission_change": 29.99,
            "reason": None,
            "author": None,
            "timestamp": "2026-05-04T10:00:00Z",
        }
    ],
}
_APPROVED = {
    **_DETAILS["history"][0],
    "adjustment_id": "approval-1",
    "kind": "approved",
    "status": "approved",
    "order_value_change": 0,
    "commission_change": 0,
    "author": "key_1",
    "timestamp": "2026-05-05T10:00:00Z",
}
ADJUSTED_EXAMPLE: dict[str, Any] = {
    "adjustment": _APPROVED,
    "duplicate": False,
    "conversion": {
        **_DETAILS,
        "status": "approved",
        "history_length": 2,
        "history": [*_DETAILS["history"], _APPROVED],
    },
}
_ADJUSTED = of(AdjustmentAnswer, example=ADJUSTED_EXAMPLE)


def _adjusting(
    id: str, path: str, summary: str, description: str, form: Body, scope: str = SCOPE
) -> Operation:
    return Operation(
        id=id,
        tag="Conversions",
        method="POST",
        path=f"{PATH}/{{conversion_id}}/{path}",
        summary=summary,
        description=f"{description} The same `adjustment_id` sent again changes nothing.",
        scope=scope,
        bodies=[form],
        answers={200: _ADJUSTED, 201: _ADJUSTED},
        refusals=(404, 409),
        texts={200: "Already adjusted so: nothing was changed.", 201: "Adjusted."},
    )


OPERATIONS = [
    Operation(
        id="getConversion",
        tag="Conversions",
        method="GET",
        path=f"{PATH}/{{conversion_id}}",
        summary="Get a conversion.",
        description="Returns the conversion as it is now, with its history; or, for a post that"
        " was answered 202, whether it is still queued or was refused.",
        scope=READ_SCOPE,
        narrows=True,
        answers={200: of(ConversionDetailsAnswer, ConversionOutcomeAnswer, example=_DETAILS)},
        refusals=(404,),
    ),
    _adjusting(
        "adjustConversion",
        "adjustments",
        "Adjust a conversion.",
        "Approves, rejects, refunds or restates the conversion, takes a refund back, or marks its"
        " commission as paid. `pay` and `unpay` need the scope `payouts:write`, all else"
        " `conversions:write`.",
        of(AdjustmentForm, example={"kind": "approve", "adjustment_id": "approval-1"}),
        ADJUSTMENT_SCOPE,
    ),
    _adjusting(
        "attributeConversion",
        "attribute",
        "Attribute a conversion by hand.",
        "Gives an unattributed conversion to the affiliate of a link, or to an affiliate and a"
        " campaign.",
        of(AttributionForm, example={"adjustment_id": "by-hand-1", "tracking_code": "tc_7f3k9q2m"}),
    ),
]
