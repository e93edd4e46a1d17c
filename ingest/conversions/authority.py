"""Declares by whose authority posts are made, and which keys of Redis their orders reserve."""

import secrets

import msgspec

from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.datasets import Dataset
from linkjolt.events import Hand, OrderScope
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
    scope: OrderScope, dataset: Dataset, event: str, order_id: str, campaign: int, click_id: str
) -> OrderDigests:
    """Returns the digests of an order in its scope."""
    if not order_id:
        return _NO_ORDER
    account = redis_keys.order_digest(dataset, event, order_id)
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
