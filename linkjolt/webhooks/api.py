"""`/v1/webhooks`: endpoints, their deliveries (listed, resent, replayed, tested), their secrets."""

import secrets
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast

import msgspec
from starlette.responses import Response

from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Webhook
from linkjolt.storage.redis import RedisError
from linkjolt.web.collections import (
    Call,
    Collection,
    Described,
    Endpoint,
    Page,
    body_of,
    entry_number,
    page_of,
)
from linkjolt.web.forms import Instant
from linkjolt.web.openapi import Body, Operation, of, paging
from linkjolt.web.openapi import page_of as page_body
from linkjolt.web.requests import json_response
from linkjolt.webhooks.events import test_body
from linkjolt.webhooks.forms import (
    NewWebhookAnswer,
    WebhookAnswer,
    WebhookForm,
    WebhookPatch,
    WebhookRotateForm,
    check_filter,
    new_webhook,
    new_webhook_answer,
    patched_webhook,
    rotated,
    webhook_answer,
)
from linkjolt.webhooks.queue import Delivery, DeliveryQueue, DeliveryState

SCOPE = "webhooks:write"


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
    """One delivery: `body` is sent exactly so, under the same `webhook_id` each time."""

    webhook_id: str
    event: str
    state: DeliveryState
    event_at: Instant
    body: str
    tries: list[DeliveryAttemptAnswer]


class QueuedDeliveriesAnswer(msgspec.Struct, frozen=True):
    """How many deliveries were queued."""

    queued: int


async def _found(call: Call) -> Webhook:
    number = entry_number(call, "webhook")
    return await call.registry.get(Webhook, call.key.dataset, number)


def _queue(call: Call) -> DeliveryQueue:
    return DeliveryQueue(call.registry.redis)


async def _deliveries(call: Call) -> Response:
    webhook = await _found(call)
    offset, limit = page_of(call.request.query_params)
    found = await _queue(call).read_newest(webhook.number, offset, limit + 1)
    data = cast(list[object], [_answer(one) for one in found[:limit]])
    cursor = str(offset + limit) if len(found) > limit else None
    return json_response(Page(data=data, next_cursor=cursor))


async def _resend(call: Call) -> Response:
    webhook = await _found(call)
    webhook_id: str = call.request.path_params["webhook_id"]
    queued = await _queue(call).resend(webhook.number, [webhook_id], _ms(call.now))
    if not queued:
        raise Rejected(Reason.not_found, "there is no such delivery, or it is too old")
    return json_response(QueuedDeliveriesAnswer(queued), 202)


async def _replay(call: Call) -> Response:
    webhook = await _found(call)
    form = await body_of(call.request, WebhookReplayForm)
    if form.to <= form.from_:
        raise Rejected(Reason.invalid_field, "must be after from", field="to")
    queue, now_ms = _queue(call), _ms(call.now)
    queued = await queue.replay(webhook.number, _ms(form.from_), _ms(form.to), now_ms)
    return json_response(QueuedDeliveriesAnswer(queued), 202)


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
    form = await body_of(call.request, WebhookRotateForm)
    changed = await call.registry.patch(
        Webhook,
        webhook.account,
        webhook.number,
        lambda entry: rotated(entry, call.now, form.overlap_seconds),
    )
    return json_response(new_webhook_answer(changed))


def _answer(one: Delivery) -> DeliveryAnswer:
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
        body=one.body,
        tries=tries,
    )


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)


async def _create(call: Call, form: WebhookForm) -> NewWebhookAnswer:
    webhook = new_webhook(form, call.key.dataset, call.now, allow_private=call.allow_private)
    await check_filter(call.registry, webhook, call.account)
    return new_webhook_answer(await call.registry.create_webhook(webhook, call.webhooks_max))


async def _forget(call: Call, number: int) -> None:
    # What is left now, the webhooks process deletes.
    with suppress(RedisError):
        await _queue(call).delete(number)


_FORM: dict[str, Any] = {
    "url": "https://hooks.shop.example/linkjolt",
    "events": ["conversion.created", "conversion.approved"],
}
_EXAMPLE: dict[str, Any] = {
    "id": "whk_1",
    **_FORM,
    "filter": {"campaign_id": [], "affiliate_id": [], "min_value": None},
    "status": "active",
    "disabled_reason": None,
    "created_at": "2026-05-04T10:00:00Z",
}
_NEW_EXAMPLE = {**_EXAMPLE, "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
_DELIVERY: dict[str, Any] = {
    "webhook_id": "msg_5f0c2a9be1d347085f0c2a9be1d34708",
    "event": "conversion.created",
    "state": "delivered",
    "event_at": "2026-05-04T10:00:00Z",
    "body": '{"type":"conversion.created","timestamp":"2026-05-04T10:00:00Z","data":{}}',
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
WEBHOOKS = Collection(
    path="/v1/webhooks",
    described=Described(
        id="Webhook",
        tag="Webhooks",
        noun="webhook",
        note="Creates an endpoint that receives signed events; its secret is shown this once.",
        answer=WebhookAnswer,
        created=NewWebhookAnswer,
        form_example=_FORM,
        patch_example={"status": "disabled"},
        example=_EXAMPLE,
        created_example=_NEW_EXAMPLE,
    ),
    entry=Webhook,
    form=WebhookForm,
    patch_form=WebhookPatch,
    read_scope=SCOPE,
    write_scope=SCOPE,
    create=_create,
    patch=lambda call, webhook, patch: patched_webhook(
        webhook, patch, allow_private=call.allow_private
    ),
    answer=lambda _, webhook: webhook_answer(webhook),
    check=lambda call, webhook: check_filter(call.registry, webhook, call.account),
    forget=_forget,
    # Those of a test key receive test events.
    owner=lambda call: call.key.dataset,
)


def _post(
    id: str, path: str, summary: str, description: str, answer: dict[int, Body], form: Body | None
) -> Operation:
    return Operation(
        id=id,
        tag="Webhooks",
        method="POST",
        path=f"/v1/webhooks/{{id}}/{path}",
        summary=summary,
        description=description,
        scope=SCOPE,
        bodies=[form] if form else (),
        answers=answer,
        refusals=(404, 409),
        texts={202: "Accepted; the deliveries are queued."},
    )


_QUEUED = {202: of(QueuedDeliveriesAnswer, example={"queued": 1})}
ENDPOINTS = [
    Endpoint(
        Operation(
            id="listDeliveries",
            tag="Webhooks",
            method="GET",
            path="/v1/webhooks/{id}/deliveries",
            summary="List an endpoint's deliveries.",
            description="Returns deliveries, the newest first, each with its attempts.",
            scope=SCOPE,
            parameters=paging(),
            answers={200: page_body(DeliveryAnswer, _DELIVERY)},
            refusals=(404,),
        ),
        _deliveries,
    ),
    Endpoint(
        _post(
            "resendDelivery",
            "deliveries/{webhook_id}/resend",
            "Resend a delivery.",
            "Queues one delivery again, with the same body and id.",
            _QUEUED,
            None,
        ),
        _resend,
    ),
    Endpoint(
        _post(
            "replayDeliveries",
            "replay",
            "Replay the deliveries of a range.",
            "Queues all deliveries again whose events were received in the range.",
            _QUEUED,
            of(
                WebhookReplayForm,
                example={"from": "2026-05-04T00:00:00Z", "to": "2026-05-05T00:00:00Z"},
            ),
        ),
        _replay,
    ),
    Endpoint(
        _post(
            "testWebhook",
            "test",
            "Send a test event.",
            "Queues a signed event of type `test`; its delivery is listed like any other.",
            {202: of(DeliveryAnswer, example={**_DELIVERY, "state": "pending", "tries": []})},
            None,
        ),
        _test,
    ),
    Endpoint(
        _post(
            "rotateWebhookSecret",
            "rotate",
            "Rotate a webhook's secret.",
            "Makes a new secret. Those before sign, too, until their overlap ends: 5 in all.",
            {200: of(NewWebhookAnswer, example=_NEW_EXAMPLE)},
            of(WebhookRotateForm, example={"overlap_seconds": 86400}),
        ),
        _rotate,
    ),
]
