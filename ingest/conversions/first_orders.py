"""Whether an order is a customer's first in a campaign: the first one to claim it in Redis is.

A claim whose order came to nothing (its edge was killed, or it was refused) is taken over.
"""

from hashlib import blake2s
from pathlib import Path

from redis.asyncio import Redis

from ingest.conversions.decision import Case, Pay
from ingest.edge import Edge
from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.storage.redis import RedisError, ScriptCalls, call

_SCRIPT = (Path(__file__).parent / "claim.lua").read_text(encoding="utf-8")


class Claims:
    """Makes claims; RedisError where nothing is known of one."""

    def __init__(self, redis: Redis) -> None:
        self._call = ScriptCalls(redis, _SCRIPT)

    async def claim(self, key: str, own: bytes, seen: bytes = b"", keep_seconds: int = 0) -> bytes:
        """The claim that stands: the own one where there was none, or only the one `seen`."""
        [held] = await self._call([([key], [seen, own, keep_seconds])])
        return held


UNCHECKED = "first_order_unchecked"
NOT_FIRST = "not_first_order"
# Until then its order may still be under way.
_ABANDONED_MS = 60_000


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
    claims = Claims(edge.fast)
    key = redis_keys.customer(int(customer, 16) % edge.settings.shards, customer)
    own = f"{order_digest} {now_ms}".encode()
    held = await claims.claim(key, own)
    digest, claimed_ms = _parts(held)
    if digest == order_digest:
        return True
    if not await _abandoned(edge, digest, now_ms - claimed_ms):
        return False
    return _parts(await claims.claim(key, own, seen=held))[0] == order_digest


def _parts(claim: bytes) -> tuple[str, int]:
    """Whose order a claim is for, and when it was made."""
    digest, _, claimed_ms = claim.decode().partition(" ")
    return digest, int(claimed_ms)


async def _abandoned(edge: Edge, order_digest: str, age_ms: int) -> bool:
    days = edge.settings.conversion_state_days
    if age_ms < _ABANDONED_MS or (days and age_ms > days * 86_400_000):
        # Too young to tell, or so old that its reservation is forgotten.
        return False
    shard = shard_of(order_digest)
    if shard is None:
        shard = int(order_digest, 16) % edge.settings.shards
    return not await call(edge.fast, "EXISTS", redis_keys.order(shard, order_digest))
