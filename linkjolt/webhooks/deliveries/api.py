"""Serves the deliveries of an endpoint: lists them, sends them again, and tests the endpoint.

A listener without the warehouse reaches what Redis holds: pending deliveries and the last outcomes.
One with it reaches the whole log.
"""

import base64
import binascii
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec
from redis.asyncio import Redis
from starlette.responses import Response

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Webhook, public_id
from linkjolt.registry.lists.query import parse_limit, unique_parameters
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.web.collections import Call, Endpoint, body_of, entry_number
from linkjolt.web.forms import Instant
from linkjolt.web.openapi import Body, Operation, of, paging
from linkjolt.web.requests import json_response
from linkjolt.webhooks.deliveries.backlog import QueueBounds, read_backlogs, record_replay
from linkjolt.webhooks.deliveries.delivery import (
    EVENT_MAX_MS,
    Delivery,
    DeliveryKey,
    DeliveryState,
)
from linkjolt.webhooks.events import test_body
from linkjolt.webhooks.queue import OUTCOMES_KEPT, DeliveryQueue, newest_before, newest_rounds

SCOPE = "webhooks:write"
# A delivery shows an event, and sends it to whatever address the endpoint has now.
_EVENTS_SCOPE = f"{SCOPE} and events:read"
# The log holds more only while the aggregator does not run.
_UNSTORED_MAX = 1_000
_KEY_MAX_CHARACTERS = 200
_CURSOR_DIGITS_MAX = 15


class DeliveryLog(Protocol):
    """The log of finished deliveries in the warehouse."""

    async def page(
        self, webhook: int, count: int, before: DeliveryKey | None
    ) -> list[Delivery]: ...

    async def find(self, webhook: int, webhook_id: str) -> Delivery | None: ...

    async def count(
        self, webhook: int, from_ms: int, to_ms: int, without: Sequence[str]
    ) -> int: ...

    async def with_bodies(self, deliveries: Sequence[Delivery]) -> list[Delivery]: ...


class WebhookReplayForm(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_": "from"},
):
    """The range to replay: events received at or after `from` and before `to`."""

    from_: Instant
    to: Instant


class DeliveryAttemptAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is null where the endpoint did not answer; `answer` is its first kilobyte."""

    at: Instant
    took_ms: int
    status: int | None
    error: str | None
    answer: str


class DeliveryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery: `body` is sent exactly so, under the same `webhook_id` each time.

    `body` is null where it is made again when it is sent: for a click that was delivered.
    """

    webhook_id: str
    event: str
    state: DeliveryState
    event_at: Instant
    body: str | None
    tries: list[DeliveryAttemptAnswer]


class BacklogAnswer(msgspec.Struct, frozen=True):
    """How many deliveries are pending, and since when events wait that are not among them yet."""

    pending: int
    waiting_since: datetime | None


class DeliveriesAnswer(msgspec.Struct, frozen=True):
    """One page of deliveries; `next_cursor` is null on the last one."""

    data: list[DeliveryAnswer]
    next_cursor: str | None
    backlog: BacklogAnswer


class QueuedDeliveriesAnswer(msgspec.Struct, frozen=True):
    """How many deliveries were queued."""

    queued: int


class DeliveryResource:
    """The deliveries of the endpoints of one Redis, with the log if the listener has it."""

    def __init__(self, redis: Redis, bounds: QueueBounds, log: DeliveryLog | None) -> None:
        self._redis = redis
        self._queue = DeliveryQueue(redis, bounds)
        self._log = log

    async def list_page(self, call: Call) -> Response:
        number = (await _found(call)).number
        parameters = call.request.query_params.multi_items()
        values = unique_parameters(parameters, {"cursor", "limit"})
        before = _parse_cursor(values.get("cursor", ""))
        limit = parse_limit(values.get("limit", "100"))
        found = await self._read_page(number, limit + 1, before)
        page = found[:limit]
        if self._log:
            page = await self._log.with_bodies(page)
        cursor = _make_cursor(page[-1].key) if len(found) > limit else None
        answers = [delivery_answer(one) for one in page]
        return json_response(DeliveriesAnswer(answers, cursor, await self._backlog(number)))

    async def _read_page(
        self, webhook: int, count: int, before: DeliveryKey | None
    ) -> list[Delivery]:
        """Reads a page of all there is, each delivery once, the newest events first."""
        # In the order in which a delivery moves on: none is missed that does so meanwhile.
        found = await self._queue.read_newest(webhook, count, before)
        if self._log:
            found += await self._queue.read_unstored(webhook, _UNSTORED_MAX)
            found += await self._log.page(webhook, count, before)
        return newest_before(newest_rounds(found), count, before)

    async def _backlog(self, webhook: int) -> BacklogAnswer:
        backlog = (await read_backlogs(self._redis, [webhook]))[webhook]
        starts = [int(one.start) >> 20 for one in backlog.ranges if not one.is_replay]
        return BacklogAnswer(backlog.pending, _at(min(starts)) if starts else None)

    async def _read_finished(self, webhook: int) -> list[Delivery]:
        """Reads the finished deliveries that Redis holds."""
        found = await self._queue.read_outcomes(webhook)
        if self._log:
            found += await self._queue.read_unstored(webhook, _UNSTORED_MAX)
        return newest_rounds(found)

    async def resend(self, call: Call) -> Response:
        number = (await _found(call)).number
        webhook_id: str = call.request.path_params["webhook_id"]
        one = await self._find(number, webhook_id)
        if one is None:
            raise Rejected(Reason.not_found, "there is no such delivery, or it is too old")
        await _audit(call, number)
        if not one.body:
            # The aggregator makes the body of a click again.
            event_ms, asked_ms = one.event_ms, max(one.finished_ms, _ms(call.now))
            await record_replay(
                self._redis, number, event_ms, event_ms + 1, asked_ms=asked_ms, only=webhook_id
            )
        elif not await self._queue.resend(number, [one], _ms(call.now)):
            raise _full()
        return json_response(QueuedDeliveriesAnswer(1), 202)

    async def _find(self, webhook: int, webhook_id: str) -> Delivery | None:
        """Finds a delivery, without its body if only the aggregator can make it again."""
        for one in await self._queue.read(webhook, [webhook_id]):
            return one
        finished = await self._read_finished(webhook)
        found = [one for one in finished if one.webhook_id == webhook_id]
        if self._log:
            found = [one for one in await self._log.with_bodies(found) if one.body]
        if found or not self._log:
            return found[0] if found else None
        return await self._log.find(webhook, webhook_id)

    async def replay(self, call: Call) -> Response:
        number = (await _found(call)).number
        form = await body_of(call.request, WebhookReplayForm)
        if form.to <= form.from_:
            raise Rejected(Reason.invalid_field, "must be after from", field="to")
        now_ms = _ms(call.now)
        from_ms, to_ms = (min(max(_ms(at), 0), EVENT_MAX_MS) for at in (form.from_, form.to))
        kept = await self._read_finished(number)
        ids = [one.webhook_id for one in kept]
        older = await self._log.count(number, from_ms, to_ms, ids) if self._log else 0
        chosen = [one for one in kept if from_ms <= one.event_ms < to_ms]
        await _audit(call, number)
        if not older and len(kept) < OUTCOMES_KEPT and all(one.body for one in chosen):
            queued = await self._queue.replay(number, from_ms, to_ms, now_ms)
            return json_response(QueuedDeliveriesAnswer(queued), 202)
        # All that are finished from the log, or the newest would come first.
        asked_ms = max([now_ms, *(one.finished_ms for one in kept)])
        await record_replay(self._redis, number, from_ms, to_ms, asked_ms=asked_ms)
        pending = await self._queue.replay_pending(number, from_ms, to_ms, now_ms)
        return json_response(QueuedDeliveriesAnswer(pending + older + len(chosen)), 202)

    async def test(self, call: Call) -> Response:
        webhook = await _found(call)
        one = Delivery(
            webhook_id=f"msg_{secrets.token_hex(16)}",
            event="test",
            body=test_body(call.now).decode(),
            event_ms=_ms(call.now),
            account=webhook.account,
        )
        await _audit(call, webhook.number)
        if not await self._queue.enqueue([(webhook.number, one)], _ms(call.now)):
            raise _full()
        return json_response(delivery_answer(one), 202)

    def endpoints(self) -> list[Endpoint]:
        """Lists the operations, each with what answers it."""
        actions = (self.list_page, self.resend, self.replay, self.test)
        return [Endpoint(*pair) for pair in zip(OPERATIONS, actions, strict=True)]


async def _found(call: Call) -> Webhook:
    number = entry_number(call, "webhook")
    return await call.registry.get(Webhook, call.key.dataset, number)


async def _audit(call: Call, webhook: int) -> None:
    await call.registry.audit(call.account, public_id("webhook", webhook))


def _full() -> Rejected:
    message = "too many deliveries of this webhook are pending for another one"
    return Rejected(Reason.limit_reached, message)


def delivery_answer(one: Delivery) -> DeliveryAnswer:
    """Returns a delivery as the API shows it."""
    tries = [
        DeliveryAttemptAnswer(
            at=_at(this.at_ms),
            took_ms=this.took_ms,
            status=this.status or None,
            error=this.error or None,
            answer=this.answer,
        )
        for this in one.tries
    ]
    return DeliveryAnswer(
        webhook_id=one.webhook_id,
        event=one.event,
        state=one.state,
        event_at=_at(one.event_ms),
        body=one.body or None,
        tries=tries,
    )


def _make_cursor(key: DeliveryKey) -> str:
    text = ":".join(map(str, key))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse_cursor(cursor: str) -> DeliveryKey | None:
    if not cursor:
        return None
    try:
        padded = cursor[:_KEY_MAX_CHARACTERS] + "=" * (-len(cursor) % 4)
        ms_digits, place_digits, webhook_id = base64.urlsafe_b64decode(padded).decode().split(":")
    except (binascii.Error, ValueError):
        ms_digits = place_digits = webhook_id = ""
    event_ms = parse_whole_number(ms_digits, _CURSOR_DIGITS_MAX)
    place = parse_whole_number(place_digits, _CURSOR_DIGITS_MAX)
    if event_ms is None or place is None:
        message = "is not a cursor of this list"
        raise Rejected(Reason.invalid_field, message, field="cursor")
    return event_ms, place, webhook_id


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


_DELIVERY: dict[str, Any] = {
    "webhook_id": "msg_5f0c2a9be1d347085f0c2a9be1d34708",
    "event": "conversion.created",
    "state": "delivered",
    "event_at": "2026-05-04T10:00:00Z",
    "body": '{"event":"conversion.created","data":{}}',
    "tries": [
        {
            "at": "2026-05-04T10:00:01Z",
            "took_ms": 84,
            "status": 200,
            "error": None,
            "answer": "ok",
        }
    ],
}
_PAGE: dict[str, Any] = {
    "data": [_DELIVERY],
    "next_cursor": None,
    "backlog": {"pending": 0, "waiting_since": None},
}


def _post(
    id: str,
    path: str,
    summary: str,
    description: str,
    answer: Mapping[int, Body],
    form: Body | None,
    scope: str = _EVENTS_SCOPE,
) -> Operation:
    return Operation(
        id=id,
        tag="Webhooks",
        method="POST",
        path=f"/v1/webhooks/{{id}}/{path}",
        summary=summary,
        description=description,
        scope=scope,
        bodies=[form] if form else (),
        answers=answer,
        refusals=(404, 409, 429),
        texts={202: "Accepted; the deliveries are queued."},
    )


_QUEUED = {202: of(QueuedDeliveriesAnswer, example={"queued": 1})}
OPERATIONS = (
    Operation(
        id="listDeliveries",
        tag="Webhooks",
        method="GET",
        path="/v1/webhooks/{id}/deliveries",
        summary="List an endpoint's deliveries.",
        description="Returns deliveries, the newest events first, each with its attempts. An edge"
        f" knows those that are pending and the last {OUTCOMES_KEPT} others; the reports listener"
        " the whole log.",
        scope=_EVENTS_SCOPE,
        parameters=paging(),
        answers={200: of(DeliveriesAnswer, example=_PAGE)},
        refusals=(404, 429),
    ),
    _post(
        "resendDelivery",
        "deliveries/{webhook_id}/resend",
        "Resend a delivery.",
        "Queues one delivery again, with the same body and id.",
        _QUEUED,
        None,
    ),
    _post(
        "replayDeliveries",
        "replay",
        "Replay the deliveries of a range.",
        "Queues all deliveries again whose events were received in the range: in the order of the"
        " events, behind new ones.",
        _QUEUED,
        of(
            WebhookReplayForm,
            example={"from": "2026-05-04T00:00:00Z", "to": "2026-05-05T00:00:00Z"},
        ),
    ),
    _post(
        "testWebhook",
        "test",
        "Send a test event.",
        "Queues a signed event of type `test`; its delivery is listed like any other.",
        {202: of(DeliveryAnswer, example={**_DELIVERY, "state": "pending", "tries": []})},
        None,
        SCOPE,
    ),
)
