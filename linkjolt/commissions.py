"""Which of a campaign's commission rules applies: by affiliate and time; pure."""

from linkjolt.money import Commission
from linkjolt.registry import Campaign

_FIRST_VERSION = 1


def rule_at(campaign: Campaign, affiliate: int, time_ms: int) -> tuple[int, Commission]:
    """The version and rule by which a conversion of an affiliate at `time_ms` is paid.

    A rule of his own beats one for all; of several that have started the last one counts. A rule
    of his own that is None ends it: he is paid as all are.
    """
    found = _FIRST_VERSION, campaign.commission
    if not campaign.rules:
        return found
    started = [rule for rule in campaign.rules if rule.starts_at.timestamp() * 1000 <= time_ms]
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
