"""Decides what to record of a posted conversion, before anything is written; pure but for ids."""

from decimal import Decimal
from hashlib import blake2s

import msgspec

from ingest.conversions import body
from ingest.conversions.attribution import Attribution, PostedClick, attribute
from ingest.conversions.authority import (
    OWN_KEY,
    Authority,
    OrderDigests,
    authority_of,
    order_digests,
)
from ingest.conversions.body import ConversionPost, conversion_time_ms, customer_hash
from ingest.publishing.publishers import PostedConversion
from linkjolt.clicks.route import CouponRoute, Route
from linkjolt.conversion_ids import make_conversion_id
from linkjolt.conversions.adjustment_kinds import UNVERIFIED
from linkjolt.datasets import Account, Dataset
from linkjolt.events import Conversion, ConversionState
from linkjolt.money import Commission, commission_minor, to_minor
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import rule_at
from linkjolt.registry.entries import Affiliate, ApiKey, Campaign, Duplicates, EntryKind, public_id
from linkjolt.settings import EdgeSettings as Settings

REBILL = "rebill"
_ZERO = Decimal(0)


class CommissionChoice(msgspec.Struct, frozen=True):
    """The commission that pays and its rule's version, or the reason why none does."""

    rule: int = 0
    commission: Commission | None = None
    reason: str = ""

    def minor(self, order_value_minor: int, currency: str) -> int:
        """Computes the commission in minor units."""
        rule = self.commission
        return commission_minor(rule, order_value_minor, currency) if rule else 0


_NO_COMMISSION = CommissionChoice()


class ConversionOrigin(msgspec.Struct, frozen=True):
    """The parts of a conversion that its post does not hold; `dataset` is where it is stored."""

    conversion_id: str
    dataset: Dataset
    time_ms: int
    customer: str
    default_currency: str
    authority: Authority


class Lookups(msgspec.Struct, frozen=True):
    """The registry entries and verified clicks that a post names."""

    clicks: tuple[PostedClick, ...]
    code: Route | None
    coupon: CouponRoute | None


class Decision(msgspec.Struct, frozen=True):
    """A post with its key, attribution and commission; `customer` is '' where unknown.

    `duplicates` is the policy for another post of its order. `first_order_only`: the commission
    depends on the customer's earlier orders.
    """

    post: ConversionPost
    key: ApiKey
    time_ms: int
    attribution: Attribution
    commission_choice: CommissionChoice
    customer: str
    duplicates: Duplicates = "refuse"
    first_order_only: bool = False
    authority: Authority = OWN_KEY


def resolve_conversion(
    post: ConversionPost,
    attribution: Attribution,
    commission_choice: CommissionChoice,
    origin: ConversionOrigin,
) -> tuple[Conversion, str]:
    """Resolves a post into its event and fingerprint; Rejected, naming a field that is wrong."""
    campaign, affiliate, link = attribution.campaign, attribution.affiliate, attribution.link
    _check_references(post, attribution)
    _check_event(post, campaign)
    currency = post.currency or (campaign.currency if campaign else origin.default_currency)
    value_minor = to_minor(post.order_value or _ZERO, currency, "order_value")
    conversion = Conversion(
        conversion_id=origin.conversion_id,
        account=origin.dataset,
        event=post.event,
        time_ms=origin.time_ms,
        currency=currency,
        order_value_minor=value_minor,
        commission_minor=commission_choice.minor(value_minor, currency),
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
        rule=commission_choice.rule,
        commission_reason=commission_choice.reason,
        hand=origin.authority.hand,
        order_scope=origin.authority.order_scope,
        notes=post.notes,
    )
    if conversion.hand == "pixel":
        conversion = unverified(conversion)
    if _has_extra_fields(post):
        conversion = _copy_extra_fields(conversion, post)
    return conversion, body.fingerprint(post, value_minor, currency)


def unverified(conversion: Conversion) -> Conversion:
    """Marks a conversion as unverified; it keeps the rule that pays once it is verified."""
    return msgspec.structs.replace(
        conversion,
        verified=False,
        status="pending",
        commission_minor=0,
        commission_reason=UNVERIFIED if conversion.rule else "",
    )


def _has_extra_fields(post: ConversionPost) -> object:
    """Returns a true value where a post has fields to copy unchanged; most have none."""
    texts = post.customer_id or post.coupon_code or post.adv1 or post.adv2 or post.adv3
    return texts or post.adv4 or post.adv5 or post.items is not None or post.metadata is not None


def _copy_extra_fields(conversion: Conversion, post: ConversionPost) -> Conversion:
    """Copies the fields that pass from the post to the event unchanged."""
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


def _check_references(post: ConversionPost, attribution: Attribution) -> None:
    """Refuses a `campaign_id` or `affiliate_id` that contradicts the link."""
    named: tuple[tuple[EntryKind, str | None, Campaign | Affiliate | None], ...] = (
        ("campaign", post.campaign_id, attribution.campaign),
        ("affiliate", post.affiliate_id, attribution.affiliate),
    )
    for kind, posted_id, entry in named:
        if posted_id and entry and posted_id != public_id(kind, entry.number):
            message = f"is not the {kind} of this link"
            raise Rejected(Reason.unknown_reference, message, field=f"{kind}_id")


def _check_event(post: ConversionPost, campaign: Campaign | None) -> None:
    campaign_events = campaign.events if campaign else ()
    if post.event not in body.EVENTS and post.event not in campaign_events:
        message = "is neither sale, lead, signup, rebill nor an event of the campaign"
        raise Rejected(Reason.invalid_field, message, field="event")


def initial_state(conversion: Conversion) -> ConversionState:
    """Returns the live state of a new conversion."""
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
) -> Decision:
    """Decides a post; Rejected, naming the field, where this key may not post it."""
    if post.tracking_code is not None:
        _check_code(lookups.code, key.account)
    elif post.coupon_code is not None:
        _check_coupon(post, lookups.coupon)
    time_ms = conversion_time_ms(post, now_ms)
    attribution = attribute(lookups.clicks, lookups.code, lookups.coupon, key.account, time_ms)
    if key.campaign:
        _check_key_campaign(post, attribution.campaign, key.campaign)
    authority = authority or authority_of(key)
    customer = customer_hash(post.customer_email, customer_key)
    campaign = attribution.campaign
    # A post without an order has no other post of its order; and an unverified one has no other.
    duplicates: Duplicates = "refuse"
    if campaign and post.order_id and authority.hand != "pixel":
        duplicates = campaign.duplicates
    version, commission, first_order_only = 0, None, False
    if campaign and attribution.affiliate:
        version, commission = rule_at(campaign, attribution.affiliate.number, time_ms)
        first_order_only = commission.first_order_only
    return Decision(
        post,
        key,
        time_ms,
        attribution,
        CommissionChoice(version, commission) if commission else _NO_COMMISSION,
        customer,
        duplicates,
        first_order_only,
        authority,
    )


def make_conversion(
    decision: Decision, settings: Settings, now_ms: int, conversion_id: str = ""
) -> PostedConversion:
    """Makes the conversion to publish; `conversion_id` is the id of an earlier attempt."""
    post, campaign = decision.post, decision.attribution.campaign
    digests = order_digests(
        decision.authority.order_scope,
        decision.key.dataset,
        post.event,
        post.order_id or "",
        campaign.number if campaign else 0,
        body.first_click_id(post),
    )
    shard = digests.shard(conversion_id, settings.shards)
    origin = ConversionOrigin(
        conversion_id or make_conversion_id(shard, now_ms),
        decision.key.dataset,
        decision.time_ms,
        decision.customer,
        settings.default_currency,
        decision.authority,
    )
    conversion, fingerprint = resolve_conversion(
        post, decision.attribution, decision.commission_choice, origin
    )
    posted = _of_policy(decision.duplicates, post, conversion, digests, fingerprint, shard)
    is_claim = decision.authority.order_scope == "campaign" and decision.duplicates != "allow"
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
    duplicates: Duplicates,
    post: ConversionPost,
    conversion: Conversion,
    digests: OrderDigests,
    fingerprint: str,
    shard: int,
) -> PostedConversion:
    """Makes the conversion to publish under the campaign's policy for another post of its order."""
    conversion_id, digest = conversion.conversion_id, digests.reserved
    if duplicates == "allow":
        return _posted_conversion(_free_of_order(conversion), conversion_id, fingerprint, shard)
    posted = _posted_conversion(conversion, digest or conversion_id, fingerprint, shard)
    if duplicates != "rebill":
        return posted
    # The same explicit instant means the same sale, sent twice.
    repeat = _posted_conversion(
        _free_of_order(conversion, REBILL),
        conversion_id if post.timestamp is None else _repeat_digest(digest, fingerprint),
        fingerprint,
        shard,
    )
    return msgspec.structs.replace(posted, repeat=repeat)


def _posted_conversion(
    conversion: Conversion, digest: str, fingerprint: str, shard: int
) -> PostedConversion:
    return PostedConversion(conversion, initial_state(conversion), digest, fingerprint, shard)


def _free_of_order(conversion: Conversion, event: str = "") -> Conversion:
    """Marks the conversion as one of several of its order."""
    return msgspec.structs.replace(conversion, order_free=True, event=event or conversion.event)


def _repeat_digest(digest: str, fingerprint: str) -> str:
    return blake2s(f"{digest}{fingerprint}".encode(), digest_size=16).hexdigest()


def _check_code(route: Route | None, account: Account) -> None:
    if route is None or route.link.account != account or route.link.deleted_at is not None:
        message = "names no link of this account"
        raise Rejected(Reason.unknown_tracking_code, message, field="tracking_code")


def _check_key_campaign(post: ConversionPost, campaign: Campaign | None, bound_to: int) -> None:
    """Refuses a post that is not for the campaign to which its key is bound."""
    if campaign is None:
        # A code or coupon would have a campaign: only clicks were posted, and none is genuine.
        field = "click_id" if post.click_id else "click_ids"
        message = "is not a genuine click of this account"
        raise Rejected(Reason.unknown_reference, message, field=field)
    if campaign.number != bound_to:
        raise Rejected(Reason.forbidden, "the API key is for another campaign")


def _check_coupon(post: ConversionPost, coupon: CouponRoute | None) -> None:
    """Refuses an unknown coupon that is posted without a click."""
    if coupon or post.click_id or post.click_ids:
        return
    message = "is no coupon of an affiliate"
    raise Rejected(Reason.unknown_reference, message, field="coupon_code")
