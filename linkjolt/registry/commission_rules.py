"""Which of a campaign's commission rules applies, by affiliate and time; how one is added; pure."""

from datetime import datetime

import msgspec

from linkjolt.money import Commission
from linkjolt.registry.entries import Campaign, Rule

_FIRST_VERSION = 1


def rule_at(campaign: Campaign, affiliate: int, time_ms: int) -> tuple[int, Commission]:
    """The version and rule by which a conversion of an affiliate at `time_ms` is paid.

    A rule of his own beats one for all; of several that have started the last one counts. A rule
    of his own that is None ends it: he is paid as all are.
    """
    found = _FIRST_VERSION, campaign.commission
    if not campaign.rules:
        return found
    started = [rule for rule in campaign.rules if _ms(rule.starts_at) <= time_ms]
    for owner in (affiliate, 0):
        of_owner = [rule for rule in started if rule.affiliate == owner]
        if of_owner:
            last = max(of_owner, key=lambda rule: (rule.starts_at, rule.version))
            if last.commission is not None:
                return last.version, last.commission
    return found


def rule_of_version(campaign: Campaign, version: int) -> Commission | None:
    """The rule of a version; None for one that there is not, or that ends an affiliate's own."""
    if version == _FIRST_VERSION:
        return campaign.commission
    return next((rule.commission for rule in campaign.rules if rule.version == version), None)


def general_rule(campaign: Campaign, now: datetime) -> Commission:
    """What it pays now to those who have no rule of their own."""
    return rule_at(campaign, 0, _ms(now))[1]


def with_rule(
    campaign: Campaign, commission: Commission | None, *, starts_at: datetime, affiliate: int = 0
) -> Campaign:
    """The campaign with one version more; those before stay, for conversions are paid by them."""
    # Conversions know milliseconds: one of this instant is paid by it.
    starts_at = starts_at.replace(microsecond=starts_at.microsecond // 1000 * 1000)
    version = _FIRST_VERSION + 1 + len(campaign.rules)
    rule = Rule(version=version, starts_at=starts_at, commission=commission, affiliate=affiliate)
    return msgspec.structs.replace(campaign, rules=(*campaign.rules, rule))


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)
