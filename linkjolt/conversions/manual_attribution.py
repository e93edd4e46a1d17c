"""Whom a person names as the earner of a conversion, looked up in the registry."""

from collections.abc import Callable

from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversions.adjustment_kinds import Earner
from linkjolt.conversions.forms import AttributionForm
from linkjolt.events import ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import rule_at
from linkjolt.registry.entries import Affiliate, Campaign, Link, read_id
from linkjolt.registry.reads import E, read_entry, read_pointer


async def find_earner(
    redis: Redis, form: AttributionForm, account: int
) -> Callable[[ConversionState], Earner]:
    """The link's affiliate and campaign, or those named, paid by the rule of a conversion's time.

    Rejected, naming the field, where the account has none of these.
    """
    if form.tracking_code is None:
        link, affiliate_id, campaign_id = 0, form.affiliate_id or "", form.campaign_id or ""
        affiliate = read_id("affiliate", affiliate_id)
        campaign_number = read_id("campaign", campaign_id)
    else:
        found = await _link(redis, form.tracking_code, account)
        link, affiliate, campaign_number = found.number, found.affiliate, found.campaign
    await _entry(redis, Affiliate, affiliate, account, "affiliate_id")
    campaign = await _entry(redis, Campaign, campaign_number, account, "campaign_id")

    def earner(state: ConversionState) -> Earner:
        version, _ = rule_at(campaign, affiliate or 0, state.time_ms)
        return Earner(campaign=campaign.number, affiliate=affiliate or 0, link=link, rule=version)

    return earner


async def _link(redis: Redis, code: str, account: int) -> Link:
    number = await read_pointer(redis, redis_keys.tracking_code(code))
    link = await read_entry(redis, Link, number) if number else None
    if link is None or link.account != account or link.deleted_at is not None:
        message = "no such tracking code"
        raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")
    return link


async def _entry(redis: Redis, kind: type[E], number: int | None, account: int, field: str) -> E:
    entry = await read_entry(redis, kind, number) if number else None
    if entry is None or entry.account != account or entry.deleted_at is not None:
        message = f"names no {field.removesuffix('_id')} of this account"
        raise Rejected(Reason.unknown_reference, message, field=field)
    return entry
