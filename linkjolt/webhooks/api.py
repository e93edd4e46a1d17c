"""Serves `/v1/webhooks`: endpoints and their secrets."""

from contextlib import suppress
from typing import Any

from starlette.responses import Response

from linkjolt.registry.entries import Webhook
from linkjolt.storage.redis import RedisError
from linkjolt.web.collections import Call, Collection, Described, Endpoint, body_of, entry_number
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import json_response
from linkjolt.webhooks.allowed_targets import private_targets
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
from linkjolt.webhooks.queue import DeliveryQueue

SCOPE = "webhooks:write"


async def _rotate(call: Call) -> Response:
    number = entry_number(call, "webhook")
    webhook = await call.registry.get(Webhook, call.key.dataset, number)
    form = await body_of(call.request, WebhookRotateForm)
    changed = await call.registry.patch(
        Webhook,
        webhook.account,
        webhook.number,
        lambda entry: rotated(entry, call.now, form.overlap_seconds),
    )
    return json_response(new_webhook_answer(changed))


async def _create(call: Call, form: WebhookForm) -> NewWebhookAnswer:
    settings = call.settings
    webhook = new_webhook(form, call.key.dataset, call.now, private_targets(settings))
    await check_filter(call.registry, webhook, call.account)
    created = await call.registry.create_webhook(webhook, settings.webhook_endpoints_max)
    return new_webhook_answer(created)


async def _forget(call: Call, number: int) -> None:
    # What is left now, the webhooks process deletes.
    with suppress(RedisError):
        await DeliveryQueue(call.registry.redis).delete(number)


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
        webhook, patch, private_targets(call.settings)
    ),
    answer=lambda _, webhook: webhook_answer(webhook),
    check=lambda call, webhook: check_filter(call.registry, webhook, call.account),
    forget=_forget,
    # Those of a test key receive test events.
    owner=lambda call: call.key.dataset,
    has_modes=True,
)


ENDPOINTS = [
    Endpoint(
        Operation(
            id="rotateWebhookSecret",
            tag="Webhooks",
            method="POST",
            path="/v1/webhooks/{id}/rotate",
            summary="Rotate a webhook's secret.",
            description="Makes a new secret. Those before sign, too, until their overlap ends;"
            " there are 5 at most.",
            scope=SCOPE,
            bodies=[of(WebhookRotateForm, example={"overlap_seconds": 86400})],
            answers={200: of(NewWebhookAnswer, example=_NEW_EXAMPLE)},
            refusals=(404, 409),
        ),
        _rotate,
    ),
]
