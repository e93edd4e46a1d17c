"""Decides what to record of a posted conversion, before anything is written; pure but for ids."""

from decimal import Decimal
from hashlib import blake2s
from typing import Literal

import msgspec

from ingest.conversions import body
from ingest.conversions.attribution import Attribution, Earner, PostedClick, attribute
from ingest.conversions.authority import (
    OWN_KEY,
    Authority,
    as_made_by,
    authority_of,
    order_digests,
)
from ingest.conversions.body import ConversionPost
from ingest.fingerprints import content_of, fingerprint, former_fingerprint
from ingest.publishing.publishers import PostedConversion
from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.conversion_ids import make_conversion_id
from linkjolt.datasets import Account, Dataset
from linkjolt.events import Conversion, ConversionState
from linkjolt.money import Commission, to_minor
from linkjolt.privacy.customers import customer_hash
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import (
    CommissionChoice,
    choose_commission,
    needs_exchange_rate,
)
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Duplicates, EntryKind, public_id
from linkjolt.settings import EdgeSettings as Settings

REBILL = "rebill"
_ZERO = Decimal(0)
_NO_EARNER = "or click_id is required: nobody is known to earn for this customer or order"
# By what a post is known when it is sent again: its content, its Idempotency-Key, or its order
# alone, as postbacks are.
RepeatKey = Literal["content", "idempotency_key", "order"]


class ConversionOrigin(msgspec.Struct, frozen=True):
    """The parts of a conversion that its post does not hold; `dataset` is where it is stored."""

    conversion_id: str
    dataset: Dataset
    time_ms: int
    customer: str
    default_currency: str
    authority: Authority


class Lookups(msgspec.Struct, frozen=True):
    """The registry entries and verified clicks that a post names, and the earner it inherits."""

    clicks: tuple[PostedClick, ...]
    code: Route | None
    coupon: CouponRoute | None
    earner: Earner | None = None


class Decision(msgspec.Struct, frozen=True):
    """A post with its key, attribution and commission; `customer` is '' where unknown.

    `duplicates` is the policy for another post of its order; `rebill` is what a post is decided to
    be where that policy makes a rebill of it. `unsettled`: something else must be read first, or
    claimed (the customer's other conversions, an exchange rate, unverified conversions).
    """

    post: ConversionPost
    key: ApiKey
    time_ms: int
    attribution: Attribution
    commission_choice: CommissionChoice
    customer: str
    duplicates: Duplicates = "refuse"
    unsettled: bool = False
    authority: Authority = OWN_KEY
    rebill: "Decision | None" = None
    customer_key: bytes = b""


def resolve_conversion(
    post: ConversionPost,
    attribution: Attribution,
    choice: CommissionChoice,
    origin: ConversionOrigin,
) -> tuple[Conversion, bytes]:
    """Resolves a post into its event and content; Rejected, naming a wrong field."""
    campaign, affiliate, link = attribution.campaign, attribution.affiliate, attribution.link
    if post.campaign_id or post.affiliate_id:
        _check_ids(post, attribution)
    if post.event not in body.EVENTS:
        _check_event(post.event, campaign)
    currency = post.currency or (campaign.currency if campaign else origin.default_currency)
    value_minor = to_minor(post.order_value or _ZERO, currency, "order_value")
    conversion = Conversion(
        conversion_id=origin.conversion_id,
        account=origin.dataset,
        event=post.event,
        time_ms=origin.time_ms,
        currency=currency,
        order_value_minor=value_minor,
        commission_minor=choice.minor(value_minor, currency),
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
        rule=choice.rule,
        commission_reason=choice.reason,
    )
    if _has_extra_fields(post):
        conversion = _copy_extra_fields(conversion, post)
    if choice.exchange_rate or origin.authority is not OWN_KEY:
        conversion = as_made_by(conversion, origin.authority, choice.exchange_rate)
    return conversion, content_of(post, value_minor, currency)


def _has_extra_fields(post: ConversionPost) -> object:
    """Returns a true value where a post has fields to copy unchanged; most have none."""
    texts = post.customer_id or post.coupon_code or post.adv1 or post.adv2 or post.adv3
    nested = post.items is not None or post.metadata is not None
    return texts or post.adv4 or post.adv5 or nested or type(post) is not ConversionPost


def _copy_extra_fields(conversion: Conversion, post: ConversionPost) -> Conversion:
    """Copies the fields that pass from the post to the event unchanged."""
    return msgspec.structs.replace(
        conversion,
        customer_id=post.customer_id or "",
        coupon_code=post.coupon_code or "",
        items=body.encode_raw(post.items),
        metadata=body.encode_raw(post.metadata),
        notes=post.notes,
        adv1=post.adv1,
        adv2=post.adv2,
        adv3=post.adv3,
        adv4=post.adv4,
        adv5=post.adv5,
    )


def _check_ids(post: ConversionPost, attribution: Attribution) -> None:
    """Refuses ids that contradict the link."""
    named: tuple[tuple[EntryKind, str | None, Campaign | Affiliate | None], ...] = (
        ("campaign", post.campaign_id, attribution.campaign),
        ("affiliate", post.affiliate_id, attribution.affiliate),
    )
    # A click earns whatever affiliate a composite code names beside it.
    is_composite = post.tracking_code and post.click_id and attribution.method == "click"
    for kind, posted_id, entry in named[:1] if is_composite else named:
        if posted_id and entry and posted_id != public_id(kind, entry.number):
            message = f"is not the {kind} of this link"
            raise Rejected(Reason.unknown_reference, message, field=f"{kind}_id")


def _check_event(event: str, campaign: Campaign | None) -> None:
    if campaign is None or event not in campaign.events:
        message = "is neither sale, lead, signup, rebill nor an event of the campaign"
        raise Rejected(Reason.invalid_field, message, field="event")


def initial_state(conversion: Conversion) -> ConversionState:
    """Returns the live state of a new conversion."""
    state = ConversionState(
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
    if conversion.hand == "key" and not (conversion.rate or conversion.notes):
        return state
    return msgspec.structs.replace(
        state,
        hand=conversion.hand,
        verified=conversion.verified,
        order_scope=conversion.order_scope,
        notes=conversion.notes,
        rate=conversion.rate,
    )


def decide(
    post: ConversionPost,
    key: ApiKey,
    lookups: Lookups,
    now_ms: int,
    customer_key: bytes,
    authority: Authority | None = None,
    repeat_key: RepeatKey = "content",
) -> Decision:
    """Decides a post; Rejected, naming the field, where this key may not post it."""
    time_ms = body.conversion_time_ms(post, now_ms)
    attribution = attribute(
        lookups.clicks, lookups.code, lookups.coupon, key.account, time_ms, lookups.earner
    )
    if attribution.method != "click":
        _check_names(post, lookups, attribution, key.account)
    if key.campaign:
        _check_key_campaign(post, attribution.campaign, key.campaign)
    campaign, affiliate = attribution.campaign, attribution.affiliate
    if authority is None:
        authority = authority_of(key) if key.campaign else OWN_KEY
    is_refusing = campaign is None or campaign.duplicates == "refuse"
    choice = lookups.code.standing_choice if lookups.code and not lookups.clicks else None
    if choice is None or attribution.method != "tracking_code":
        choice = choose_commission(campaign, affiliate, time_ms, post.event)
    if affiliate and affiliate.email and body.is_customer(post, affiliate.email):
        post = body.with_notes(post, ["self_referral"])
    return Decision(
        post,
        key,
        time_ms,
        attribution,
        choice,
        customer_hash(post.customer_email, customer_key),
        "refuse" if is_refusing else _duplicates(post, campaign, authority, repeat_key),
        _is_unsettled(post, attribution, choice.commission),
        authority,
        customer_key=customer_key,
    )


def _duplicates(
    post: ConversionPost, campaign: Campaign | None, authority: Authority, repeat_key: RepeatKey
) -> Duplicates:
    """Returns the policy for another post of the order; Rejected where a retry would be another."""
    # A post without an order has no other post of its order; and an unverified one has no other.
    if campaign is None or not post.order_id or authority.hand == "pixel":
        return "refuse"
    duplicates = campaign.duplicates
    if duplicates in ("refuse", "update"):
        return duplicates
    if repeat_key == "content" and post.timestamp is None:
        message = (
            "or an Idempotency-Key is required: the campaign takes another post of an order as"
            " another conversion"
        )
        raise Rejected(Reason.missing_field, message, field="timestamp")
    return "refuse" if repeat_key == "order" else duplicates


def _is_unsettled(
    post: ConversionPost, attribution: Attribution, commission: Commission | None
) -> bool:
    campaign = attribution.campaign
    if campaign is not None and campaign.pixel == "on":
        return True
    if commission is not None and commission.first_order_only:
        return True
    if post.currency is not None and needs_exchange_rate(commission, campaign, post.currency):
        return True
    if post.customer_id is None and post.customer_email is None:
        return False
    return campaign.lifetime if campaign else attribution.affiliate is None


def decide_rebill(decision: Decision, earner: Earner | None) -> Decision:
    """Decides a post as a rebill of its order, which `earner` earned."""
    attribution = decision.attribution
    if earner is not None and earner.affiliate is not None:
        attribution = attribute((), None, None, decision.key.account, decision.time_ms, earner)
    choice = choose_commission(
        attribution.campaign, attribution.affiliate, decision.time_ms, REBILL
    )
    return msgspec.structs.replace(decision, attribution=attribution, commission_choice=choice)


def make_conversion(
    decision: Decision, settings: Settings, now_ms: int, conversion_id: str = ""
) -> PostedConversion:
    """Makes the conversion to publish; `conversion_id` is the id of an earlier attempt."""
    post, campaign, authority = decision.post, decision.attribution.campaign, decision.authority
    number, dataset = campaign.number if campaign else 0, decision.key.dataset
    digests = order_digests(authority.order_scope, dataset, post, number)
    shard = 0 if settings.shards == 1 else digests.shard(conversion_id, settings.shards)
    origin = ConversionOrigin(
        conversion_id or make_conversion_id(shard, now_ms),
        dataset,
        decision.time_ms,
        decision.customer,
        settings.default_currency,
        authority,
    )
    conversion, content = resolve_conversion(
        post, decision.attribution, decision.commission_choice, origin
    )
    posted = PostedConversion(
        conversion,
        initial_state(conversion),
        digests.reserved or origin.conversion_id,
        fingerprint(content, decision.customer_key),
        shard,
        content=content,
    )
    if decision.duplicates in ("allow", "rebill"):
        posted = _of_policy(posted, decision, origin, digests.reserved)
    is_claim = authority.order_scope == "campaign" and decision.duplicates != "allow"
    if post.timestamp is None and not is_claim:
        return posted
    stated_ms = decision.time_ms if post.timestamp else 0
    return msgspec.structs.replace(
        posted,
        state=msgspec.structs.replace(posted.state, stated_ms=stated_ms),
        has_timestamp=post.timestamp is not None,
        account_digest=digests.account if is_claim else "",
    )


def _of_policy(
    posted: PostedConversion, decision: Decision, origin: ConversionOrigin, digest: str
) -> PostedConversion:
    """Applies the campaign's policy for another post of an order that makes another conversion."""
    post, rebill, repeat = decision.post, decision.rebill, posted.conversion
    if decision.duplicates == "allow":
        return _one_of_several(posted, repeat, digest, post)
    if rebill:
        repeat, _ = resolve_conversion(post, rebill.attribution, rebill.commission_choice, origin)
    repeat = msgspec.structs.replace(repeat, event=REBILL)
    return msgspec.structs.replace(posted, repeat=_one_of_several(posted, repeat, digest, post))


def _one_of_several(
    posted: PostedConversion, conversion: Conversion, digest: str, post: ConversionPost
) -> PostedConversion:
    """Makes a post one of several conversions of its order, under a reservation of its own."""
    conversion = msgspec.structs.replace(conversion, order_free=True)
    state, own = initial_state(conversion), conversion.conversion_id
    free = msgspec.structs.replace(posted, conversion=conversion, state=state, order_digest=own)
    if not digest or post.timestamp is None:
        return free
    # The same explicit instant means the same conversion, sent twice.
    own = _repeat_digest(digest, posted.fingerprint)
    former = _repeat_digest(digest, former_fingerprint(posted.content))
    return msgspec.structs.replace(free, order_digest=own, former_digest=former)


def _repeat_digest(digest: str, fingerprint: str) -> str:
    return blake2s(f"{digest}{fingerprint}".encode(), digest_size=16).hexdigest()


def _check_names(
    post: ConversionPost, lookups: Lookups, attribution: Attribution, account: Account
) -> None:
    """Refuses a code or coupon of nobody, unless the conversion is attributed without it."""
    earner = lookups.earner
    if earner is not None and earner.outranks:
        return
    if post.tracking_code is not None:
        _check_code(lookups.code, account)
    elif not (attribution.affiliate or earner or post.click_id or post.click_ids):
        if post.coupon_code is not None:
            message = "is no coupon of an affiliate"
            raise Rejected(Reason.unknown_reference, message, field="coupon_code")
        if post.event == REBILL:
            # Its sale may be in another system, and it may be attributed by hand.
            return
        raise Rejected(Reason.missing_field, _NO_EARNER, field="tracking_code")


def _check_code(route: Route | None, account: Account) -> None:
    if route is None or route.link.account != account or route.is_deleted:
        message = "names no link of this account"
        raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")


def _check_key_campaign(post: ConversionPost, campaign: Campaign | None, bound_to: int) -> None:
    """Refuses a post that is not for the campaign to which its key is bound."""
    if campaign is None:
        # A code or coupon would have a campaign.
        if not (post.click_id or post.click_ids):
            raise Rejected(Reason.missing_field, _NO_EARNER, field="tracking_code")
        field = "click_id" if post.click_id else "click_ids"
        message = "is not a genuine click of this account"
        raise Rejected(Reason.unknown_reference, message, field=field)
    if campaign.number != bound_to:
        raise Rejected(Reason.forbidden, "the API key is for another campaign")
