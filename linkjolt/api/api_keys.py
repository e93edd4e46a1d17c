"""`/v1/keys` and `/v1/me`: API keys, and what a key may know about itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from linkjolt.api.links_bulk import BATCH_MAX_BYTES, BULK_MAX
from linkjolt.auth.key_grants import (
    check_expiry_granted,
    check_governed,
    check_rate_granted,
    effective_rate,
)
from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.accounts import account_id
from linkjolt.registry.checks import check_name
from linkjolt.registry.entries import SCOPES, ApiKey, Campaign, public_id
from linkjolt.registry.store import PAGE_MAX
from linkjolt.settings import RATE_MAX_PER_MINUTE
from linkjolt.web.collections import Call, Collection, Described, Endpoint, entry_number
from linkjolt.web.forms import Instant, Name, given, in_utc, reference, unknown_reference
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import BODY_MAX_BYTES, json_response

RatePerMinute = Annotated[int, Meta(ge=1, le=RATE_MAX_PER_MINUTE)]
Scopes = Annotated[tuple[str, ...], Meta(min_length=1, max_length=len(SCOPES))]


class ApiKeyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An API key to create; with `campaign_id` it takes only postbacks of that campaign."""

    name: Name
    scopes: Scopes
    expires_at: Instant | None = None
    campaign_id: str | None = None
    test: bool = False
    rate_limit_per_minute: RatePerMinute | None = None


class ApiKeyPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to an API key."""

    name: Name | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET
    rate_limit_per_minute: RatePerMinute | UnsetType | None = UNSET


class ApiKeyAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An API key; `hint` is the beginning of its secret."""

    id: str
    name: str
    scopes: tuple[str, ...]
    hint: str
    expires_at: Instant | None
    campaign_id: str | None
    test: bool
    created_at: Instant
    rate_limit_per_minute: int | None


class NewApiKeyAnswer(ApiKeyAnswer, frozen=True, kw_only=True):
    """A key just created; `key` is its secret, `signing_secret` signs postbacks instead of it.

    Both are shown this once.
    """

    signing_secret: str
    key: str


class SigningSecretAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The new signing secret of a key, shown this once."""

    id: str
    signing_secret: str


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
    bound = reference("campaign", form.campaign_id) if form.campaign_id else 0
    if bound and any(scope != "postback" for scope in form.scopes):
        # With other scopes it could read and write what is not of this campaign.
        message = "goes only with the scope postback"
        raise Rejected(Reason.invalid_field, message, field="campaign_id")
    return ApiKey(
        number=0,
        account=account,
        name=form.name,
        scopes=tuple(dict.fromkeys(form.scopes)),
        digest=digest,
        hint=hint,
        expires_at=read_expiry(form.expires_at, now),
        campaign=bound,
        test=form.test,
        created_at=now,
        signing_secret=api_key_secrets.make_signing_secret(),
        rate_limit_per_minute=form.rate_limit_per_minute,
    )


def patched_key(key: ApiKey, patch: ApiKeyPatch, now: datetime) -> ApiKey:
    patched = msgspec.structs.replace(key, **given(patch))
    if patch.name is not UNSET:
        check_name(patch.name)
    if patch.expires_at is UNSET:
        return patched
    return msgspec.structs.replace(patched, expires_at=read_expiry(patched.expires_at, now))


def key_answer(key: ApiKey) -> ApiKeyAnswer:
    return ApiKeyAnswer(
        id=key.id,
        name=key.name,
        scopes=key.scopes,
        hint=key.hint,
        expires_at=key.expires_at,
        campaign_id=public_id("campaign", key.campaign) if key.campaign else None,
        test=key.test,
        created_at=key.created_at,
        rate_limit_per_minute=key.rate_limit_per_minute,
    )


async def _create(call: Call, form: ApiKeyForm) -> NewApiKeyAnswer:
    secret = api_key_secrets.make_secret(test=form.test)
    key = new_key(
        form, call.account, call.now, api_key_secrets.digest(secret), api_key_secrets.hint(secret)
    )
    check_governed(call.key, key)
    check_expiry_granted(call.key, key.expires_at)
    check_rate_granted(call.key, key, call.settings.rate_key_per_minute)
    if key.campaign and not await call.registry.existing(Campaign, call.account, {key.campaign}):
        raise unknown_reference("campaign")
    created = key_answer(await call.registry.create(key))
    return NewApiKeyAnswer(
        key=secret, signing_secret=key.signing_secret, **msgspec.structs.asdict(created)
    )


def _patch(call: Call, key: ApiKey, patch: ApiKeyPatch) -> ApiKey:
    check_governed(call.key, key)
    patched = patched_key(key, patch, call.now)
    if patch.expires_at is not UNSET:
        check_expiry_granted(call.key, patched.expires_at)
    if patch.rate_limit_per_minute is not UNSET:
        check_rate_granted(call.key, patched, call.settings.rate_key_per_minute)
    return patched


async def _make_signing_secret(call: Call) -> Response:
    number, secret = entry_number(call, "key"), api_key_secrets.make_signing_secret()

    def replaced(key: ApiKey) -> ApiKey:
        # Whoever has it can post as this key, for as long as the key is valid.
        check_governed(call.key, key)
        check_expiry_granted(call.key, key.expires_at)
        return msgspec.structs.replace(key, signing_secret=secret)

    key = await call.registry.patch(ApiKey, call.account, number, replaced)
    answer = SigningSecretAnswer(id=key.id, signing_secret=secret)
    return json_response(answer, 201)


async def _me(call: Call) -> Response:
    key = key_answer(call.key)
    per_minute = effective_rate(call.key, call.settings.rate_key_per_minute)
    limits = msgspec.structs.replace(LIMITS, requests_per_minute=per_minute or None)
    return json_response(MeAnswer(account=account_id(call.account), key=key, limits=limits))


_EXAMPLE: dict[str, Any] = {
    "id": "key_2",
    "name": "Shop backend",
    "scopes": ["conversions:write"],
    "hint": "lj_live_9f2c",
    "expires_at": None,
    "campaign_id": None,
    "test": False,
    "created_at": "2026-05-04T10:00:00Z",
    "rate_limit_per_minute": None,
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
        example=_EXAMPLE,
        created_example={**_EXAMPLE, "signing_secret": "lj_sign_…", "key": "lj_live_9f2c…"},
    ),
    entry=ApiKey,
    form=ApiKeyForm,
    patch_form=ApiKeyPatch,
    read_scope="keys:write",
    write_scope="keys:write",
    create=_create,
    patch=_patch,
    answer=lambda _, key: key_answer(key),
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
                    "key": _EXAMPLE,
                    "limits": {**msgspec.to_builtins(LIMITS), "requests_per_minute": 6_000},
                },
            )
        },
    ),
    _me,
)
SIGNING_SECRET = Endpoint(
    Operation(
        id="makeSigningSecret",
        tag="API keys",
        method="POST",
        path="/v1/keys/{id}/signing-secret",
        summary="Create a new signing secret of a key.",
        description="Replaces the secret by which the key signs postbacks, at once, and answers the"
        " new one this once.",
        scope="keys:write",
        answers={
            201: of(SigningSecretAnswer, example={"id": "key_2", "signing_secret": "lj_sign_…"})
        },
        refusals=(404, 409),
    ),
    _make_signing_secret,
)
