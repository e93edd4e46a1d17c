"""Checks the bodies that create and change webhooks, and writes their answers."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from linkjolt.datasets import Account, Dataset
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Affiliate, Campaign, Webhook, WebhookSecret, public_id
from linkjolt.registry.store import Registry
from linkjolt.web.forms import Instant, reference, unknown_reference
from linkjolt.webhooks.allowed_targets import PrivateTargets, parse_target
from linkjolt.webhooks.events import EVENT_TYPES
from linkjolt.webhooks.signing import make_secret

_FILTERED_MAX = 100
_OVERLAP_MAX_SECONDS = 30 * 86_400
# Valid at the same time, the new one among them: each adds to the headers of a delivery.
SECRETS_MAX = 5
Events = Annotated[tuple[str, ...], Meta(min_length=1, max_length=len(EVENT_TYPES))]
Ids = Annotated[tuple[str, ...], Meta(max_length=_FILTERED_MAX)]


class WebhookFilterForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Absent parts let all events pass; `min_value` is in major units of the order's currency."""

    campaign_id: Ids = ()
    affiliate_id: Ids = ()
    min_value: Decimal | None = None


class WebhookForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A webhook endpoint to create."""

    url: str
    events: Events
    filter: WebhookFilterForm = WebhookFilterForm()


class WebhookPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to a webhook endpoint."""

    url: str | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    filter: WebhookFilterForm | UnsetType = UNSET
    status: Literal["active", "disabled"] | UnsetType = UNSET


class WebhookRotateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the secret before signs, too; 0 drops it at once."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=_OVERLAP_MAX_SECONDS)] = 86_400


class WebhookFilterAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which events are delivered; empty lists let all pass."""

    campaign_id: tuple[str, ...]
    affiliate_id: tuple[str, ...]
    min_value: Decimal | None


class WebhookAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`disabled_reason` says why deliveries stopped, where no person stopped them."""

    id: str
    url: str
    events: tuple[str, ...]
    filter: WebhookFilterAnswer
    status: Literal["active", "disabled"]
    disabled_reason: str | None
    created_at: Instant


class NewWebhookAnswer(WebhookAnswer, frozen=True, kw_only=True):
    """A webhook whose secret was just made; it is shown this once."""

    secret: str


def new_webhook(
    form: WebhookForm, dataset: Dataset, now: datetime, allowed: PrivateTargets
) -> Webhook:
    """The webhook of a form, its number still 0; Rejected, naming the field."""
    made = Webhook(
        number=0,
        account=dataset,
        url=form.url,
        events=form.events,
        secrets=(WebhookSecret(make_secret()),),
        created_at=now,
    )
    return _checked(_filtered(made, form.filter), allowed)


def patched_webhook(webhook: Webhook, patch: WebhookPatch, allowed: PrivateTargets) -> Webhook:
    """The webhook with what the patch sets; one that is made active again has no notice."""
    changed = webhook
    if patch.url is not UNSET:
        changed = msgspec.structs.replace(changed, url=patch.url)
    if patch.events is not UNSET:
        changed = msgspec.structs.replace(changed, events=patch.events)
    if patch.filter is not UNSET:
        changed = _filtered(changed, patch.filter)
    if patch.status is not UNSET:
        changed = msgspec.structs.replace(changed, status=patch.status, disabled_reason="")
    return _checked(changed, allowed)


def rotated(webhook: Webhook, now: datetime, overlap_seconds: int) -> Webhook:
    """Returns the webhook with a new secret; former ones stay valid as long as was promised.

    Rejected if too many would be valid. Without an overlap the secret before is dropped at once.
    """
    kept = [one for one in webhook.secrets[1:] if one.expires_at and one.expires_at > now]
    if overlap_seconds:
        if len(kept) >= SECRETS_MAX - 1:
            first = min(one.expires_at for one in kept if one.expires_at)
            message = (
                f"must be 0 before {first:%Y-%m-%dT%H:%M:%SZ}:"
                f" {SECRETS_MAX} secrets sign each delivery already"
            )
            raise Rejected(Reason.invalid_field, message, field="overlap_seconds")
        until = now.astimezone(UTC) + timedelta(seconds=overlap_seconds)
        kept.insert(0, WebhookSecret(webhook.secrets[0].secret, until))
    return msgspec.structs.replace(webhook, secrets=(WebhookSecret(make_secret()), *kept))


def _filtered(webhook: Webhook, wanted: WebhookFilterForm) -> Webhook:
    return msgspec.structs.replace(
        webhook,
        campaigns=tuple(reference("campaign", text) for text in wanted.campaign_id),
        affiliates=tuple(reference("affiliate", text) for text in wanted.affiliate_id),
        min_value=wanted.min_value,
    )


def _checked(webhook: Webhook, allowed: PrivateTargets) -> Webhook:
    parse_target(webhook.url, allowed)
    for index, event in enumerate(webhook.events):
        if event not in EVENT_TYPES:
            message = f"must be one of {', '.join(EVENT_TYPES)}"
            raise Rejected(Reason.invalid_field, message, field=f"events[{index}]")
    least = webhook.min_value
    if least is not None and not (least.is_finite() and least >= 0):
        message = "must be a number of at least 0"
        raise Rejected(Reason.invalid_field, message, field="filter.min_value")
    return webhook


async def check_filter(registry: Registry, webhook: Webhook, account: Account) -> None:
    """Rejected, naming the field, where a filter names what the account does not have."""
    campaigns = set(webhook.campaigns)
    if campaigns - await registry.existing(Campaign, account, campaigns):
        raise unknown_reference("campaign")
    affiliates = set(webhook.affiliates)
    if affiliates - await registry.existing(Affiliate, account, affiliates):
        raise unknown_reference("affiliate")


def webhook_answer(webhook: Webhook) -> WebhookAnswer:
    return WebhookAnswer(
        id=public_id("webhook", webhook.number),
        url=webhook.url,
        events=webhook.events,
        filter=WebhookFilterAnswer(
            campaign_id=tuple(public_id("campaign", number) for number in webhook.campaigns),
            affiliate_id=tuple(public_id("affiliate", number) for number in webhook.affiliates),
            min_value=webhook.min_value,
        ),
        status=webhook.status,
        disabled_reason=webhook.disabled_reason or None,
        created_at=webhook.created_at,
    )


def new_webhook_answer(webhook: Webhook) -> NewWebhookAnswer:
    shown = msgspec.structs.asdict(webhook_answer(webhook))
    return NewWebhookAnswer(secret=webhook.secrets[0].secret, **shown)
