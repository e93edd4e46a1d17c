"""Claims a customer's first order, and a customer's first affiliate, in Redis for conversions.

A claim names its conversion and is made before that is published, so that of two at once one gets
it. It counts while the conversion is stored, verified and not rejected, but not against a stronger
hand; one that was never stored (its edge was killed, or it was refused) is void. Another conversion
replaces a void claim.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from enum import Enum
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from ingest.conversions.decision import Decision
from ingest.publishing.publishers import PostedConversion, QueuedPost
from linkjolt import redis_keys
from linkjolt.conversion_ids import shard_of
from linkjolt.conversions.reservations import (
    RefusedPost,
    Reservation,
    StoredReservation,
    find_reservation,
    read_stored_reservation,
)
from linkjolt.events import ConversionState, Hand, is_stronger
from linkjolt.privacy.customers import first_order_keys
from linkjolt.registry.commission_rules import NOT_FIRST, SALE, UNCHECKED, CommissionChoice
from linkjolt.registry.entries import Campaign
from linkjolt.runtime.back_off import BackOff
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.lua import LuaScript, read_script
from linkjolt.storage.redis import RedisError, call

# Until then a conversion that is not stored may still be on its way.
_ABANDONED_MS = 60_000
# Publishing takes milliseconds, so this is far longer than another conversion is waited for.
_WAIT_SECONDS = 1.0
_WAIT_FIRST_SECONDS, _WAIT_LONGEST_SECONDS = 0.005, 0.1
# Claims of conversions that were accepted while Redis was unavailable; more are forgotten.
_LATE_MAX = 10_000
_RETRY_SECONDS, _RETRY_MAX_SECONDS = 0.1, 2.0
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

    async def claim_many(self, keys: Sequence[str], new_claim: bytes) -> list[bytes]:
        """As `claim`, for many keys at once."""
        return await self._call([([key], [b"", new_claim, 0]) for key in keys]) if keys else []


class ConversionClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion's claim: the digest of its order's reservation, its time, who earned it.

    Earlier releases stored no more than digest and time.
    """

    order_digest: str
    claimed_ms: int
    conversion_id: str = ""
    campaign: int = 0
    affiliate: int = 0
    link: int = 0
    hand: Hand = "key"

    def encode(self) -> bytes:
        """Encodes the claim for `parse_claim`."""
        return " ".join(map(str, msgspec.structs.astuple(self))).encode()


def parse_claim(raw: bytes) -> ConversionClaim:
    """Parses a claim as it is stored."""
    names = ConversionClaim.__struct_fields__
    fields = dict(zip(names, raw.decode().split(" "), strict=False))
    return msgspec.convert(fields, ConversionClaim, strict=False)


class Standing(Enum):
    """Whether a claim counts, may count as soon as its conversion is stored, or is void."""

    counts = 1
    pending = 2
    void = 3


class MadeClaim(msgspec.Struct, frozen=True):
    """A claim that a conversion made, and the pending one of the same order that it replaced.

    `of_order`: only a sale may have it.
    """

    key: str
    text: bytes
    previous: bytes = b""
    of_order: bool = False


class LateClaim(msgspec.Struct, frozen=True):
    """A claim of some keys that could not be made when its conversion was accepted."""

    keys: tuple[str, ...]
    claim: ConversionClaim
    of_order: bool


class CustomerClaims:
    """Makes, judges and releases the claims of conversions; RedisError passes through."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._shards = settings.shards
        self._state_ms = settings.conversion_state_days * 86_400_000
        self._claims = Claims(redis)
        self._late: asyncio.Queue[LateClaim] = asyncio.Queue(_LATE_MAX)

    async def read(self, key: str) -> ConversionClaim | None:
        """Reads the claim of a key."""
        raw: bytes | None = await call(self._redis, "GET", key)
        return parse_claim(raw) if raw else None

    async def judge(
        self, claim: ConversionClaim, by: Hand = "pixel", *, of_order: bool = False
    ) -> tuple[Standing, ConversionState | None]:
        """Judges a claim against a hand; returns its conversion, too, while that is kept."""
        found = await self._find(claim)
        if isinstance(found, StoredReservation):
            state = found.reservation.state
            is_void = (
                not state.verified
                or state.status == "rejected"
                or (of_order and state.event != SALE)
                or is_stronger(by, state.hand)
            )
            return (Standing.void if is_void else Standing.counts), state
        if isinstance(found, RefusedPost) or is_stronger(by, claim.hand):
            return Standing.void, None
        age_ms = time.time_ns() // 1_000_000 - claim.claimed_ms
        if self._state_ms and age_ms > self._state_ms:
            # So old that its reservation has expired.
            return Standing.counts, None
        return (Standing.pending if age_ms < _ABANDONED_MS else Standing.void), None

    async def _find(self, claim: ConversionClaim) -> StoredReservation | RefusedPost | None:
        if claim.conversion_id:
            return await find_reservation(self._redis, self._shards, claim.conversion_id)
        digest = claim.order_digest
        shard = shard_of(digest)
        if shard is None:
            shard = int(digest, 16) % self._shards
        return await read_stored_reservation(self._redis, shard, redis_keys.order(shard, digest))

    async def claim_order(self, key: str, claim: ConversionClaim) -> tuple[bool, MadeClaim | None]:
        """Claims a first order; returns whether this order is the first, and the claim if made.

        Waits for another order's conversion that is being published.
        """
        text, replaced, previous, waited = claim.encode(), b"", b"", 0.0
        delays = BackOff(_WAIT_FIRST_SECONDS, _WAIT_LONGEST_SECONDS)
        while True:
            holder = await self._claims.claim(key, text, replaced)
            if holder == text:
                return True, MadeClaim(key, text, previous, of_order=True)
            other = parse_claim(holder)
            standing, _ = await self.judge(other, claim.hand, of_order=True)
            is_this_order = other.order_digest == claim.order_digest
            if standing is Standing.counts:
                return is_this_order, None
            if standing is Standing.void or is_this_order:
                replaced = holder
                previous = holder if standing is Standing.pending else b""
                continue
            if waited >= _WAIT_SECONDS:
                return False, None
            delay = next(delays)
            await asyncio.sleep(delay)
            waited += delay

    async def claim_free(
        self, keys: Sequence[str], claim: ConversionClaim, *, of_order: bool = False
    ) -> list[MadeClaim]:
        """Claims those of the keys that have no claim, or a void one."""
        text = claim.encode()
        holders = await self._claims.claim_many(keys, text)
        standings = {
            holder: (await self.judge(parse_claim(holder), claim.hand, of_order=of_order))[0]
            for holder in {*holders} - {text}
        }
        made: list[MadeClaim] = []
        for key, holder in zip(keys, holders, strict=True):
            if standings.get(holder) is Standing.void:
                valid = await self._claims.claim(key, text, holder)
            else:
                valid = holder
            if valid == text:
                made.append(MadeClaim(key, text, of_order=of_order))
        return made

    def claim_later(
        self, keys: Sequence[str], claim: ConversionClaim, *, of_order: bool = False
    ) -> None:
        """Has `make_late_claims` make a claim as soon as Redis is available."""
        with suppress(asyncio.QueueFull):
            self._late.put_nowait(LateClaim(tuple(keys), claim, of_order))

    async def make_late_claims(self) -> None:
        """Makes the claims of `claim_later`, for ever."""
        delays = BackOff(_RETRY_SECONDS, _RETRY_MAX_SECONDS)
        task = asyncio.current_task()
        while not (task and task.cancelling()):
            late = await self._late.get()
            # Its conversion waits on this edge's disk as long as Redis is unavailable.
            claim = msgspec.structs.replace(late.claim, claimed_ms=time.time_ns() // 1_000_000)
            try:
                await self.claim_free(late.keys, claim, of_order=late.of_order)
                delays.reset()
            except RedisError:
                self.claim_later(late.keys, late.claim, of_order=late.of_order)
                await asyncio.sleep(next(delays))

    async def settle(
        self,
        made: Sequence[MadeClaim],
        posted: PostedConversion,
        outcome: ConversionState | Reservation | QueuedPost,
        *,
        is_awaited: bool,
    ) -> None:
        """Releases the claims of a post that was not stored; gives those of a repeat to the first.

        A post that is still to be stored (`is_awaited`, or queued) keeps them.
        """
        if isinstance(outcome, QueuedPost) or is_awaited:
            return
        if isinstance(outcome, ConversionState):
            released = [claim for claim in made if claim.of_order and outcome.event != SALE]
            await self.release(released)
        elif not posted.has_made(outcome):
            await self.release(made)
        else:
            for claim in made:
                own = parse_claim(claim.text)
                first = msgspec.structs.replace(own, conversion_id=outcome.conversion_id)
                await self._claims.claim(claim.key, first.encode(), claim.text)

    async def release(self, made: Sequence[MadeClaim]) -> None:
        """Releases claims of a conversion that is not published."""
        for claim in made:
            await self._claims.claim(claim.key, claim.previous, claim.text)


async def choose_first_order_commission(
    claims: CustomerClaims, decision: Decision, posted: PostedConversion, shards: int, now_ms: int
) -> tuple[CommissionChoice, list[MadeClaim]]:
    """Chooses the commission under a rule for first orders only, and claims the first order.

    A customer's id decides if there is one, else the e-mail address; both are claimed. Where it
    cannot be checked (no customer, or Redis is unavailable) the rule pays, with UNCHECKED as the
    reason.
    """
    choice, campaign = decision.commission_choice, decision.attribution.campaign
    unchecked = msgspec.structs.replace(choice, reason=UNCHECKED)
    keys = _claim_keys(decision, campaign, shards) if campaign else []
    if not keys:
        return unchecked, []
    claim = ConversionClaim(
        order_digest=posted.order_digest,
        claimed_ms=now_ms,
        conversion_id=posted.conversion.conversion_id,
        hand=posted.conversion.hand,
    )
    try:
        if not posted.conversion.verified:
            return await _peek(claims, keys[0], choice), []
        is_first, made = await claims.claim_order(keys[0], claim)
        others = await claims.claim_free(keys[1:], claim, of_order=True)
    except RedisError:
        claims.claim_later(keys, claim, of_order=True)
        return unchecked, []
    all_made = [made, *others] if made else others
    return (choice if is_first else CommissionChoice(reason=NOT_FIRST)), all_made


async def _peek(claims: CustomerClaims, key: str, choice: CommissionChoice) -> CommissionChoice:
    """As above for a conversion that nobody vouches for, and that claims nothing."""
    claim = await claims.read(key)
    if claim is None or (await claims.judge(claim, of_order=True))[0] is Standing.void:
        return choice
    return CommissionChoice(reason=NOT_FIRST)


def _claim_keys(decision: Decision, campaign: Campaign, shards: int) -> list[str]:
    """Names the claims of the customer's id and e-mail address, in this order."""
    return first_order_keys(
        decision.key.dataset,
        campaign.number,
        decision.post.customer_id or "",
        decision.customer,
        shards,
    )
