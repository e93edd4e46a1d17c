"""`/v1/keys` and `/v1/me`: API keys, and what a key may know about itself."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from linkjolt.api.links_bulk import BATCH_MAX_BYTES, BULK_MAX
from linkjolt.auth.allowed_networks import NETWORKS_MAX, normalize_networks
from linkjolt.auth.key_grants import (
    check_expiry_granted,
    check_governed,
    check_rate_granted,
    effective_rate,
)
from linkjolt.datasets import Account
from linkjolt.directory.key_uses import read_key_uses
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.accounts import account_id
from linkjolt.registry.checks import check_name
from linkjolt.registry.entries import (
    AFFILIATE_SCOPES,
    SCOPES,
    Affiliate,
    ApiKey,
    Campaign,
    public_id,
)
from linkjolt.registry.store import PAGE_MAX, Registry
from linkjolt.settings import RATE_MAX_PER_MINUTE
from linkjolt.web.collections import Call, Collection, Described, Endpoint
from linkjolt.web.forms import Instant, Name, given, in_utc, reference, unknown_reference
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import BODY_MAX_BYTES, json_response

RatePerMinute = Annotated[int, Meta(ge=1, le=RATE_MAX_PER_MINUTE)]
Scopes = Annotated[tuple[str, ...], Meta(min_length=1, max_length=len(SCOPES))]
Networks = Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=NETWORKS_MAX)]


class ApiKeyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key to create.

    With `campaign_id` it takes only postbacks of that campaign, with `affiliate_id` it reads what
    is of that affiliate. It may be used from `allowed_networks` alone, unless these are empty.
    """

    name: Name
    scopes: Scopes
    expires_at: Instant | None = None
    campaign_id: str | None = None
    affiliate_id: str | None = None
    allowed_networks: Networks = ()
    test: bool = False
    rate_limit_per_minute: RatePerMinute | None = None


class ApiKeyPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to an API key."""

    name: Name | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET
    rate_limit_per_minute: RatePerMinute | UnsetType | None = UNSET
    allowed_networks: Networks | UnsetType = UNSET


class OldSecretAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A secret from before a rotation, valid until `expires_at`."""

    hint: str
    expires_at: Instant


class ApiKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An API key; `hint` is the beginning of its secret.

    `old_secrets` are those from before rotations that are still valid; `last_used_at` is to the
    minute.
    """

    id: str
    name: str
    scopes: tuple[str, ...]
    hint: str
    expires_at: Instant | None
    campaign_id: str | None
    affiliate_id: str | None
    allowed_networks: tuple[str, ...]
    test: bool
    created_at: Instant
    rate_limit_per_minute: int | None
    old_secrets: list[OldSecretAnswer]
    last_used_at: Instant | None


class NewApiKeyAnswer(ApiKeyAnswer, frozen=True, kw_only=True):
    """A key just created; `key` is its secret, `signing_secret` signs postbacks instead of it.

    Both are shown this once.
    """

    signing_secret: str
    key: str


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The largest bodies, batches and pages, and the requests that the key may send."""

    body_max_bytes: int
    batch_max_bytes: int
    bulk_links_max: int
    page_max: int
    requests_per_minute: int | None = None


class MeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a key, or a client with an access token, may know about itself."""

    account: str
    key: ApiKeyAnswer
    limits: Limits


LIMITS = Limits(
    body_max_bytes=BODY_MAX_BYTES,
    batch_max_bytes=BATCH_MAX_BYTES,
    bulk_links_max=BULK_MAX,
    page_max=PAGE_MAX,
)


def read_expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at <= now:
        raise Rejected(Reason.invalid_field, "must be in the future", field="expires_at")
    return in_utc(expires_at, "expires_at")


def check_scopes(scopes: Sequence[str]) -> None:
    """Rejected, naming its place, where a scope is unknown."""
    for index, scope in enumerate(scopes):
        if scope not in SCOPES:
            message = f"must be one of {', '.join(SCOPES)}"
            raise Rejected(Reason.invalid_field, message, field=f"scopes[{index}]")


def new_key(form: ApiKeyForm, account: Account, now: datetime, digest: str, hint: str) -> ApiKey:
    """The key of a form, its number still 0; Rejected, naming the field."""
    check_name(form.name)
    check_scopes(form.scopes)
    _check_binding(form)
    return ApiKey(
        number=0,
        account=account,
        name=form.name,
        scopes=tuple(dict.fromkeys(form.scopes)),
        digest=digest,
        hint=hint,
        expires_at=read_expiry(form.expires_at, now),
        campaign=reference("campaign", form.campaign_id) if form.campaign_id else 0,
        affiliate=reference("affiliate", form.affiliate_id) if form.affiliate_id else 0,
        allowed_networks=normalize_networks(form.allowed_networks),
        test=form.test,
        created_at=now,
        signing_secret=api_key_secrets.make_signing_secret(),
        rate_limit_per_minute=form.rate_limit_per_minute,
    )


def _check_binding(form: ApiKeyForm) -> None:
    """Rejected where a key could read or write what is not of its campaign or affiliate."""
    if form.campaign_id and form.affiliate_id:
        raise Rejected(Reason.invalid_field, "goes without campaign_id", field="affiliate_id")
    if form.campaign_id and any(scope != "postback" for scope in form.scopes):
        message = "goes only with the scope postback"
        raise Rejected(Reason.invalid_field, message, field="campaign_id")
    if form.affiliate_id and any(scope not in AFFILIATE_SCOPES for scope in form.scopes):
        message = f"goes only with the scopes {', '.join(AFFILIATE_SCOPES)}"
        raise Rejected(Reason.invalid_field, message, field="affiliate_id")


async def create_key(
    registry: Registry,
    form: ApiKeyForm,
    account: Account,
    now: datetime,
    check: Callable[[ApiKey], None] | None = None,
) -> tuple[ApiKey, str]:
    """Creates the key of a form, and returns it with its secret; Rejected, naming the field.

    `check` decides whether it may be granted.
    """
    secret = api_key_secrets.make_secret(test=form.test)
    key = new_key(form, account, now, api_key_secrets.digest(secret), api_key_secrets.hint(secret))
    if check:
        check(key)
    if key.campaign and not await registry.existing(Campaign, account, {key.campaign}):
        raise unknown_reference("campaign")
    if key.affiliate and not await registry.existing(Affiliate, account, {key.affiliate}):
        raise unknown_reference("affiliate")
    return await registry.create(key), secret


def patched_key(key: ApiKey, patch: ApiKeyPatch, now: datetime) -> ApiKey:
    patched = msgspec.structs.replace(key, **given(patch))
    if patch.name is not UNSET:
        check_name(patch.name)
    networks = normalize_networks(patched.allowed_networks)
    patched = msgspec.structs.replace(patched, allowed_networks=networks)
    if patch.expires_at is UNSET:
        return patched
    return msgspec.structs.replace(patched, expires_at=read_expiry(patched.expires_at, now))


def key_answer(key: ApiKey, now: datetime, last_used_at: datetime | None = None) -> ApiKeyAnswer:
    return ApiKeyAnswer(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        hint=key.hint,
        expires_at=key.expires_at,
        campaign_id=public_id("campaign", key.campaign) if key.campaign else None,
        affiliate_id=public_id("affiliate", key.affiliate) if key.affiliate else None,
        allowed_networks=key.allowed_networks,
        test=key.test,
        created_at=key.created_at,
        rate_limit_per_minute=key.rate_limit_per_minute,
        old_secrets=[
            OldSecretAnswer(hint=one.hint, expires_at=one.expires_at)
            for one in key.former_secrets
            if one.expires_at > now
        ],
        last_used_at=last_used_at,
    )


async def answer_keys(registry: Registry, keys: Sequence[ApiKey]) -> list[ApiKeyAnswer]:
    """Answers keys with when they were last used."""
    uses = await read_key_uses(registry.redis, [key.number for key in keys])
    now = datetime.now(UTC)
    return [key_answer(key, now, uses.get(key.number)) for key in keys]


async def _create(call: Call, form: ApiKeyForm) -> NewApiKeyAnswer:
    check = partial(check_granted, call)
    key, secret = await create_key(call.registry, form, call.account, call.now, check)
    created = msgspec.structs.asdict(key_answer(key, call.now))
    return NewApiKeyAnswer(key=secret, signing_secret=key.signing_secret, **created)


def check_granted(call: Call, key: ApiKey) -> None:
    """Rejected where the secret of a key would allow more than the key of the call."""
    check_governed(call.key, key)
    check_expiry_granted(call.key, key.expires_at)
    check_rate_granted(call.key, key, call.settings.rate_key_per_minute)


def _patch(call: Call, key: ApiKey, patch: ApiKeyPatch) -> ApiKey:
    check_governed(call.key, key)
    patched = patched_key(key, patch, call.now)
    check_governed(call.key, patched)
    if patch.expires_at is not UNSET:
        check_expiry_granted(call.key, patched.expires_at)
    if patch.rate_limit_per_minute is not UNSET:
        check_rate_granted(call.key, patched, call.settings.rate_key_per_minute)
    return patched


async def _me(call: Call) -> Response:
    key = key_answer(call.key, call.now, call.now.replace(second=0, microsecond=0))
    per_minute = effective_rate(call.key, call.settings.rate_key_per_minute)
    limits = msgspec.structs.replace(LIMITS, requests_per_minute=per_minute or None)
    return json_response(MeAnswer(account=account_id(call.account), key=key, limits=limits))


EXAMPLE: dict[str, Any] = {
    "id": "key_2",
    "name": "Shop backend",
    "scopes": ["conversions:write"],
    "hint": "lj_live_9f2c",
    "expires_at": None,
    "campaign_id": None,
    "affiliate_id": None,
    "allowed_networks": [],
    "test": False,
    "created_at": "2026-05-04T10:00:00Z",
    "rate_limit_per_minute": None,
    "old_secrets": [],
    "last_used_at": "2026-05-04T10:05:00Z",
}
API_KEYS = Collection(
    path="/v1/keys",
    described=Described(
        id="ApiKey",
        tag="API keys",
        noun="API key",
        note="Creates an API key and answers its secrets this once. It may hold no scope that the"
        " key of the request lacks, and expires no later than that.",
        answer=ApiKeyAnswer,
        created=NewApiKeyAnswer,
        form_example={"name": "Shop backend", "scopes": ["conversions:write"]},
        patch_example={"name": "Shop"},
        example=EXAMPLE,
        created_example={
            **EXAMPLE,
            "last_used_at": None,
            "signing_secret": "lj_sign_…",
            "key": "lj_live_9f2c…",
        },
    ),
    entry=ApiKey,
    form=ApiKeyForm,
    patch_form=ApiKeyPatch,
    read_scope="keys:write",
    write_scope="keys:write",
    create=_create,
    patch=_patch,
    answer=lambda call, key: key_answer(key, call.now),
    answer_all=lambda call, keys: answer_keys(call.registry, keys),
    check_delete=lambda call, key: check_governed(call.key, key),
    has_modes=True,
)
ME = Endpoint(
    Operation(
        id="getMe",
        tag="API keys",
        method="GET",
        path="/v1/me",
        summary="Get the key or token of this request.",
        description="Returns the account and the scopes of the key, and the limits that it meets."
        " Of an access token it returns the token's scopes and expiry under the client's id.",
        scope="",
        answers={
            200: of(
                MeAnswer,
                example={
                    "account": "default",
                    "key": EXAMPLE,
                    "limits": {**msgspec.to_builtins(LIMITS), "requests_per_minute": 6_000},
                },
            )
        },
    ),
    _me,
)
