"""`/v1/affiliates`: the partners who send traffic."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from linkjolt.datasets import Account
from linkjolt.registry.checks import check_email, check_name
from linkjolt.registry.entries import Affiliate, public_id
from linkjolt.web.collections import Call, Collection, Described
from linkjolt.web.forms import (
    EarningStatus,
    Email,
    Instant,
    Name,
    earning_status,
    given,
    suspension,
)


class AffiliateForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An affiliate to create; one that is suspended earns nothing from now on.

    Conversions of a customer with the affiliate's own `email` are marked `self_referral`.
    """

    name: Name
    email: Email | None = None
    status: EarningStatus = "active"


class AffiliatePatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The changes to an affiliate; one that is suspended earns nothing from now on."""

    name: Name | UnsetType = UNSET
    email: Email | UnsetType | None = UNSET
    status: EarningStatus | UnsetType = UNSET


class AffiliateAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An affiliate."""

    id: str
    name: str
    email: str | None
    status: EarningStatus
    created_at: Instant


def new_affiliate(form: AffiliateForm, account: Account, now: datetime) -> Affiliate:
    """The affiliate of a form, its number still 0; Rejected, naming the field."""
    check_name(form.name)
    return Affiliate(
        number=0,
        account=account,
        name=form.name,
        email=check_email(form.email),
        created_at=now,
        suspended_at=suspension(form.status, None, now),
    )


def patched_affiliate(affiliate: Affiliate, patch: AffiliatePatch, now: datetime) -> Affiliate:
    changes = given(patch)
    changes.pop("status", None)
    if "email" in changes:
        changes["email"] = check_email(changes["email"])
    suspended_at = suspension(patch.status, affiliate.suspended_at, now)
    patched = msgspec.structs.replace(affiliate, suspended_at=suspended_at, **changes)
    if patch.name is not UNSET:
        # A name of an earlier release stays as it is.
        check_name(patch.name)
    return patched


def affiliate_answer(affiliate: Affiliate) -> AffiliateAnswer:
    return AffiliateAnswer(
        id=public_id("affiliate", affiliate.number),
        name=affiliate.name,
        email=affiliate.email or None,
        status=earning_status(affiliate.suspended_at),
        created_at=affiliate.created_at,
    )


async def _create(call: Call, form: AffiliateForm) -> AffiliateAnswer:
    affiliate = new_affiliate(form, call.account, call.now)
    return affiliate_answer(await call.registry.create(affiliate))


AFFILIATES = Collection(
    path="/v1/affiliates",
    described=Described(
        id="Affiliate",
        tag="Affiliates",
        noun="affiliate",
        note="Creates an affiliate, whose links and coupons earn commissions.",
        answer=AffiliateAnswer,
        form_example={"name": "Coupon Corner", "email": "partners@coupons.example"},
        patch_example={"name": "Coupon Corner Ltd"},
        example={
            "id": "aff_1",
            "name": "Coupon Corner",
            "email": "partners@coupons.example",
            "status": "active",
            "created_at": "2026-05-04T10:00:00Z",
        },
    ),
    entry=Affiliate,
    form=AffiliateForm,
    patch_form=AffiliatePatch,
    read_scope="links:read",
    write_scope="links:write",
    create=_create,
    patch=lambda call, affiliate, patch: patched_affiliate(affiliate, patch, call.now),
    answer=lambda _, affiliate: affiliate_answer(affiliate),
)
