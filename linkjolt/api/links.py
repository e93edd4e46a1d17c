"""Creating links, one or many: checked by themselves, then against what they refer to."""

from collections.abc import Sequence
from datetime import datetime

from linkjolt.api.registry_forms import LinkForm, check_references, new_link
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Affiliate, Campaign, Link
from linkjolt.registry.store import Registry


async def create_links(
    registry: Registry, account: int, forms: Sequence[LinkForm | Rejected], now: datetime
) -> list[Link | Rejected]:
    """One outcome per form, in order; what is refused already stays so. RedisError passes."""
    drafts = [_draft(form, account, now) for form in forms]
    links = [draft for draft in drafts if isinstance(draft, Link)]
    campaigns = await registry.existing(Campaign, account, {link.campaign for link in links})
    affiliates = await registry.existing(Affiliate, account, {link.affiliate for link in links})
    drafts = [_referring(draft, campaigns, affiliates) for draft in drafts]
    good = [draft for draft in drafts if isinstance(draft, Link)]
    stored = iter(await registry.create_many(good))
    return [next(stored) if isinstance(draft, Link) else draft for draft in drafts]


def _draft(form: LinkForm | Rejected, account: int, now: datetime) -> Link | Rejected:
    if isinstance(form, Rejected):
        return form
    try:
        return new_link(form, account, now)
    except Rejected as error:
        return error


def _referring(
    draft: Link | Rejected, campaigns: set[int], affiliates: set[int]
) -> Link | Rejected:
    if isinstance(draft, Rejected):
        return draft
    try:
        check_references(draft, campaigns, affiliates)
    except Rejected as error:
        return error
    return draft
