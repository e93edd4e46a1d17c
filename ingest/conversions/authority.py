"""Declares by whose authority posts are made, and which keys of Redis their orders reserve."""

import secrets

import msgspec

from ingest.conversions.body import ConversionPost, first_click_id
from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.conversions.adjustment_kinds import UNVERIFIED
from linkjolt.datasets import Dataset
from linkjolt.events import Conversion, Hand, OrderScope
from linkjolt.registry.entries import ApiKey


class Authority(msgspec.Struct, frozen=True):
    """By whose authority a post is made, and among which conversions its order id is unique."""

    hand: Hand = "key"
    order_scope: OrderScope = ""


OWN_KEY = Authority()
PIXEL = Authority("pixel", "pixel")


def authority_of(key: ApiKey, *, signed: bool = False, order_scope: OrderScope = "") -> Authority:
    """Returns the authority of a post by a key; `order_scope` is that of its sender's order ids.

    A key that is bound to a campaign reserves orders in that campaign only.
    """
    if not (key.campaign or signed or order_scope):
        return OWN_KEY
    hand: Hand = "signed" if signed else "bound" if key.campaign else "key"
    return Authority(hand, order_scope or ("campaign" if key.campaign else ""))


class OrderDigests(msgspec.Struct, frozen=True):
    """The digests of an order: of what is reserved, and of the account's order if it is another.

    Both are '' for a post without an order.
    """

    reserved: str = ""
    account: str = ""

    def shard(self, conversion_id: str, shards: int) -> int:
        """Returns the shard of the account's order, else of an existing id, else a random one."""
        text = self.account or self.reserved or conversion_id
        shard = shard_of(text)
        if shard is not None:
            return shard
        return int(text, 16) % shards if text else secrets.randbelow(shards)


_NO_ORDER = OrderDigests()


def order_digests(
    scope: OrderScope, dataset: Dataset, post: ConversionPost, campaign: int
) -> OrderDigests:
    """Returns the digests of a post's order in its scope."""
    event, order_id = post.event, post.order_id
    if not order_id:
        return _NO_ORDER
    account = redis_keys.order_digest(dataset, event, order_id)
    if not scope:
        return OrderDigests(account)
    click_id = first_click_id(post)
    match scope:
        case "campaign" if campaign:
            reserved = redis_keys.order_digest(dataset, event, order_id, campaign=campaign)
            return OrderDigests(reserved, account)
        case "click":
            return OrderDigests(
                redis_keys.order_digest(dataset, event, order_id, click_id=click_id)
            )
        case "pixel":
            return OrderDigests(redis_keys.pixel_digest(dataset, event, click_id), account)
        case _:
            return OrderDigests(account)


def as_made_by(conversion: Conversion, authority: Authority, rate: str) -> Conversion:
    """Sets what few conversions have, which would cost all others a part of their making."""
    made = msgspec.structs.replace(
        conversion, rate=rate, hand=authority.hand, order_scope=authority.order_scope
    )
    return _unverified(made) if made.hand == "pixel" else made


def _unverified(conversion: Conversion) -> Conversion:
    """Marks a conversion as unverified; it keeps the rule that pays once it is verified."""
    return msgspec.structs.replace(
        conversion,
        verified=False,
        status="pending",
        commission_minor=0,
        commission_reason=UNVERIFIED if conversion.rule else conversion.commission_reason,
    )
