"""Selects the commission rule that applies, by affiliate and time, and adds versions; pure."""

from datetime import datetime
from functools import cached_property

import msgspec

from linkjolt.money import (
    Commission,
    CompiledRule,
    compile_rule,
    compiled_commission,
    has_amounts,
)
from linkjolt.registry.entries import Affiliate, Campaign, RuleVersion

# Why a rule for first orders pays nothing, or pays though it could not be checked.
NOT_FIRST = "not_first_order"
UNCHECKED = "first_order_unchecked"
# The event of an order.
SALE = "sale"
_FIRST_VERSION = 1


class CommissionChoice(msgspec.Struct, frozen=True, dict=True):
    """The commission that pays and its rule's version, or the reason why none does.

    `exchange_rate` converts its amounts into the currency of the order, '' where that is theirs.
    """

    rule: int = 0
    commission: Commission | None = None
    reason: str = ""
    exchange_rate: str = ""

    def minor(self, order_value_minor: int, currency: str) -> int:
        """Computes the commission in minor units."""
        if self.commission is None:
            return 0
        compiled = self._compiled_by_currency.get(currency)
        if compiled is None:
            compiled = compile_rule(self.commission, currency, self.exchange_rate)
            self._compiled_by_currency[currency] = compiled
        return compiled_commission(compiled, order_value_minor)

    @cached_property
    def _compiled_by_currency(self) -> dict[str, CompiledRule]:
        return {}


_NO_COMMISSION = CommissionChoice()


def standing_choice(campaign: Campaign, affiliate: Affiliate) -> CommissionChoice | None:
    """Returns the choice that is the same for every time and event; None where there is none."""
    entries = (campaign, affiliate)
    if campaign.rules or campaign.commission.first_order_only:
        return None
    if any(entry.deleted_at or entry.suspended_at for entry in entries):
        return None
    return CommissionChoice(_FIRST_VERSION, campaign.commission)


def choose_commission(
    campaign: Campaign | None, affiliate: Affiliate | None, time_ms: int, event: str
) -> CommissionChoice:
    """Chooses the commission of a conversion by its campaign, affiliate, time and event."""
    if campaign is None or affiliate is None:
        return _NO_COMMISSION
    if reason := unpaid_reason(campaign, affiliate, time_ms):
        return CommissionChoice(reason=reason)
    version, commission = rule_at(campaign, affiliate.number, time_ms)
    if commission.first_order_only and event != SALE:
        return CommissionChoice(reason=NOT_FIRST)
    return CommissionChoice(version, commission)


def needs_exchange_rate(
    commission: Commission | None, campaign: Campaign | None, currency: str | None
) -> bool:
    """Returns whether a commission has amounts in another currency than the order's.

    The order's is the campaign's where it has none.
    """
    if commission is None or campaign is None or currency is None or currency == campaign.currency:
        return False
    return has_amounts(commission)


def rule_at(campaign: Campaign, affiliate: int, time_ms: int) -> tuple[int, Commission]:
    """Returns the version and rule that pay an affiliate's conversion at `time_ms`.

    An affiliate's own rule beats a general one; of several that have started, the last one
    applies. An own rule of None ends it: the general one applies again.
    """
    campaign_rule = _FIRST_VERSION, campaign.commission
    if not campaign.rules:
        return campaign_rule
    started = [rule for rule in campaign.rules if _to_ms(rule.starts_at) <= time_ms]
    for owner in (affiliate, 0):
        of_owner = [rule for rule in started if rule.affiliate == owner]
        if of_owner:
            last = max(of_owner, key=lambda rule: (rule.starts_at, rule.version))
            if last.commission is not None:
                return last.version, last.commission
    return campaign_rule


def deletion_reason(campaign: Campaign, affiliate: Affiliate, time_ms: int) -> str:
    """Returns which of the two was deleted at `time_ms`, as a reason; '' for neither."""
    if _is_past(affiliate.deleted_at, time_ms):
        return "affiliate_deleted"
    return "campaign_deleted" if _is_past(campaign.deleted_at, time_ms) else ""


def unpaid_reason(campaign: Campaign, affiliate: Affiliate, time_ms: int) -> str:
    """Returns why an affiliate's conversion at `time_ms` earns nothing; '' where it earns."""
    if (
        affiliate.deleted_at is None
        and campaign.deleted_at is None
        and affiliate.suspended_at is None
        and campaign.suspended_at is None
    ):
        # Most are like this.
        return ""
    if deleted := deletion_reason(campaign, affiliate, time_ms):
        return deleted
    if _is_past(affiliate.suspended_at, time_ms):
        return "affiliate_suspended"
    return "campaign_suspended" if _is_past(campaign.suspended_at, time_ms) else ""


def _is_past(at: datetime | None, time_ms: int) -> bool:
    # Conversions have milliseconds: one of the same millisecond is after it.
    return at is not None and time_ms >= int(at.timestamp() * 1000)


def rule_of_version(campaign: Campaign, version: int) -> Commission | None:
    """Returns the rule of a version; None if there is none, or if it ends an affiliate's own."""
    if version == _FIRST_VERSION:
        return campaign.commission
    return next((rule.commission for rule in campaign.rules if rule.version == version), None)


def general_rule(campaign: Campaign, now: datetime) -> Commission:
    """Returns the rule that pays affiliates without one of their own now."""
    return rule_at(campaign, 0, _to_ms(now))[1]


def with_rule(
    campaign: Campaign, commission: Commission | None, *, starts_at: datetime, affiliate: int = 0
) -> Campaign:
    """Adds a version to the campaign; earlier ones remain, for conversions are paid by them."""
    # Conversions have milliseconds: one at this instant is paid by the new version.
    starts_at = starts_at.replace(microsecond=starts_at.microsecond // 1000 * 1000)
    version = _FIRST_VERSION + 1 + len(campaign.rules)
    rule = RuleVersion(
        version=version, starts_at=starts_at, commission=commission, affiliate=affiliate
    )
    return msgspec.structs.replace(campaign, rules=(*campaign.rules, rule))


def _to_ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
