"""Conversions by their id: read, adjusted, attributed by hand; both listeners mount it (API 2)."""

import time
from collections.abc import Awaitable, Callable

import msgspec
from redis.asyncio import Redis
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from linkjolt.auth.access import authenticate, bearer, identify, require_any
from linkjolt.conversions.adjust import Adjusting, Done
from linkjolt.conversions.forms import (
    AdjustmentForm,
    AttributionForm,
    attribution_by,
    check_adjustment,
    check_attribution,
    wanted_by,
)
from linkjolt.conversions.history import adjusted_answer, read_answer
from linkjolt.conversions.manual_attribution import find_earner
from linkjolt.conversions.reservations import Held, Refused, find_held
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import public_id
from linkjolt.settings import Shared
from linkjolt.web import requests

PATH = "/v1/conversions"
SCOPE = "conversions:write"
READ_SCOPES = (SCOPE, "reports:read")
# Whether a conversion still waits on this machine's disk for Redis.
Queued = Callable[[str], Awaitable[bool]]


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a post that was answered 202: `queued`, or `refused` with the reason."""

    conversion_id: str
    status: str
    reason: str = ""
    conflicts_with: str = ""


class Conversions:
    """The routes under one conversion's id."""

    def __init__(
        self, redis: Redis, directory: Directory, settings: Shared, queued: Queued | None = None
    ) -> None:
        self._redis = redis
        self._directory = directory
        self._shards = settings.shards
        self._adjusting = Adjusting(redis, settings.shards, settings.conversion_state_days)
        self._queued = queued

    def routes(self) -> list[BaseRoute]:
        one = f"{PATH}/{{conversion_id}}"
        return [
            Route(one, self.get, methods=["GET"]),
            Route(f"{one}/adjustments", self.adjust, methods=["POST"]),
            Route(f"{one}/attribute", self.attribute, methods=["POST"]),
        ]

    async def get(self, request: Request) -> Response:
        """A conversion by its id, as it stands now; queued and refused ones too."""
        key = await identify(bearer(request.scope), self._directory)
        require_any(key, READ_SCOPES)
        conversion_id: str = request.path_params["conversion_id"]
        if self._queued and await self._queued(conversion_id):
            return requests.json_response(Outcome(conversion_id, "queued"))
        found = await find_held(self._redis, self._shards, conversion_id)
        refused = found if isinstance(found, Refused) else None
        if refused:
            found = await find_held(self._redis, self._shards, refused.conflicts_with)
        if not isinstance(found, Held) or found.reservation.state.account != key.books:
            raise Rejected(Reason.not_found, "no such conversion")
        if refused:
            outcome = Outcome(conversion_id, "refused", Reason.conflict, refused.conflicts_with)
            return requests.json_response(outcome)
        return _answer(read_answer(found.reservation.state))

    async def adjust(self, request: Request) -> Response:
        """Approves, rejects, refunds, restates; says that a commission is paid, or is not."""
        key = await authenticate(request, self._directory, SCOPE)
        requests.require_json(request)
        form = requests.decode(await requests.read_body(request), AdjustmentForm)
        check_adjustment(form)
        ask = wanted_by(form, public_id("key", key.number))
        conversion_id = await self._id_of(request)
        return _done(await self._adjusting.adjust(key.books, conversion_id, ask, _now_ms()))

    async def attribute(self, request: Request) -> Response:
        """Gives a conversion that nothing attributed to an affiliate."""
        key = await authenticate(request, self._directory, SCOPE)
        requests.require_json(request)
        form = requests.decode(await requests.read_body(request), AttributionForm)
        check_attribution(form)
        earner = await find_earner(self._redis, form, key.account)
        ask = attribution_by(form, public_id("key", key.number), earner)
        conversion_id = await self._id_of(request)
        return _done(await self._adjusting.adjust(key.books, conversion_id, ask, _now_ms()))

    async def _id_of(self, request: Request) -> str:
        conversion_id: str = request.path_params["conversion_id"]
        if self._queued and await self._queued(conversion_id):
            message = "the conversion is still queued: try again when it is no more"
            raise Rejected(Reason.unavailable, message)
        return conversion_id


def _done(done: Done) -> Response:
    body = adjusted_answer(done.state, done.entry, repeated=done.repeated)
    return _answer(body, 200 if done.repeated else 201)


def _answer(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
