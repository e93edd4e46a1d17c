"""`/v1/coupons`: codes that earn an affiliate a commission without a click."""

import re
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Affiliate, Campaign, Coupon, public_id
from linkjolt.registry.store import Registry
from linkjolt.web.collections import Call, Collection, Described
from linkjolt.web.forms import Instant, reference, unknown_reference

_CODE = re.compile(r"[!-~]{1,64}")


class CouponForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A coupon to create; its code is read in any letter case."""

    code: str
    campaign_id: str
    affiliate_id: str


class CouponPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to a coupon."""

    campaign_id: str | UnsetType = UNSET
    affiliate_id: str | UnsetType = UNSET


class CouponAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A coupon, its code in upper case."""

    id: str
    code: str
    campaign_id: str
    affiliate_id: str
    created_at: Instant


def new_coupon(form: CouponForm, account: Account, now: datetime) -> Coupon:
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


async def _create(call: Call, form: CouponForm) -> CouponAnswer:
    coupon = new_coupon(form, call.account, call.now)
    await check_coupon(call.registry, coupon)
    return coupon_answer(await call.registry.create(coupon))


_FORM: dict[str, Any] = {"code": "SPRING", "campaign_id": "cmp_1", "affiliate_id": "aff_1"}
COUPONS = Collection(
    path="/v1/coupons",
    described=Described(
        id="Coupon",
        tag="Coupons",
        noun="coupon",
        note="Creates a coupon: orders that name its code earn its affiliate a commission.",
        answer=CouponAnswer,
        form_example=_FORM,
        patch_example={"affiliate_id": "aff_2"},
        example={"id": "cpn_1", **_FORM, "created_at": "2026-05-04T10:00:00Z"},
    ),
    entry=Coupon,
    form=CouponForm,
    patch_form=CouponPatch,
    read_scope="links:read",
    write_scope="links:write",
    create=_create,
    patch=lambda _, coupon, patch: patched_coupon(coupon, patch),
    answer=lambda _, coupon: coupon_answer(coupon),
    check=lambda call, coupon: check_coupon(call.registry, coupon),
)
