"""A posted conversion, its attribution and its pay made into the event to publish."""

from decimal import Decimal

import msgspec

from ingest.conversions import body
from ingest.conversions.attribution import Attribution
from ingest.conversions.body import ConversionPost
from linkjolt.events import Conversion, ConversionState
from linkjolt.money import Commission, commission_minor, to_minor
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Affiliate, Campaign, Kind, public_id

_NOTHING = Decimal(0)


class Pay(msgspec.Struct, frozen=True):
    """The version of the campaign's commission that pays and its rule, or why none does."""

    rule: int = 0
    commission: Commission | None = None
    reason: str = ""


class Origin(msgspec.Struct, frozen=True):
    """What a conversion has from elsewhere than its post; `books` is the account of its events."""

    conversion_id: str
    books: int
    time_ms: int
    customer: str
    default_currency: str


def resolve_conversion(
    post: ConversionPost, attribution: Attribution, pay: Pay, origin: Origin
) -> tuple[Conversion, str]:
    """The event and the post's fingerprint; pure. Rejected, naming the field that does not fit."""
    campaign, affiliate, link = attribution.campaign, attribution.affiliate, attribution.link
    _check_references(post, attribution)
    _check_event(post, campaign)
    currency = post.currency or (campaign.currency if campaign else origin.default_currency)
    value_minor = to_minor(post.order_value or _NOTHING, currency, "order_value")
    commission = pay.commission
    conversion = Conversion(
        conversion_id=origin.conversion_id,
        account=origin.books,
        event=post.event,
        time_ms=origin.time_ms,
        currency=currency,
        order_value_minor=value_minor,
        commission_minor=commission_minor(commission, value_minor, currency) if commission else 0,
        status=post.status or (campaign.conversion_status if campaign else "pending"),
        attribution=attribution.method,
        reason=attribution.reason,
        order_id=post.order_id or "",
        campaign=campaign.number if campaign else 0,
        affiliate=affiliate.number if affiliate else 0,
        link=link.number if link else 0,
        click_id=attribution.click_id,
        given_click_id="" if attribution.click_id else body.first_click_id(post),
        customer=origin.customer,
        rule=pay.rule,
        commission_reason=pay.reason,
    )
    if _says_more(post):
        conversion = _carry_over(conversion, post)
    return conversion, body.fingerprint(post, value_minor, currency)


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
        items=body.encode_raw(post.items),
        metadata=body.encode_raw(post.metadata),
        adv1=post.adv1,
        adv2=post.adv2,
        adv3=post.adv3,
        adv4=post.adv4,
        adv5=post.adv5,
    )


def _check_references(post: ConversionPost, by: Attribution) -> None:
    """`campaign_id` and `affiliate_id` may be sent along, but must not contradict the link."""
    named: tuple[tuple[Kind, str | None, Campaign | Affiliate | None], ...] = (
        ("campaign", post.campaign_id, by.campaign),
        ("affiliate", post.affiliate_id, by.affiliate),
    )
    for kind, given, entry in named:
        if given and entry and given != public_id(kind, entry.number):
            message = f"is not the {kind} of this link"
            raise Rejected(Reason.unknown_reference, message, field=f"{kind}_id")


def _check_event(post: ConversionPost, campaign: Campaign | None) -> None:
    own = campaign.events if campaign else ()
    if post.event not in body.EVENTS and post.event not in own:
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
        link=conversion.link,
        rule=conversion.rule,
        commission_reason=conversion.commission_reason,
    )
