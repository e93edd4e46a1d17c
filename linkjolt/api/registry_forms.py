"""The registry's request bodies, checked and made into entries, and its answers (API §3)."""

from collections.abc import Container
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from linkjolt.money import Commission, check_commission, check_currency
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.checks import (
    check_click_id_param,
    check_events,
    check_name,
    check_pass_params,
    check_plain_url,
    check_url,
)
from linkjolt.registry.commission_rules import general_rule, with_rule
from linkjolt.registry.entries import Affiliate, Campaign, Duplicates, Kind, Link, read_id
from linkjolt.registry.tracking_codes import check_tracking_code

Name = Annotated[str, Meta(min_length=1, max_length=200)]
WindowSeconds = Annotated[int, Meta(ge=0, le=3650 * 86_400)]
WindowDays = Annotated[int, Meta(ge=0, le=3650)]
Events = Annotated[tuple[str, ...], Meta(max_length=50)]
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
    duplicates: Duplicates = "refuse"
    attribution: Literal["last", "first"] = "last"


class CampaignPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name | UnsetType = UNSET
    commission: Commission | UnsetType = UNSET
    click_id_param: str | UnsetType = UNSET
    window_min_seconds: WindowSeconds | UnsetType = UNSET
    window_days: WindowDays | UnsetType = UNSET
    conversion_status: ConversionStatus | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    duplicates: Duplicates | UnsetType = UNSET
    attribution: Literal["last", "first"] | UnsetType = UNSET


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


def given(patch: msgspec.Struct) -> dict[str, Any]:
    """What a patch sets."""
    values = {field: getattr(patch, field) for field in patch.__struct_fields__}
    return {field: value for field, value in values.items() if value is not UNSET}


def _checked_campaign(campaign: Campaign) -> Campaign:
    check_name(campaign.name)
    check_currency(campaign.currency)
    check_commission(campaign.commission, campaign.currency)
    if campaign.rules and campaign.rules[-1].commission:
        check_commission(campaign.rules[-1].commission, campaign.currency)
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
            duplicates=form.duplicates,
            attribution=form.attribution,
            created_at=now,
        )
    )


def patched_campaign(campaign: Campaign, patch: CampaignPatch, now: datetime) -> Campaign:
    """The campaign with what the patch sets; another commission is a new version, from now on."""
    changes = given(patch)
    commission = changes.pop("commission", None)
    patched = msgspec.structs.replace(campaign, **changes)
    if commission is not None and commission != general_rule(campaign, now):
        patched = with_rule(patched, commission, starts_at=now)
    return _checked_campaign(patched)


def new_affiliate(form: AffiliateForm, account: int, now: datetime) -> Affiliate:
    """The affiliate of a form, its number still 0; Rejected, naming the field."""
    check_name(form.name)
    return Affiliate(number=0, account=account, name=form.name, created_at=now)


def patched_affiliate(affiliate: Affiliate, patch: AffiliatePatch) -> Affiliate:
    patched = msgspec.structs.replace(affiliate, **given(patch))
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
            campaign=reference("campaign", form.campaign_id),
            affiliate=reference("affiliate", form.affiliate_id),
            tracking_code=form.tracking_code or "",
            destination=form.destination,
            pass_params=form.pass_params,
            status=form.status,
            fallback_url=form.fallback_url,
            created_at=now,
        )
    )


def unknown_reference(kind: Kind) -> Rejected:
    """The refusal of an id that leads nowhere."""
    message = f"names no {kind} of this account"
    return Rejected(Reason.unknown_reference, message, field=f"{kind}_id")


def reference(kind: Kind, text: str) -> int:
    """The number of a public id; Rejected, naming the field, for any other text."""
    number = read_id(kind, text)
    if number is None:
        raise unknown_reference(kind)
    return number


def check_references(link: Link, campaigns: Container[int], affiliates: Container[int]) -> None:
    """Rejected where the link's campaign or affiliate is not among those that exist."""
    if link.campaign not in campaigns:
        raise unknown_reference("campaign")
    if link.affiliate not in affiliates:
        raise unknown_reference("affiliate")


def patched_link(link: Link, patch: LinkPatch) -> Link:
    return _checked_link(msgspec.structs.replace(link, **given(patch)))
