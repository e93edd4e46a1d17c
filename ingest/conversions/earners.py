"""Finds the affiliate whom a conversion inherits: a rebill its sale's, a customer's the first one.

In a campaign with `lifetime` the first conversion of each customer claims the customer for its
affiliate, by id and by e-mail address, in the campaign and, by the merchant's key, in the account.
"""

from collections.abc import Sequence

import msgspec

from ingest.conversions.attribution import Earner, attribute
from ingest.conversions.body import ConversionPost
from ingest.conversions.customer_claims import (
    ConversionClaim,
    MadeClaim,
    Standing,
)
from ingest.conversions.decision import REBILL, Decision, Lookups
from ingest.edge import Edge
from ingest.publishing.publishers import PostedConversion
from linkjolt.conversions.reservations import NamedOrder, find_order
from linkjolt.datasets import Dataset
from linkjolt.events import AttributionMethod
from linkjolt.privacy.customers import ANY_CAMPAIGN, customer_hash, earner_keys, identities_of
from linkjolt.registry.commission_rules import SALE
from linkjolt.registry.entries import ApiKey, parse_public_id
from linkjolt.storage.redis import RedisError


class Earners:
    """Finds earners by the orders and customers that Redis holds; RedisError passes through."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._shards = edge.settings.shards

    async def find(
        self, post: ConversionPost, key: ApiKey, lookups: Lookups, time_ms: int
    ) -> Earner | None:
        """Finds the earner whom a post inherits, if it is a rebill or names nobody who earns."""
        customer = customer_hash(post.customer_email, self._edge.keyring.customer_key)
        identities = identities_of(post.customer_id, customer)
        posted = attribute(lookups.clicks, lookups.code, lookups.coupon, key.account, time_ms)
        campaign = posted.campaign.number if posted.campaign else key.campaign
        is_rebill = post.event == REBILL
        if is_rebill and post.order_id is not None:
            earner = await self._of_order(key.dataset, SALE, post.order_id, campaign)
            if earner is not None:
                return earner
        if not identities:
            return None
        if posted.affiliate is not None and not is_rebill:
            return None
        if posted.campaign is not None and not posted.campaign.lifetime:
            return None
        campaign = campaign or _campaign_number(post)
        earner = await self._of_customer(key.dataset, identities, campaign)
        return earner and msgspec.structs.replace(earner, outranks=is_rebill)

    async def of_order(self, decision: Decision, event: str) -> Earner | None:
        """Finds who earned the order of a post; None if it is the first."""
        campaign = decision.attribution.campaign
        number = campaign.number if campaign else 0
        order_id = decision.post.order_id or ""
        return await self._of_order(decision.key.dataset, event, order_id, number)

    async def _of_order(
        self, dataset: Dataset, event: str, order_id: str, campaign: int
    ) -> Earner | None:
        stored = await find_order(
            self._edge.fast_redis,
            self._shards,
            NamedOrder(dataset, event, order_id),
            campaign,
            lambda state: campaign in (0, state.campaign),
        )
        if stored is None:
            return None
        state = stored.reservation.state
        if not state.affiliate:
            return Earner(method="none")
        earner = await self._load("order", state.campaign, state.affiliate, state.link)
        return earner and msgspec.structs.replace(earner, click_id=state.click_id, outranks=True)

    async def _of_customer(
        self, dataset: Dataset, identities: Sequence[str], campaign: int
    ) -> Earner | None:
        claims = self._edge.customer_claims
        for key in earner_keys(dataset, identities, campaign, self._shards):
            claim = await claims.read(key)
            if claim is None:
                continue
            standing, state = await claims.judge(claim)
            if standing is Standing.void:
                continue
            # It may have been attributed by hand since.
            of = state or claim
            earner = await self._load("customer", of.campaign, of.affiliate, of.link)
            if earner and earner.campaign and earner.campaign.lifetime:
                return earner
        return None

    async def _load(
        self, method: AttributionMethod, campaign: int, affiliate: int, link: int
    ) -> Earner | None:
        directory = self._edge.directory
        route = await directory.route_by_number(link) if link else None
        found_campaign = await directory.campaign(campaign)
        found_affiliate = await directory.affiliate(affiliate)
        if found_campaign is None or found_affiliate is None:
            return None
        return Earner(
            method=method,
            campaign=found_campaign,
            affiliate=found_affiliate,
            link=route.link if route else None,
        )

    async def claim_customer(
        self, decision: Decision, posted: PostedConversion, now_ms: int
    ) -> list[MadeClaim]:
        """Claims the customer of a conversion for its affiliate, in a campaign with `lifetime`."""
        conversion = posted.conversion
        identities = identities_of(decision.post.customer_id, decision.customer)
        if not conversion.affiliate or not conversion.verified or not identities:
            return []
        if conversion.attribution == "customer":
            # The claim by which it was attributed stays as strong as it is.
            return []
        claim = ConversionClaim(
            order_digest=posted.order_digest,
            claimed_ms=now_ms,
            conversion_id=conversion.conversion_id,
            campaign=conversion.campaign,
            affiliate=conversion.affiliate,
            link=conversion.link,
            hand=conversion.hand,
        )
        # Only the merchant's own key claims a customer in the whole account.
        campaigns = [conversion.campaign, *([ANY_CAMPAIGN] if conversion.hand == "key" else [])]
        keys = [
            key
            for campaign in campaigns
            for key in earner_keys(conversion.account, identities, campaign, self._shards)
        ]
        try:
            return await self._edge.customer_claims.claim_free(keys, claim)
        except RedisError:
            self._edge.customer_claims.claim_later(keys, claim)
            return []


def _campaign_number(post: ConversionPost) -> int:
    number = parse_public_id("campaign", post.campaign_id) if post.campaign_id else None
    return number or ANY_CAMPAIGN
