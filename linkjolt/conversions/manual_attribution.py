"""Looks up the affiliate to whom a person attributes a conversion."""

from collections.abc import Callable
from functools import partial

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversions.adjustment_kinds import Payee
from linkjolt.conversions.forms import AttributionForm
from linkjolt.datasets import Account
from linkjolt.events import ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import (
    choose_commission,
    needs_exchange_rate,
    unpaid_reason,
)
from linkjolt.registry.entries import Affiliate, Campaign, Link, parse_public_id
from linkjolt.registry.rates import RateTable
from linkjolt.registry.reads import E, read_entry, read_pointer


async def find_payee(
    redis: Redis, rates: RateTable, form: AttributionForm, account: Account
) -> Callable[[ConversionState], Payee]:
    """Returns a function of the conversion's state: the payee, by the rule of that time.

    The payee is the link's affiliate and campaign, or the named ones. Rejected, naming the field,
    if the account has none of these. The function raises Rejected if nothing could be earned at
    that time, or if the account has no rate for the rule's amounts.
    """
    if form.tracking_code is None:
        link, affiliate_id, campaign_id = 0, form.affiliate_id or "", form.campaign_id or ""
        affiliate = parse_public_id("affiliate", affiliate_id)
        campaign_number = parse_public_id("campaign", campaign_id)
    else:
        active_link = await _read_active_link(redis, form.tracking_code, account)
        link, affiliate, campaign_number = (
            active_link.number,
            active_link.affiliate,
            active_link.campaign,
        )
    payee = await _read_active_entry(redis, Affiliate, affiliate, account, "affiliate_id")
    campaign = await _read_active_entry(redis, Campaign, campaign_number, account, "campaign_id")
    return partial(_payee_of, campaign, payee, link, rates)


def _payee_of(
    campaign: Campaign, affiliate: Affiliate, link: int, rates: RateTable, state: ConversionState
) -> Payee:
    if reason := unpaid_reason(campaign, affiliate, state.time_ms):
        message = f"the conversion would earn nothing: {reason}"
        raise Rejected(Reason.not_adjustable, message)
    choice = choose_commission(campaign, affiliate, state.time_ms, state.event)
    rate = ""
    if needs_exchange_rate(choice.commission, campaign, state.currency):
        rate = rates.require(state.currency, campaign.currency, state.time_ms)
    return Payee(
        campaign=campaign.number,
        affiliate=affiliate.number,
        link=link,
        rule=choice.rule,
        exchange_rate=rate,
        reason=choice.reason,
    )


async def _read_active_link(redis: Redis, code: str, account: Account) -> Link:
    number = await read_pointer(redis, redis_keys.tracking_code(code))
    link = await read_entry(redis, Link, number) if number else None
    if link is None or link.account != account or link.deleted_at is not None:
        message = "names no link of this account"
        raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")
    return link


async def _read_active_entry(
    redis: Redis, kind: type[E], number: int | None, account: Account, field: str
) -> E:
    entry = await read_entry(redis, kind, number) if number else None
    if entry is None or entry.account != account or entry.deleted_at is not None:
        message = f"names no {field.removesuffix('_id')} of this account"
        raise Rejected(Reason.unknown_reference, message, field=field)
    return entry
