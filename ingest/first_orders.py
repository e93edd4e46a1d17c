"""Whether an order is a customer's first in a campaign: the first one to claim it in Redis is.

A claim whose order came to nothing (its edge was killed, or it was refused) is taken over.
"""

from hashlib import blake2s
from pathlib import Path
from weakref import WeakKeyDictionary

from redis.asyncio import Redis

from ingest.conversion import Pay
from ingest.conversion_case import Case
from ingest.edge import Edge
from linkjolt import names
from linkjolt.conversionid import shard_of
from linkjolt.redis_client import RedisError, ScriptCalls, call

UNCHECKED = "first_order_unchecked"
NOT_FIRST = "not_first_order"
# Until then its order may still be under way.
_ABANDONED_MS = 60_000
_SCRIPT = (Path(__file__).parent / "claim.lua").read_text(encoding="utf-8")
_scripts: WeakKeyDictionary[Redis, ScriptCalls] = WeakKeyDictionary()


async def pay(edge: Edge, case: Case, order_digest: str, now_ms: int) -> Pay:
    """What a case pays whose rule is for first orders only.

    Where nothing tells (no customer is named, Redis is away) it pays, and says that nothing did.
    """
    customer = case.customer or case.post.customer_id
    unchecked = Pay(case.pay.rule, case.pay.commission, UNCHECKED)
    if not customer or case.attribution.campaign is None:
        return unchecked
    campaign = case.attribution.campaign.number
    of = f"{case.key.books}:{campaign}:{len(case.customer)}:{customer}"
    digest = blake2s(of.encode(), digest_size=16).hexdigest()
    try:
        first = await _claim(edge, digest, order_digest, now_ms)
    except RedisError:
        return unchecked
    return case.pay if first else Pay(reason=NOT_FIRST)


async def _claim(edge: Edge, customer: str, order_digest: str, now_ms: int) -> bool:
    shards = edge.settings.shards
    key = names.customer(int(customer, 16) % shards, customer)
    claims = _scripts.setdefault(edge.fast, ScriptCalls(edge.fast, _SCRIPT))
    own = f"{order_digest} {now_ms}"
    [held] = await claims([([key], ["", own])])
    digest, _, claimed_ms = held.decode().partition(" ")
    if digest == order_digest:
        return True
    if not await _abandoned(edge, digest, now_ms - int(claimed_ms)):
        return False
    [held] = await claims([([key], [held, own])])
    return held.decode().partition(" ")[0] == order_digest


async def _abandoned(edge: Edge, order_digest: str, age_ms: int) -> bool:
    days = edge.settings.conversion_state_days
    if age_ms < _ABANDONED_MS or (days and age_ms > days * 86_400_000):
        # Too young to tell, or so old that its reservation is forgotten.
        return False
    shard = shard_of(order_digest)
    if shard is None:
        shard = int(order_digest, 16) % edge.settings.shards
    return not await call(edge.fast, "EXISTS", names.order(shard, order_digest))
