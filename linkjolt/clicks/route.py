"""Resolves a tracking link or coupon to the entries that a click or conversion on it needs."""

from functools import cached_property

import msgspec

from linkjolt.clicks.destination import compile_destination
from linkjolt.registry.commission_rules import CommissionChoice, standing_choice
from linkjolt.registry.entries import Affiliate, Campaign, Coupon, Link


class Route(msgspec.Struct, frozen=True, dict=True):
    """A link with everything a click or a conversion on it needs; derived values are cached."""

    link: Link
    campaign: Campaign
    affiliate: Affiliate

    @cached_property
    def closed(self) -> bool:
        """Returns True if it takes no clicks: disabled, or deleted with campaign or affiliate."""
        owners = (self.link, self.campaign, self.affiliate)
        deleted = any(entry.deleted_at is not None for entry in owners)
        return deleted or self.link.status == "disabled"

    @cached_property
    def is_deleted(self) -> bool:
        """Returns True if it is deleted, or its campaign or affiliate is."""
        return any(entry.deleted_at for entry in (self.link, self.campaign, self.affiliate))

    @cached_property
    def standing_choice(self) -> CommissionChoice | None:
        """Returns the commission of all its conversions; None where it depends on each."""
        return standing_choice(self.campaign, self.affiliate)

    @cached_property
    def fields_json(self) -> str:
        """Returns the JSON fields that the lines of all its clicks share (`events.Click`)."""
        link = self.link
        return (
            f'"account":{link.account},"link":{link.number},'
            f'"campaign":{link.campaign},"affiliate":{link.affiliate}'
        )

    @cached_property
    def around_click_id(self) -> tuple[str, str] | None:
        """Returns the texts around the click id if nothing else varies (`Destination`)."""
        return compile_destination(
            self.link.destination, self.campaign.click_id_param
        ).around_click_id


class CouponRoute(msgspec.Struct, frozen=True):
    """A coupon with the campaign that pays for it and the affiliate who earns."""

    coupon: Coupon
    campaign: Campaign
    affiliate: Affiliate


def coupon_route(
    coupon: Coupon, campaign: Campaign | None, affiliate: Affiliate | None
) -> CouponRoute | None:
    """Returns the route of a coupon; None if the coupon, its campaign or affiliate is deleted."""
    if campaign is None or affiliate is None:
        return None
    is_deleted = any(entry.deleted_at is not None for entry in (coupon, campaign, affiliate))
    return None if is_deleted else CouponRoute(coupon, campaign, affiliate)
