"""What is decided of a posted conversion before anything is written: pure, but for its id."""

import secrets
from decimal import Decimal
from hashlib import blake2s

import msgspec

from ingest.conversions import body
from ingest.conversions.attribution import Attribution, GivenClick, attribute
from ingest.conversions.body import ConversionPost, customer_hash, time_of
from ingest.publishing.publishers import Posted
from linkjolt import redis_keys
from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.conversion_ids import make_conversion_id, shard_of
from linkjolt.events import Conversion, ConversionState
from linkjolt.money import Commission, commission_minor, to_minor
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import rule_at
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Duplicates, Kind, public_id
from linkjolt.settings import Edge as Settings

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


REBILL = "rebill"
_NO_PAY = Pay()


class Found(msgspec.Struct, frozen=True):
    """What the directory and their MACs say of what a post names."""

    clicks: tuple[GivenClick, ...]
    code: Route | None
    coupon: CouponRoute | None


class Case(msgspec.Struct, frozen=True):
    """A post with its key, who earns it, and what that pays; `customer` is '' where unknown.

    `duplicates` is what becomes of another post of its order. `first_order_only`: what it pays
    depends on what the customer has bought before.
    """

    post: ConversionPost
    key: ApiKey
    time_ms: int
    attribution: Attribution
    pay: Pay
    customer: str
    duplicates: Duplicates = "refuse"
    first_order_only: bool = False


def decide(
    post: ConversionPost, key: ApiKey, found: Found, now_ms: int, customer_key: bytes
) -> Case:
    """Rejected, naming the field, for a post that cannot be taken under this key."""
    if post.tracking_code is not None:
        _check_code(found.code, key.account)
    elif post.coupon_code is not None:
        _check_coupon(post, found.coupon)
    time_ms = time_of(post, now_ms)
    by = attribute(found.clicks, found.code, found.coupon, key.account, time_ms)
    if key.campaign and (by.campaign is None or by.campaign.number != key.campaign):
        raise Rejected(Reason.forbidden, "the API key is for another campaign")
    customer = customer_hash(post.customer_email, customer_key)
    campaign = by.campaign
    # Those without an order have no other post.
    duplicates = campaign.duplicates if campaign and post.order_id else "refuse"
    if campaign is None or by.affiliate is None:
        return Case(post, key, time_ms, by, _NO_PAY, customer, duplicates)
    version, rule = rule_at(campaign, by.affiliate.number, time_ms)
    pay = Pay(version, rule)
    return Case(post, key, time_ms, by, pay, customer, duplicates, rule.first_order_only)


def make(case: Case, settings: Settings, now_ms: int, conversion_id: str = "") -> Posted:
    """The event to publish, where its order is reserved; `conversion_id` is one that it had."""
    order, shards = case.post.order_id, settings.shards
    books = case.key.books
    digest = redis_keys.order_digest(books, case.post.event, order) if order else ""
    shard = int(digest, 16) % shards if digest else _any_shard(conversion_id, shards)
    conversion_id = conversion_id or make_conversion_id(shard, now_ms)
    conversion, fingerprint = resolve_conversion(
        case.post,
        case.attribution,
        case.pay,
        Origin(conversion_id, books, case.time_ms, case.customer, settings.default_currency),
    )
    match case.duplicates:
        case "allow":
            return _posted(_freed(conversion), conversion_id, fingerprint, shard)
        case "rebill":
            # The same instant given twice is the same sale, sent twice.
            timed = case.post.timestamp is not None
            again = _posted(
                _freed(conversion, REBILL),
                _digest_of(digest, fingerprint) if timed else conversion_id,
                fingerprint,
                shard,
            )
            posted = _posted(conversion, digest, fingerprint, shard)
            return msgspec.structs.replace(posted, again=again, timed=timed)
        case _:
            return _posted(conversion, digest or conversion_id, fingerprint, shard)


def _any_shard(conversion_id: str, shards: int) -> int:
    """That of an id which the conversion had before, else one by chance."""
    shard = shard_of(conversion_id)
    return secrets.randbelow(shards) if shard is None else shard


def _posted(conversion: Conversion, digest: str, fingerprint: str, shard: int) -> Posted:
    return Posted(conversion, state_of(conversion), digest, fingerprint, shard)


def _freed(conversion: Conversion, event: str = "") -> Conversion:
    """The conversion as one of several of its order."""
    return msgspec.structs.replace(conversion, order_free=True, event=event or conversion.event)


def _digest_of(digest: str, fingerprint: str) -> str:
    return blake2s(f"{digest}{fingerprint}".encode(), digest_size=16).hexdigest()


def _check_code(route: Route | None, account: int) -> None:
    if route is None or route.link.account != account or route.link.deleted_at is not None:
        message = "no such tracking code"
        raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")


def _check_coupon(post: ConversionPost, coupon: CouponRoute | None) -> None:
    """A coupon beside a click or a code may be any; alone it must lead to an affiliate."""
    if coupon or post.click_id or post.click_ids:
        return
    message = "is no coupon of an affiliate"
    raise Rejected(Reason.unknown_reference, message, field="coupon_code")
