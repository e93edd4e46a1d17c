"""`/v1/campaigns/{id}/commissions`: what a campaign pays, by version; only added to."""

from datetime import datetime
from typing import Any

import msgspec
from starlette.responses import Response

from linkjolt.money import Commission, check_commission
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import with_rule
from linkjolt.registry.entries import Affiliate, Campaign, RuleVersion, public_id
from linkjolt.web.collections import Call, Endpoint, Page, body_of, entry_number
from linkjolt.web.forms import Instant, in_utc, reference, unknown_reference
from linkjolt.web.openapi import Operation, counted_page_of, of
from linkjolt.web.requests import json_response

_RULES_MAX = 1_000
_PATH = "/v1/campaigns/{id}/commissions"


class CommissionRuleForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version to add, for all affiliates or for `affiliate_id`.

    A null `commission` ends the affiliate's own rule.
    """

    commission: Commission | None
    affiliate_id: str | None = None
    starts_at: Instant | None = None


class CommissionRuleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One version of what a campaign pays, from `starts_at` on."""

    version: int
    affiliate_id: str | None
    commission: Commission | None
    starts_at: Instant


async def _list(call: Call) -> Response:
    campaign = await call.registry.get(Campaign, call.account, entry_number(call, "campaign"))
    first = RuleVersion(version=1, starts_at=campaign.created_at, commission=campaign.commission)
    data: list[object] = [_answer(rule) for rule in (first, *campaign.rules)]
    return json_response(Page(data=data, total=len(data), next_cursor=None))


async def _add(call: Call) -> Response:
    form = await body_of(call.request, CommissionRuleForm)
    starts_at = _starts_at(form, call.now)
    affiliate = reference("affiliate", form.affiliate_id) if form.affiliate_id else 0
    if affiliate and not await call.registry.existing(Affiliate, call.account, {affiliate}):
        raise unknown_reference("affiliate")
    if form.commission is None and not affiliate:
        message = "can be null only for an affiliate"
        raise Rejected(Reason.invalid_field, message, field="commission")

    def add(campaign: Campaign) -> Campaign:
        if len(campaign.rules) >= _RULES_MAX:
            message = f"has {_RULES_MAX} versions already"
            raise Rejected(Reason.invalid_field, message, field="commission")
        if form.commission is not None:
            check_commission(form.commission, campaign.currency)
        return with_rule(campaign, form.commission, starts_at=starts_at, affiliate=affiliate)

    changed = await call.registry.patch(Campaign, call.account, entry_number(call, "campaign"), add)
    return json_response(_answer(changed.rules[-1]), 201)


def _starts_at(form: CommissionRuleForm, now: datetime) -> datetime:
    if form.starts_at is None:
        return now
    if form.starts_at < now:
        # What was paid stays paid.
        raise Rejected(Reason.invalid_field, "must not be in the past", field="starts_at")
    return in_utc(form.starts_at, "starts_at")


def _answer(rule: RuleVersion) -> CommissionRuleAnswer:
    return CommissionRuleAnswer(
        version=rule.version,
        affiliate_id=public_id("affiliate", rule.affiliate) if rule.affiliate else None,
        commission=rule.commission,
        starts_at=rule.starts_at,
    )


_FORM: dict[str, Any] = {
    "affiliate_id": "aff_1",
    "commission": {"kind": "flat", "amount": 5},
    "starts_at": "2030-01-01T00:00:00Z",
}
_EXAMPLE: dict[str, Any] = {"version": 2, **_FORM}
ENDPOINTS = [
    Endpoint(
        Operation(
            id="listCommissionRules",
            tag="Campaigns",
            method="GET",
            path=_PATH,
            summary="List what a campaign pays.",
            description="Returns every version of the campaign's commission, the oldest first.",
            scope="links:read",
            answers={200: counted_page_of(CommissionRuleAnswer, _EXAMPLE)},
            refusals=(404,),
        ),
        _list,
    ),
    Endpoint(
        Operation(
            id="createCommissionRule",
            tag="Campaigns",
            method="POST",
            path=_PATH,
            summary="Add a version of what a campaign pays.",
            description="Adds a version that pays from `starts_at` on; what was earned before"
            " stays as it was.",
            scope="links:write",
            live_only=True,
            bodies=[of(CommissionRuleForm, example=_FORM)],
            answers={201: of(CommissionRuleAnswer, example=_EXAMPLE)},
            refusals=(404, 409),
        ),
        _add,
    ),
]
