"""Replaces the secrets of API keys: the key itself, and what signs postbacks."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from linkjolt.api.api_keys import EXAMPLE, ApiKeyAnswer, answer_keys, check_granted
from linkjolt.auth.key_grants import check_expiry_granted, check_governed
from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import ApiKey, FormerSecret, public_id
from linkjolt.registry.store import Registry
from linkjolt.web.collections import Call, Endpoint, body_of, entry_number
from linkjolt.web.openapi import Operation, of
from linkjolt.web.requests import json_response

FORMER_SECRETS_MAX = 3
_OVERLAP_SECONDS_MAX = 30 * 86_400


class RotationForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rotation of a key's secret; every older one ends when `overlap_seconds` have passed."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=_OVERLAP_SECONDS_MAX)] = 86_400


class RotatedApiKeyAnswer(ApiKeyAnswer, frozen=True, kw_only=True):
    """A key whose secret was rotated; `key` is the new one, shown this once."""

    key: str


class SigningSecretAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The new signing secret of a key, shown this once."""

    id: str
    signing_secret: str


async def rotate_key(
    registry: Registry,
    account: Account,
    number: int,
    overlap_seconds: int,
    now: datetime,
    check: Callable[[ApiKey], None] | None = None,
) -> tuple[ApiKey, str]:
    """Gives a key a new secret, and returns the key with it; `check` as for `create_key`."""
    secret = ""

    def rotated(key: ApiKey) -> ApiKey:
        nonlocal secret
        if check:
            check(key)
        secret = api_key_secrets.make_secret(test=key.test)
        return rotated_key(key, secret, overlap_seconds, now)

    return await registry.patch(ApiKey, account, number, rotated), secret


def rotated_key(key: ApiKey, secret: str, overlap_seconds: int, now: datetime) -> ApiKey:
    """The key with a new secret; Rejected where too many older ones would still be valid."""
    end = now + timedelta(seconds=overlap_seconds)
    end = min(end, key.expires_at or end)
    replaced = FormerSecret(key.digest, key.hint, end)
    former = [
        msgspec.structs.replace(one, expires_at=min(one.expires_at, end))
        for one in (replaced, *key.former_secrets)
    ]
    valid = tuple(one for one in former if one.expires_at > now)
    if len(valid) > FORMER_SECRETS_MAX:
        message = (
            f"must be 0: {FORMER_SECRETS_MAX} old secrets are still valid, the most there may be"
        )
        raise Rejected(Reason.limit_reached, message, field="overlap_seconds")
    return msgspec.structs.replace(
        key,
        digest=api_key_secrets.digest(secret),
        hint=api_key_secrets.hint(secret),
        former_secrets=valid,
    )


async def _rotate(call: Call) -> Response:
    number, form = entry_number(call, "key"), await body_of(call.request, RotationForm)
    key, secret = await rotate_key(
        call.registry,
        call.account,
        number,
        form.overlap_seconds,
        call.now,
        partial(check_granted, call),
    )
    [answer] = await answer_keys(call.registry, [key])
    rotated = RotatedApiKeyAnswer(key=secret, **msgspec.structs.asdict(answer))
    return json_response(rotated, 201)


async def _make_signing_secret(call: Call) -> Response:
    number, secret = entry_number(call, "key"), api_key_secrets.make_signing_secret()

    def replaced(key: ApiKey) -> ApiKey:
        # Whoever has it can post as this key, for as long as the key is valid.
        check_governed(call.key, key)
        check_expiry_granted(call.key, key.expires_at)
        return msgspec.structs.replace(key, signing_secret=secret)

    key = await call.registry.patch(ApiKey, call.account, number, replaced)
    answer = SigningSecretAnswer(id=public_id("key", key.number), signing_secret=secret)
    return json_response(answer, 201)


ROTATION = Endpoint(
    Operation(
        id="rotateApiKey",
        tag="API keys",
        method="POST",
        path="/v1/keys/{id}/rotate",
        summary="Rotate the secret of a key.",
        description="Gives the key a new secret, and answers it this once. Older ones are valid"
        " for `overlap_seconds` more, and no longer than the key. 0 ends them at once.",
        scope="keys:write",
        bodies=[of(RotationForm, example={"overlap_seconds": 86_400})],
        answers={
            201: of(
                RotatedApiKeyAnswer,
                example={
                    **EXAMPLE,
                    "old_secrets": [
                        {"hint": "lj_live_...C13h", "expires_at": "2026-05-05T10:00:00Z"}
                    ],
                    "key": "lj_live_9f2c…",
                },
            )
        },
        refusals=(404, 409),
    ),
    _rotate,
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
