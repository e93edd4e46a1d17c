"""Resolves a tracking link or coupon to the entries that a click or conversion on it needs."""

from functools import cached_property

import msgspec

from linkjolt.clicks.destination import compile_destination
from linkjolt.registry.entries import Affiliate, Campaign, Coupon, Link


class Route(msgspec.Struct, frozen=True, dict=True):
    """A link with all that a click or a conversion on it needs; what it comes to is kept."""

    link: Link
    campaign: Campaign
    affiliate: Affiliate

    @cached_property
    def closed(self) -> bool:
        """True where it takes no clicks: disabled, or deleted with its campaign or affiliate."""
        owners = (self.link, self.campaign, self.affiliate)
        deleted = any(entry.deleted_at is not None for entry in owners)
        return deleted or self.link.status == "disabled"

    @cached_property
    def said(self) -> str:
        """What the lines of all its clicks say alike, in JSON (`events.Click`)."""
        link = self.link
        return (
            f'"account":{link.account},"link":{link.number},'
            f'"campaign":{link.campaign},"affiliate":{link.affiliate}'
        )

    @cached_property
    def around(self) -> tuple[str, str] | None:
        """What stands around the click id where nothing else changes (`Destination.around`)."""
        return compile_destination(self.link.destination, self.campaign.click_id_param).around


class CouponRoute(msgspec.Struct, frozen=True):
    """A coupon with the campaign that pays for it and the affiliate who earns."""

    coupon: Coupon
    campaign: Campaign
    affiliate: Affiliate
