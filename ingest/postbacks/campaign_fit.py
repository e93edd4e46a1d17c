"""Fits a parsed postback to the campaign that its click or code belongs to; pure."""

import msgspec

from ingest.conversions.body import EVENTS, ConversionPost
from ingest.postbacks.parameters import Postback, as_undeclared
from linkjolt.money import check_currency
from linkjolt.registry.entries import Campaign


def needs_campaign(postback: Postback) -> bool:
    """Returns False where the postback means the same in every campaign."""
    return postback.minor_units or _may_be_undeclared(postback)


def fit_to_campaign(
    postback: Postback, campaign: Campaign | None, default_currency: str
) -> Postback:
    """Settles the amount's unit and the event; None is the campaign of an unattributed postback."""
    if _may_be_undeclared(postback) and postback.post.event not in (
        campaign.events if campaign else ()
    ):
        postback = as_undeclared(postback)
    if not postback.minor_units:
        return postback
    currency = postback.post.currency or (campaign.currency if campaign else default_currency)
    post = scale_minor_units(postback.post, currency)
    return msgspec.structs.replace(postback, post=post, minor_units=False)


def scale_minor_units(post: ConversionPost, currency: str) -> ConversionPost:
    """Converts an order value in the smallest unit of the currency into major units."""
    if not post.order_value:
        return post
    value = post.order_value.scaleb(-check_currency(currency))
    return msgspec.structs.replace(post, order_value=value)


def _may_be_undeclared(postback: Postback) -> bool:
    return bool(postback.event_type) and postback.post.event not in EVENTS
