"""A posted conversion and its attribution made into the event to publish."""

from decimal import Decimal

import msgspec

from ingest import conversion_post
from ingest.attribution import Attribution, Late
from ingest.conversion_post import ConversionPost
from linkjolt.errors import Reason, Rejected
from linkjolt.events import Conversion, ConversionState
from linkjolt.money import commission_minor, to_minor
from linkjolt.registry import Campaign, Route, public_id

_NOTHING = Decimal(0)


def resolve_conversion(
    post: ConversionPost,
    attribution: Attribution,
    *,
    conversion_id: str,
    account: int,
    now_ms: int,
    customer_key: bytes,
    default_currency: str,
) -> tuple[Conversion, str]:
    """The event and the post's fingerprint; pure. Rejected, naming the field that does not fit."""
    campaign, route = attribution.campaign, attribution.route
    _check_references(post, campaign, route)
    _check_event(post, campaign)
    currency = post.currency or (campaign.currency if campaign else default_currency)
    value_minor = to_minor(post.order_value or _NOTHING, currency, "order_value")
    click_id = post.click_id or ""
    conversion = Conversion(
        conversion_id=conversion_id,
        account=account,
        event=post.event,
        time_ms=conversion_post.time_of(post, now_ms),
        currency=currency,
        order_value_minor=value_minor,
        commission_minor=_commission(route, value_minor, currency),
        status=post.status or (campaign.conversion_status if campaign else "pending"),
        attribution=attribution.method,
        reason="" if attribution.reason is Late.none else attribution.reason.value,
        order_id=post.order_id or "",
        campaign=campaign.number if campaign else 0,
        affiliate=route.affiliate.number if route else 0,
        link=route.link.number if route else 0,
        click_id=click_id if attribution.click_genuine else "",
        given_click_id="" if attribution.click_genuine else click_id,
        customer=conversion_post.customer_hash(post.customer_email, customer_key),
    )
    if _says_more(post):
        conversion = _carry_over(conversion, post)
    return conversion, conversion_post.fingerprint(post, value_minor, currency)


def _says_more(post: ConversionPost) -> object:
    """Truth where anything goes over as it is: most posts have none of it."""
    texts = post.customer_id or post.coupon_code or post.adv1 or post.adv2 or post.adv3
    return texts or post.adv4 or post.adv5 or post.items is not None or post.metadata is not None


def _carry_over(conversion: Conversion, post: ConversionPost) -> Conversion:
    """What goes from the post into the event as it is."""
    return msgspec.structs.replace(
        conversion,
        customer_id=post.customer_id or "",
        coupon_code=post.coupon_code or "",
        items=conversion_post.encode_raw(post.items),
        metadata=conversion_post.encode_raw(post.metadata),
        adv1=post.adv1,
        adv2=post.adv2,
        adv3=post.adv3,
        adv4=post.adv4,
        adv5=post.adv5,
    )


def _commission(route: Route | None, value_minor: int, currency: str) -> int:
    return commission_minor(route.campaign.commission, value_minor, currency) if route else 0


def _check_references(post: ConversionPost, campaign: Campaign | None, route: Route | None) -> None:
    """`campaign_id` and `affiliate_id` may be sent along, but must not contradict the link."""
    if post.campaign_id and campaign and post.campaign_id != public_id("campaign", campaign.number):
        message = "is not the campaign of this link"
        raise Rejected(Reason.unknown_reference, message, field="campaign_id")
    if post.affiliate_id and route:
        own = public_id("affiliate", route.affiliate.number)
        if post.affiliate_id != own:
            message = "is not the affiliate of this link"
            raise Rejected(Reason.unknown_reference, message, field="affiliate_id")


def _check_event(post: ConversionPost, campaign: Campaign | None) -> None:
    own = campaign.events if campaign else ()
    if post.event not in conversion_post.EVENTS and post.event not in own:
        message = "is neither sale, lead, signup, rebill nor an event of the campaign"
        raise Rejected(Reason.invalid_field, message, field="event")


def state_of(conversion: Conversion) -> ConversionState:
    """The live state of a conversion just made."""
    return ConversionState(
        conversion_id=conversion.conversion_id,
        account=conversion.account,
        event=conversion.event,
        time_ms=conversion.time_ms,
        currency=conversion.currency,
        order_value_minor=conversion.order_value_minor,
        commission_minor=conversion.commission_minor,
        refundable_minor=conversion.order_value_minor,
        status=conversion.status,
        attribution=conversion.attribution,
        reason=conversion.reason,
        order_id=conversion.order_id,
        campaign=conversion.campaign,
        affiliate=conversion.affiliate,
        click_id=conversion.click_id,
    )
