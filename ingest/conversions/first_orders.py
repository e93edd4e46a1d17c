"""Claims in Redis which order of a customer is the first in a campaign.

A claim whose order was never stored (its edge was killed, or it was refused) is replaced.
"""

from hashlib import blake2s
from pathlib import Path

from redis.asyncio import Redis

from ingest.conversions.decision import CommissionChoice, Decision
from ingest.edge import Edge
from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import RedisError, call

UNCHECKED = "first_order_unchecked"
NOT_FIRST = "not_first_order"
# Until then the order may still be on its way.
_ABANDONED_MS = 60_000
_CLAIM_SCRIPT = read_script(Path(__file__).parent / "claim.lua")


class Claims:
    """Makes claims; RedisError where a claim's outcome is unknown."""

    def __init__(self, redis: Redis) -> None:
        self._call = LuaScript(redis, _CLAIM_SCRIPT)

    async def claim(
        self, key: str, new_claim: bytes, replaced: bytes = b"", keep_seconds: int = 0
    ) -> bytes:
        """Stores `new_claim` where there is none, or only `replaced`; returns the valid claim."""
        [valid_claim] = await self._call([([key], [replaced, new_claim, keep_seconds])])
        return valid_claim


async def choose_commission(
    edge: Edge, decision: Decision, order_digest: str, now_ms: int
) -> CommissionChoice:
    """Chooses the commission under a rule for first orders only.

    Where it cannot be checked (no customer, or Redis is unavailable) the rule pays, with
    UNCHECKED as the reason.
    """
    customer = decision.customer or decision.post.customer_id
    unchecked = CommissionChoice(
        decision.commission_choice.rule, decision.commission_choice.commission, UNCHECKED
    )
    if not customer or decision.attribution.campaign is None:
        return unchecked
    campaign = decision.attribution.campaign.number
    customer_text = f"{decision.key.dataset}:{campaign}:{len(decision.customer)}:{customer}"
    digest = blake2s(customer_text.encode(), digest_size=16).hexdigest()
    try:
        is_first = await _claim_first_order(edge, digest, order_digest, now_ms)
    except RedisError:
        return unchecked
    return decision.commission_choice if is_first else CommissionChoice(reason=NOT_FIRST)


async def _claim_first_order(edge: Edge, customer: str, order_digest: str, now_ms: int) -> bool:
    claims = Claims(edge.fast_redis)
    key = redis_keys.customer(int(customer, 16) % edge.settings.shards, customer)
    new_claim = f"{order_digest} {now_ms}".encode()
    valid_claim = await claims.claim(key, new_claim)
    digest, claimed_ms = _parse_claim(valid_claim)
    if digest == order_digest:
        return True
    if not await _is_abandoned(edge, digest, now_ms - claimed_ms):
        return False
    return _parse_claim(await claims.claim(key, new_claim, replaced=valid_claim))[0] == order_digest


def _parse_claim(claim: bytes) -> tuple[str, int]:
    """Splits a claim into its order's digest and its time."""
    digest, _, claimed_ms = claim.decode().partition(" ")
    return digest, int(claimed_ms)


async def _is_abandoned(edge: Edge, order_digest: str, age_ms: int) -> bool:
    days = edge.settings.conversion_state_days
    if age_ms < _ABANDONED_MS or (days and age_ms > days * 86_400_000):
        # Too young to decide, or so old that its reservation has expired.
        return False
    shard = shard_of(order_digest)
    if shard is None:
        shard = int(order_digest, 16) % edge.settings.shards
    return not await call(edge.fast_redis, "EXISTS", redis_keys.order(shard, order_digest))
