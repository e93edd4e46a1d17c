"""Parks adjustments that come before their conversions, and applies them when these are stored.

The publishing of conversions does nothing for this: a loop looks for the awaited orders.
"""

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, cast

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.audit_log.entries import AuditSource
from linkjolt.conversions.adjust import ConversionAdjuster, encode_parked, source_of_early
from linkjolt.conversions.early.entries import (
    WAIT_MS,
    EarlyAdjustment,
    FailedAdjustment,
    ParkOutcome,
    WaitingEntry,
    encode_early,
    encode_failed,
    read_failed,
    read_waiting,
)
from linkjolt.conversions.proposed import ProposedAdjustment
from linkjolt.conversions.reservations import NamedOrder, StoredReservation, find_order
from linkjolt.datasets import Dataset
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import call

# The most that wait for one order, and for all orders of an account. Keys that are bound to a
# campaign have these bounds for themselves, so that they cannot use up the account's.
ORDER_MAX = 100
ACCOUNT_MAX = 10_000
# To look up this many orders takes Redis a millisecond.
_PART = 2_000
_PARTS_MAX = 5
# Some may be found for ever: orders of which only another campaign has a conversion.
_ORDERS_APPLIED_MAX = 500
_FOLDER = Path(__file__).parent
EarlyOutcome = Literal["applied", "refused", "expired"]


class EarlyAdjustments:
    """Keeps the early adjustments of one Redis.

    Of all processes that look for awaited orders, one does within `turn_ms`.
    """

    def __init__(
        self, redis: Redis, shards: int, conversion_state_days: int, turn_ms: int = 900
    ) -> None:
        self.adjuster = ConversionAdjuster(redis, shards, conversion_state_days)
        self._redis = redis
        self._shards = shards
        self._turn_ms = turn_ms
        self._account_max = max(ORDER_MAX, -(-ACCOUNT_MAX // shards))
        self._park, self._due, self._settle = (
            LuaScript(redis, read_script(_FOLDER / f"{name}.lua"))
            for name in ("park", "due", "settle")
        )
        # How many of the newest orders of each shard come before the next part to look up.
        self._looked_up = [_PART] * shards
        self._counts: Counter[EarlyOutcome] = Counter()

    async def park(
        self,
        order: NamedOrder,
        proposed: ProposedAdjustment,
        now_ms: int,
        source: AuditSource | None = None,
    ) -> EarlyAdjustment:
        """Keeps an adjustment until its order is stored, for 72 hours at most; on disk.

        The same one sent again is kept once. Rejected where its id waits with another content, or
        where too many wait.
        """
        early = EarlyAdjustment(
            order=order, proposed=proposed, parked_ms=now_ms, expires_ms=now_ms + WAIT_MS
        )
        arguments = [
            *(order.digest, early.scope, proposed.adjustment_id, proposed.digest),
            *(early.expires_ms, encode_early(early), self._account_max, ORDER_MAX),
            encode_parked(source, order, proposed) if source else b"",
        ]
        keys = [*self._keys(order.digest)[:3], redis_keys.audit(self._shard_of(order.digest))]
        [reply] = await self._park([(keys, arguments)])
        outcome, expires = cast(tuple[bytes, bytes], reply)
        _check_parked(ParkOutcome(outcome.decode()))
        return msgspec.structs.replace(early, expires_ms=int(expires))

    async def apply_due(self, now_ms: int) -> int:
        """Applies what waits for the orders that are stored by now, and ends what has expired.

        Returns how many adjustments were waiting.
        """
        first_parts = await self._look_up(dict.fromkeys(range(self._shards), 0), now_ms)
        for shard, (_, orders, *found) in enumerate(first_parts):
            due = [*found, *await self._look_up_older(shard, int(orders), now_ms)]
            for digest in random.sample(due, min(len(due), _ORDERS_APPLIED_MAX)):
                try:
                    await self.apply_order(digest.decode(), now_ms)
                except msgspec.DecodeError:
                    # A later release stored the conversion: its edges apply this.
                    continue
        return sum([int(waiting) for waiting, *_ in first_parts])

    async def apply_order(self, digest: str, now_ms: int) -> None:
        """Applies what waits for an order, one after the other, if it is stored."""
        for entry in await self._read_waiting(digest):
            settled = await self._try(entry, now_ms)
            if settled is None:
                continue
            outcome, failed = settled
            if await self._take(digest, entry.raw, failed):
                self._counts[outcome] += 1

    def take_counts(self) -> Counter[EarlyOutcome]:
        """Returns what became of those that were settled since the last call."""
        counts, self._counts = self._counts, Counter()
        return counts

    async def find(
        self, order: NamedOrder, proposed: ProposedAdjustment
    ) -> StoredReservation | None:
        """Finds the conversion of an order that an adjustment is for; as `find_order`."""
        campaign = proposed.campaign or proposed.author.campaign
        return await find_order(self._redis, self._shards, order, campaign, proposed.is_for)

    async def list_order(
        self, order: NamedOrder, now_ms: int
    ) -> tuple[list[EarlyAdjustment], list[FailedAdjustment]]:
        """Returns an order's adjustments that wait, and those that failed within 72 hours."""
        waiting = [entry.early for entry in await self._read_waiting(order.digest) if entry.early]
        raws = await self._read_list(self._keys(order.digest)[3])
        failed = [read_failed(raw) for raw in raws]
        return waiting, [one for one in failed if one and one.expires_ms > now_ms]

    async def forget(self, forgets: Callable[[Dataset], bool]) -> None:
        """Deletes the waiting adjustments of some datasets."""
        for shard in range(self._shards):
            digests: list[bytes] = await call(self._redis, "ZRANGE", redis_keys.early(shard), 0, -1)
            for digest in digests:
                for entry in await self._read_waiting(digest.decode()):
                    if entry.early and forgets(entry.early.order.dataset):
                        await self._take(digest.decode(), entry.raw, b"")

    async def _look_up(self, parts: dict[int, int], now_ms: int) -> list[list[bytes]]:
        """Looks up one part of each shard's waiting orders, after so many of the newest."""
        calls = [
            (
                [
                    redis_keys.early(shard),
                    redis_keys.early_counts(shard),
                    redis_keys.early_turn(shard),
                    redis_keys.order(shard, ""),
                ],
                [now_ms, before, _PART, self._turn_ms],
            )
            for shard, before in parts.items()
        ]
        return await self._due(calls)

    async def _look_up_older(self, shard: int, orders: int, now_ms: int) -> list[bytes]:
        """Looks up the next parts of those that wait longer."""
        found: list[bytes] = []
        for _ in range(min(_PARTS_MAX, -(-orders // _PART)) - 1):
            before = self._looked_up[shard]
            before = before if before < orders else _PART
            self._looked_up[shard] = before + _PART
            [(_, _, *digests)] = await self._look_up({shard: before}, now_ms)
            found += digests
        return found

    async def _try(self, entry: WaitingEntry, now_ms: int) -> tuple[EarlyOutcome, bytes] | None:
        """Applies an adjustment; returns what became of it and its failure, None if it waits on."""
        early, is_expired = entry.early, entry.expires_ms <= now_ms
        if early is None:
            return ("expired", b"") if is_expired else None
        outcome: EarlyOutcome = "refused"
        try:
            stored = await self.find(early.order, early.proposed)
            if stored:
                source = source_of_early(early.proposed.author)
                await self.adjuster.adjust_stored(
                    stored, early.proposed.request_for, now_ms, source
                )
                return "applied", b""
            if not is_expired:
                return None
            outcome = "expired"
            message = "no conversion of this order was stored within 72 hours"
            raise Rejected(Reason.not_found, message)
        except Rejected as refused:
            if refused.reason is Reason.unavailable:
                raise
            return outcome, encode_failed(early, refused, now_ms)

    async def _take(self, digest: str, raw: bytes, failed: bytes) -> bool:
        """Takes out an entry, noting its failure; False where it is gone already."""
        arguments = [digest, raw, failed, WAIT_MS, ORDER_MAX]
        [taken] = await self._settle([(self._keys(digest), arguments)])
        return taken == 1

    async def _read_waiting(self, digest: str) -> list[WaitingEntry]:
        return [read_waiting(raw) for raw in await self._read_list(self._keys(digest)[0])]

    async def _read_list(self, key: str) -> list[bytes]:
        return await call(self._redis, "LRANGE", key, 0, -1)

    def _keys(self, digest: str) -> list[str]:
        """Names the keys of `settle.lua`; all but the last are those of `park.lua`, too."""
        shard = self._shard_of(digest)
        return [
            redis_keys.early_order(shard, digest),
            redis_keys.early(shard),
            redis_keys.early_counts(shard),
            redis_keys.early_failed(shard, digest),
        ]

    def _shard_of(self, digest: str) -> int:
        return int(digest, 16) % self._shards


def _check_parked(outcome: ParkOutcome) -> None:
    match outcome:
        case ParkOutcome.conflict:
            message = "names another adjustment that waits for this order"
            raise Rejected(Reason.conflict, message, field="adjustment_id")
        case ParkOutcome.order_full:
            message = f"has {ORDER_MAX} adjustments waiting for it"
            raise Rejected(Reason.too_many_waiting, message, field="order_id")
        case ParkOutcome.account_full:
            message = f"{ACCOUNT_MAX:,} adjustments wait for their conversions"
            raise Rejected(Reason.too_many_waiting, message)
        case _:
            return
