"""API keys as they are asked for, checked and made into entries (API 3)."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from linkjolt.api.registry_forms import Name, given, reference
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import check_name
from linkjolt.registry.entries import SCOPES, ApiKey

Scopes = Annotated[tuple[str, ...], Meta(min_length=1, max_length=len(SCOPES))]
Instant = Annotated[datetime, Meta(tz=True)]


class KeyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    scopes: Scopes
    expires_at: Instant | None = None
    campaign_id: str | None = None
    test: bool = False


class KeyPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET


def _expiry(expires_at: datetime | None, now: datetime) -> datetime | None:
    if expires_at is None:
        return None
    if expires_at <= now:
        raise Rejected(Reason.invalid_field, "must be in the future", field="expires_at")
    try:
        return expires_at.astimezone(UTC)
    except OverflowError:
        raise Rejected(Reason.invalid_field, "is too far off", field="expires_at") from None


def new_key(form: KeyForm, account: int, now: datetime, digest: str, hint: str) -> ApiKey:
    """The key of a form, its number still 0; Rejected, naming the field."""
    check_name(form.name)
    for index, scope in enumerate(form.scopes):
        if scope not in SCOPES:
            message = f"must be one of {', '.join(SCOPES)}"
            raise Rejected(Reason.invalid_field, message, field=f"scopes[{index}]")
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
        expires_at=_expiry(form.expires_at, now),
        campaign=bound,
        test=form.test,
        created_at=now,
    )


def patched_key(key: ApiKey, patch: KeyPatch, now: datetime) -> ApiKey:
    patched = msgspec.structs.replace(key, **given(patch))
    check_name(patched.name)
    if patch.expires_at is UNSET:
        return patched
    return msgspec.structs.replace(patched, expires_at=_expiry(patched.expires_at, now))
