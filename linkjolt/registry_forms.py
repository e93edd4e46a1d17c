"""The registry's request bodies, checked and made into entries, and its answers (API §3)."""

from collections.abc import Container
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from linkjolt.errors import Reason, Rejected
from linkjolt.money import Commission, check_commission, check_currency
from linkjolt.registry import SCOPES, Affiliate, ApiKey, Campaign, Kind, Link, read_id
from linkjolt.registry_checks import (
    check_click_id_param,
    check_events,
    check_name,
    check_pass_params,
    check_plain_url,
    check_url,
)
from linkjolt.registry_codes import check_tracking_code

Name = Annotated[str, Meta(min_length=1, max_length=200)]
WindowSeconds = Annotated[int, Meta(ge=0, le=3650 * 86_400)]
WindowDays = Annotated[int, Meta(ge=0, le=3650)]
Events = Annotated[tuple[str, ...], Meta(max_length=50)]
Scopes = Annotated[tuple[str, ...], Meta(min_length=1, max_length=len(SCOPES))]
Instant = Annotated[datetime, Meta(tz=True)]
ConversionStatus = Literal["pending", "approved"]
LinkStatus = Literal["active", "disabled"]
PassParams = Literal["all", "none"] | tuple[str, ...]


class CampaignForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    currency: str
    commission: Commission
    click_id_param: str = "click_id"
    window_min_seconds: WindowSeconds = 0
    window_days: WindowDays = 30
    conversion_status: ConversionStatus = "pending"
    events: Events = ()


class CampaignPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    commission: Commission | UnsetType = UNSET
    click_id_param: str | UnsetType = UNSET
    window_min_seconds: WindowSeconds | UnsetType = UNSET
    window_days: WindowDays | UnsetType = UNSET
    conversion_status: ConversionStatus | UnsetType = UNSET
    events: Events | UnsetType = UNSET


class AffiliateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name


class AffiliatePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET


class LinkForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without `tracking_code`, one is made when the link is stored."""

    campaign_id: str
    affiliate_id: str
    destination: str
    tracking_code: str | None = None
    pass_params: PassParams = "all"
    status: LinkStatus = "active"
    fallback_url: str = ""


class LinkPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    destination: str | UnsetType = UNSET
    pass_params: PassParams | UnsetType = UNSET
    status: LinkStatus | UnsetType = UNSET
    fallback_url: str | UnsetType = UNSET


class KeyForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    scopes: Scopes
    expires_at: Instant | None = None


class KeyPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    expires_at: Instant | UnsetType | None = UNSET


# Fields of a creation that a PATCH refuses as settled, not as unknown.
IMMUTABLE: dict[Kind, frozenset[str]] = {
    "campaign": frozenset({"id", "currency", "created_at"}),
    "affiliate": frozenset({"id", "created_at"}),
    "link": frozenset(
        {"id", "tracking_code", "campaign_id", "affiliate_id", "url", "created_at"},
    ),
    "key": frozenset({"id", "scopes", "hint", "key", "campaign_id", "test", "created_at"}),
    "coupon": frozenset({"id", "code", "created_at"}),
    "webhook": frozenset({"id", "secret", "status", "created_at"}),
}


def _given(patch: msgspec.Struct) -> dict[str, Any]:
    values = {field: getattr(patch, field) for field in patch.__struct_fields__}
    return {field: value for field, value in values.items() if value is not UNSET}


def _checked_campaign(campaign: Campaign) -> Campaign:
    check_name(campaign.name)
    check_currency(campaign.currency)
    check_commission(campaign.commission, campaign.currency)
    check_click_id_param(campaign.click_id_param)
    check_events(campaign.events)
    return campaign


def new_campaign(form: CampaignForm, account: int, now: datetime) -> Campaign:
    """The campaign of a form, its number still 0; Rejected, naming the field."""
    return _checked_campaign(
        Campaign(
            number=0,
            account=account,
            name=form.name,
            currency=form.currency,
            commission=form.commission,
            click_id_param=form.click_id_param,
            window_min_seconds=form.window_min_seconds,
            window_days=form.window_days,
            conversion_status=form.conversion_status,
            events=form.events,
            created_at=now,
        )
    )


def patched_campaign(campaign: Campaign, patch: CampaignPatch) -> Campaign:
    return _checked_campaign(msgspec.structs.replace(campaign, **_given(patch)))


def new_affiliate(form: AffiliateForm, account: int, now: datetime) -> Affiliate:
    """The affiliate of a form, its number still 0; Rejected, naming the field."""
    check_name(form.name)
    return Affiliate(number=0, account=account, name=form.name, created_at=now)


def patched_affiliate(affiliate: Affiliate, patch: AffiliatePatch) -> Affiliate:
    patched = msgspec.structs.replace(affiliate, **_given(patch))
    check_name(patched.name)
    return patched


def _checked_link(link: Link) -> Link:
    check_url(link.destination, "destination")
    if link.fallback_url:
        check_plain_url(link.fallback_url, "fallback_url")
    check_pass_params(link.pass_params)
    return link


def new_link(form: LinkForm, account: int, now: datetime) -> Link:
    """The link of a form, its number 0 and a code to be made empty; Rejected, naming the field.

    That campaign and affiliate exist is for `check_references`.
    """
    if form.tracking_code is not None:
        check_tracking_code(form.tracking_code)
    return _checked_link(
        Link(
            number=0,
            account=account,
            campaign=_reference("campaign", form.campaign_id),
            affiliate=_reference("affiliate", form.affiliate_id),
            tracking_code=form.tracking_code or "",
            destination=form.destination,
            pass_params=form.pass_params,
            status=form.status,
            fallback_url=form.fallback_url,
            created_at=now,
        )
    )


def _unknown(kind: Kind) -> Rejected:
    message = f"names no {kind} of this account"
    return Rejected(Reason.unknown_reference, message, field=f"{kind}_id")


def _reference(kind: Kind, text: str) -> int:
    number = read_id(kind, text)
    if number is None:
        raise _unknown(kind)
    return number


def check_references(link: Link, campaigns: Container[int], affiliates: Container[int]) -> None:
    """Rejected where the link's campaign or affiliate is not among those that exist."""
    if link.campaign not in campaigns:
        raise _unknown("campaign")
    if link.affiliate not in affiliates:
        raise _unknown("affiliate")


def patched_link(link: Link, patch: LinkPatch) -> Link:
    return _checked_link(msgspec.structs.replace(link, **_given(patch)))


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
    return ApiKey(
        number=0,
        account=account,
        name=form.name,
        scopes=tuple(dict.fromkeys(form.scopes)),
        digest=digest,
        hint=hint,
        expires_at=_expiry(form.expires_at, now),
        created_at=now,
    )


def patched_key(key: ApiKey, patch: KeyPatch, now: datetime) -> ApiKey:
    patched = msgspec.structs.replace(key, **_given(patch))
    check_name(patched.name)
    if patch.expires_at is UNSET:
        return patched
    return msgspec.structs.replace(patched, expires_at=_expiry(patched.expires_at, now))
