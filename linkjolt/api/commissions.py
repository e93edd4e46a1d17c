"""`/v1/campaigns/{id}/commissions`: what a campaign pays, by version; only added to."""

from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.responses import Response

from linkjolt.api.registry_answers import Page
from linkjolt.api.registry_forms import reference, unknown_reference
from linkjolt.money import Commission, check_commission
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import with_rule
from linkjolt.registry.entries import Affiliate, Campaign, Rule, public_id, read_id
from linkjolt.web.collections import Actions, Call, body_of
from linkjolt.web.requests import json_response

_RULES_MAX = 1_000
_SCOPES = ("links:read", "links:write")


class RuleForm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Without `affiliate_id` it is for all; `commission` null ends an affiliate's own rule."""

    commission: Commission | None
    affiliate_id: str | None = None
    starts_at: Annotated[datetime, Meta(tz=True)] | None = None


class RuleAnswer(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    affiliate_id: str | None
    commission: Commission | None
    starts_at: datetime


def actions() -> Actions:
    """On the rules of one campaign."""
    read, write = _SCOPES
    return {"GET": (read, _list), "POST": (write, _add)}


async def _list(call: Call) -> Response:
    campaign = await call.registry.get(Campaign, call.account, _number(call))
    first = Rule(version=1, starts_at=campaign.created_at, commission=campaign.commission)
    data: list[object] = [_answer(rule) for rule in (first, *campaign.rules)]
    return json_response(Page(data=data, next_cursor=None))


async def _add(call: Call) -> Response:
    form = await body_of(call.request, RuleForm)
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

    changed = await call.registry.patch(Campaign, call.account, _number(call), add)
    return json_response(_answer(changed.rules[-1]), 201)


def _starts_at(form: RuleForm, now: datetime) -> datetime:
    if form.starts_at is None:
        return now
    if form.starts_at < now:
        # What was paid stays paid.
        raise Rejected(Reason.invalid_field, "must not be in the past", field="starts_at")
    try:
        return form.starts_at.astimezone(UTC)
    except OverflowError:
        raise Rejected(Reason.invalid_field, "is too far off", field="starts_at") from None


def _number(call: Call) -> int:
    number = read_id("campaign", call.request.path_params["id"])
    if number is None:
        raise Rejected(Reason.not_found, "there is no such campaign")
    return number


def _answer(rule: Rule) -> RuleAnswer:
    return RuleAnswer(
        version=rule.version,
        affiliate_id=public_id("affiliate", rule.affiliate) if rule.affiliate else None,
        commission=rule.commission,
        starts_at=rule.starts_at,
    )
