"""Coupons as they are asked for, checked, and answered (API 3)."""

import re
from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from linkjolt.api.registry_forms import reference, unknown_reference
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Affiliate, Campaign, Coupon, public_id
from linkjolt.registry.store import Registry

_CODE = re.compile(r"[!-~]{1,64}")


class CouponForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    code: str
    campaign_id: str
    affiliate_id: str


class CouponPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    campaign_id: str | UnsetType = UNSET
    affiliate_id: str | UnsetType = UNSET


class CouponAnswer(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    code: str
    campaign_id: str
    affiliate_id: str
    created_at: datetime


def new_coupon(form: CouponForm, account: int, now: datetime) -> Coupon:
    """The coupon of a form, its number still 0; Rejected, naming the field.

    Codes are kept in upper case: customers write them as they like.
    """
    if not _CODE.fullmatch(form.code):
        message = "must be 1 to 64 printable ASCII characters without spaces"
        raise Rejected(Reason.invalid_field, message, field="code")
    return Coupon(
        number=0,
        account=account,
        code=form.code.upper(),
        campaign=reference("campaign", form.campaign_id),
        affiliate=reference("affiliate", form.affiliate_id),
        created_at=now,
    )


def patched_coupon(coupon: Coupon, patch: CouponPatch) -> Coupon:
    campaign, affiliate = coupon.campaign, coupon.affiliate
    if patch.campaign_id is not UNSET:
        campaign = reference("campaign", patch.campaign_id)
    if patch.affiliate_id is not UNSET:
        affiliate = reference("affiliate", patch.affiliate_id)
    return msgspec.structs.replace(coupon, campaign=campaign, affiliate=affiliate)


async def check_coupon(registry: Registry, coupon: Coupon) -> None:
    """Rejected, naming the field, where its campaign or affiliate is none of the account."""
    if not await registry.existing(Campaign, coupon.account, {coupon.campaign}):
        raise unknown_reference("campaign")
    if not await registry.existing(Affiliate, coupon.account, {coupon.affiliate}):
        raise unknown_reference("affiliate")


def coupon_answer(coupon: Coupon) -> CouponAnswer:
    return CouponAnswer(
        id=public_id("coupon", coupon.number),
        code=coupon.code,
        campaign_id=public_id("campaign", coupon.campaign),
        affiliate_id=public_id("affiliate", coupon.affiliate),
        created_at=coupon.created_at,
    )
