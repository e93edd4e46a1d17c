"""`/v1/webhooks/{id}/…`: what was delivered, again, in a range, as a test; another secret."""

import secrets
from datetime import UTC, datetime
from typing import Annotated, cast

import msgspec
from msgspec import Meta
from starlette.responses import Response

from linkjolt.api.registry_answers import Page
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Webhook, read_id
from linkjolt.web.collections import Actions, Call, body_of, page_of
from linkjolt.web.requests import json_response
from linkjolt.webhooks.events import test_body
from linkjolt.webhooks.forms import RotateForm, new_webhook_answer, rotated
from linkjolt.webhooks.queue import Delivery, Queue, State

SCOPE = "webhooks:write"
Instant = Annotated[datetime, Meta(tz=True)]


class ReplayForm(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    forbid_unknown_fields=True,
    rename={"from_": "from"},
):
    """Events that came at or after `from` and before `to`."""

    from_: Instant
    to: Instant


class TryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`status` is null where no answer came; `answer` is its first kilobyte."""

    at: datetime
    took_ms: int
    status: int | None
    error: str | None
    answer: str


class DeliveryAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`body` is sent as it stands here, under `webhook_id` each time."""

    webhook_id: str
    event: str
    state: State
    event_at: datetime
    body: str
    tries: list[TryAnswer]


class Queued(msgspec.Struct, frozen=True):
    """How many deliveries were queued."""

    queued: int


def routes() -> dict[str, Actions]:
    """By path, of what is under one webhook."""
    one = "/v1/webhooks/{id}"
    return {
        f"{one}/deliveries": {"GET": (SCOPE, _deliveries)},
        f"{one}/deliveries/{{webhook_id}}/resend": {"POST": (SCOPE, _resend)},
        f"{one}/replay": {"POST": (SCOPE, _replay)},
        f"{one}/test": {"POST": (SCOPE, _test)},
        f"{one}/rotate": {"POST": (SCOPE, _rotate)},
    }


async def _found(call: Call) -> Webhook:
    number = read_id("webhook", call.request.path_params["id"])
    if number is None:
        raise Rejected(Reason.not_found, "there is no such webhook")
    return await call.registry.get(Webhook, call.key.books, number)


def _queue(call: Call) -> Queue:
    return Queue(call.registry.redis)


async def _deliveries(call: Call) -> Response:
    webhook = await _found(call)
    offset, limit = page_of(call.request.query_params)
    found = await _queue(call).newest(webhook.number, offset, limit + 1)
    data = cast(list[object], [_answer(one) for one in found[:limit]])
    cursor = str(offset + limit) if len(found) > limit else None
    return json_response(Page(data=data, next_cursor=cursor))


async def _resend(call: Call) -> Response:
    webhook = await _found(call)
    webhook_id: str = call.request.path_params["webhook_id"]
    queued = await _queue(call).resend(webhook.number, [webhook_id], _ms(call.now))
    if not queued:
        raise Rejected(Reason.not_found, "there is no such delivery, or it is too old")
    return json_response(Queued(queued), 202)


async def _replay(call: Call) -> Response:
    webhook = await _found(call)
    form = await body_of(call.request, ReplayForm)
    if form.to <= form.from_:
        raise Rejected(Reason.invalid_field, "must be after from", field="to")
    queue, now_ms = _queue(call), _ms(call.now)
    return json_response(
        Queued(await queue.replay(webhook.number, _ms(form.from_), _ms(form.to), now_ms)), 202
    )


async def _test(call: Call) -> Response:
    webhook = await _found(call)
    one = Delivery(
        webhook_id=f"msg_{secrets.token_hex(16)}",
        event="test",
        body=test_body(call.now).decode(),
        event_ms=_ms(call.now),
    )
    await _queue(call).enqueue([(webhook.number, one)], _ms(call.now))
    return json_response(_answer(one), 202)


async def _rotate(call: Call) -> Response:
    webhook = await _found(call)
    form = await body_of(call.request, RotateForm)
    changed = await call.registry.patch(
        Webhook,
        webhook.account,
        webhook.number,
        lambda entry: rotated(entry, call.now, form.overlap_seconds),
    )
    return json_response(new_webhook_answer(changed))


def _answer(one: Delivery) -> DeliveryAnswer:
    tries = [
        TryAnswer(
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
        body=one.body,
        tries=tries,
    )


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
