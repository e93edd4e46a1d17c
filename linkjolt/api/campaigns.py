"""`/v1/campaigns`: the terms under which affiliates earn."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from linkjolt.datasets import Account
from linkjolt.money import Commission, check_commission, check_currency, to_minor
from linkjolt.registry.checks import check_click_id_param, check_events, check_name
from linkjolt.registry.commission_rules import general_rule, with_rule
from linkjolt.registry.entries import Campaign, Duplicates, public_id
from linkjolt.web.collections import Call, Collection, Described
from linkjolt.web.forms import (
    EarningStatus,
    Instant,
    Name,
    earning_status,
    given,
    suspension,
)

WindowSeconds = Annotated[int, Meta(ge=0, le=3650 * 86_400)]
WindowDays = Annotated[int, Meta(ge=0, le=3650)]
Events = Annotated[tuple[str, ...], Meta(max_length=50)]
ConversionStatus = Literal["pending", "approved"]
ClickChoice = Literal["last", "first"]
Switch = Literal["off", "on"]


class CampaignForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A campaign to create; nothing is earned in one that is suspended.

    `pixel_max_value` bounds the value of an unverified conversion, in the campaign's currency.
    `lifetime`: a customer's later conversions earn for the customer's first affiliate.
    """

    name: Name
    currency: str
    commission: Commission
    click_id_param: str = "click_id"
    window_min_seconds: WindowSeconds = 0
    window_days: WindowDays = 30
    conversion_status: ConversionStatus = "pending"
    events: Events = ()
    duplicates: Duplicates = "refuse"
    attribution: ClickChoice = "last"
    pixel: Switch = "off"
    pixel_max_value: Decimal | None = None
    lifetime: bool = False
    status: EarningStatus = "active"


class CampaignPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to a campaign; another commission is a new version, from now on.

    Nothing is earned in a suspended one from now on.
    """

    name: Name | UnsetType = UNSET
    commission: Commission | UnsetType = UNSET
    click_id_param: str | UnsetType = UNSET
    window_min_seconds: WindowSeconds | UnsetType = UNSET
    window_days: WindowDays | UnsetType = UNSET
    conversion_status: ConversionStatus | UnsetType = UNSET
    events: Events | UnsetType = UNSET
    duplicates: Duplicates | UnsetType = UNSET
    attribution: ClickChoice | UnsetType = UNSET
    pixel: Switch | UnsetType = UNSET
    pixel_max_value: Decimal | UnsetType | None = UNSET
    lifetime: bool | UnsetType = UNSET
    status: EarningStatus | UnsetType = UNSET


class CampaignAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`commission` is what the campaign pays now to those who have no rule of their own."""

    id: str
    name: str
    currency: str
    commission: Commission
    click_id_param: str
    window_min_seconds: int
    window_days: int
    conversion_status: ConversionStatus
    events: tuple[str, ...]
    duplicates: Duplicates
    attribution: ClickChoice
    pixel: Switch
    pixel_max_value: Decimal | None
    lifetime: bool
    status: EarningStatus
    created_at: Instant


def _checked(campaign: Campaign) -> Campaign:
    check_currency(campaign.currency)
    check_commission(campaign.commission, campaign.currency)
    if campaign.rules and campaign.rules[-1].commission:
        check_commission(campaign.rules[-1].commission, campaign.currency)
    check_click_id_param(campaign.click_id_param)
    check_events(campaign.events)
    if campaign.pixel_max_value is not None:
        to_minor(campaign.pixel_max_value, campaign.currency, "pixel_max_value")
    return campaign


def new_campaign(form: CampaignForm, account: Account, now: datetime) -> Campaign:
    """The campaign of a form, its number still 0; Rejected, naming the field."""
    check_name(form.name)
    return _checked(
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
            pixel=form.pixel,
            pixel_max_value=form.pixel_max_value,
            lifetime=form.lifetime,
            suspended_at=suspension(form.status, None, now),
            created_at=now,
        )
    )


def patched_campaign(campaign: Campaign, patch: CampaignPatch, now: datetime) -> Campaign:
    """The campaign with the patch applied; another commission is a new version, from now on."""
    if patch.name is not UNSET:
        check_name(patch.name)
    changes = given(patch)
    commission = changes.pop("commission", None)
    changes.pop("status", None)
    suspended_at = suspension(patch.status, campaign.suspended_at, now)
    patched = msgspec.structs.replace(campaign, suspended_at=suspended_at, **changes)
    if commission is not None and commission != general_rule(campaign, now):
        patched = with_rule(patched, commission, starts_at=now)
    return _checked(patched)


def campaign_answer(campaign: Campaign, now: datetime) -> CampaignAnswer:
    return CampaignAnswer(
        id=public_id("campaign", campaign.number),
        name=campaign.name,
        currency=campaign.currency,
        commission=general_rule(campaign, now),
        click_id_param=campaign.click_id_param,
        window_min_seconds=campaign.window_min_seconds,
        window_days=campaign.window_days,
        conversion_status=campaign.conversion_status,
        events=campaign.events,
        duplicates=campaign.duplicates,
        attribution=campaign.attribution,
        pixel=campaign.pixel,
        pixel_max_value=campaign.pixel_max_value,
        lifetime=campaign.lifetime,
        status=earning_status(campaign.suspended_at),
        created_at=campaign.created_at,
    )


async def _create(call: Call, form: CampaignForm) -> CampaignAnswer:
    campaign = new_campaign(form, call.account, call.now)
    return campaign_answer(await call.registry.create(campaign), call.now)


_FORM: dict[str, Any] = {
    "name": "Spring sale",
    "currency": "USD",
    "commission": {"kind": "percentage", "rate": 30},
}
CAMPAIGNS = Collection(
    path="/v1/campaigns",
    described=Described(
        id="Campaign",
        tag="Campaigns",
        noun="campaign",
        note="Creates a campaign: its currency, what it pays, and how clicks earn it.",
        answer=CampaignAnswer,
        form_example=_FORM,
        patch_example={"window_days": 60},
        example={
            "id": "cmp_1",
            **_FORM,
            "click_id_param": "click_id",
            "window_min_seconds": 0,
            "window_days": 30,
            "conversion_status": "pending",
            "events": [],
            "duplicates": "refuse",
            "attribution": "last",
            "pixel": "off",
            "pixel_max_value": None,
            "lifetime": False,
            "status": "active",
            "created_at": "2026-05-04T10:00:00Z",
        },
    ),
    entry=Campaign,
    form=CampaignForm,
    patch_form=CampaignPatch,
    read_scope="links:read",
    write_scope="links:write",
    create=_create,
    patch=lambda call, campaign, patch: patched_campaign(campaign, patch, call.now),
    answer=lambda call, campaign: campaign_answer(campaign, call.now),
)
