"""Gives orders to the strongest hand: a weaker conversion of an order is superseded, and kept.

An API key of the account outranks a key that is bound to a campaign, that a signed postback, and
all of them the pixel, which anybody can call with a click of their own.
"""

import time
from contextlib import suppress
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from ingest.conversions.customer_claims import Claims
from ingest.publishing.publishers import PostedConversion
from linkjolt import redis_keys
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.ledger import apply_adjustment
from linkjolt.conversions.reservations import Reservation, encode_reservation, parse_reservation
from linkjolt.events import Conversion, ConversionState, Hand, is_stronger
from linkjolt.reasons import Reason, Rejected
from linkjolt.settings import EdgeSettings as Settings
from linkjolt.storage.lua import LuaScript, read_appending_script
from linkjolt.storage.redis import call

_SCRIPT = read_appending_script(Path(__file__).parents[1] / "publishing" / "supersede.lua")
_ATTEMPTS_MAX = 20
_NOTED_MAX = 20
_NOTED_SECONDS = 90 * 86_400
# As the history names who superseded a conversion.
_AUTHOR = "order"
_encode = msgspec.json.Encoder().encode


def supersedes(posted: PostedConversion, existing: Reservation) -> bool:
    """Returns whether a post takes its order from the conversion that has it."""
    return not posted.has_made(existing) and is_stronger(
        posted.conversion.hand, existing.state.hand
    )


def holds_for(state: ConversionState, campaign: int) -> bool:
    """Returns whether a conversion has its order in a campaign: an unbound key's has it in all."""
    return state.hand == "key" or state.campaign == campaign


class Supersession:
    """Supersedes conversions in one Redis; RedisError where the outcome is unknown."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._shards = settings.shards
        self._reservation_seconds = settings.conversion_state_days * 86_400
        self._adjusting = ConversionAdjuster(redis, settings.shards, settings.conversion_state_days)
        self._script = LuaScript(redis, _SCRIPT)
        self._claims = Claims(redis)

    async def take_order(
        self, existing: Reservation, posted: PostedConversion
    ) -> ConversionState | Reservation:
        """Gives a post the order of a weaker conversion; both facts are on disk as one.

        Returns the new state, or the reservation that has the order meanwhile.
        """
        for _ in range(_ATTEMPTS_MAX):
            request = _request(posted.conversion.conversion_id, posted.conversion.hand)
            superseded = existing.state
            lines = [_encode(posted.conversion)]
            if superseded.status != "rejected":
                superseded, fact = apply_adjustment(superseded, request, None, _now_ms())
                lines.insert(0, _encode(fact))
            keys, arguments = self._arguments(existing, superseded, posted)
            [reply] = await self._script([(keys, [*arguments, len(lines), b"\n".join(lines)])])
            if not reply:
                return posted.state
            if reply == b"gone":
                break
            existing = parse_reservation(reply)
            if not supersedes(posted, existing):
                return existing
        message = "too many requests change this order at once: try again"
        raise Rejected(Reason.unavailable, message)

    def _arguments(
        self, existing: Reservation, superseded: ConversionState, posted: PostedConversion
    ) -> tuple[list[str], list[bytes | str | int]]:
        shard, weaker_id = posted.shard, existing.conversion_id
        account_digest = _account_digest(existing.state)
        in_campaign = existing.state.order_scope == "campaign"
        weaker_digest = _campaign_digest(existing.state) if in_campaign else account_digest
        takes_account_order = posted.account_digest == weaker_digest
        claims = f"! {posted.conversion.campaign}:{posted.order_digest}"
        stream = redis_keys.conversions(shard)
        keys = [
            redis_keys.order(shard, posted.order_digest),
            redis_keys.order(shard, weaker_digest),
            stream.key,
            stream.ledger_key,
            redis_keys.order(shard, weaker_id),
            redis_keys.conversion(shard, weaker_id),
            redis_keys.conversion(shard, posted.conversion.conversion_id),
        ]
        arguments: list[bytes | str | int] = [
            existing.raw,
            encode_reservation(weaker_id, existing.fingerprint, superseded),
            weaker_id,
            posted.order_digest,
            encode_reservation(posted.conversion.conversion_id, posted.fingerprint, posted.state),
            self._reservation_seconds,
            claims if takes_account_order else "",
        ]
        return keys, arguments

    async def drop_unverified(self, conversion: Conversion) -> None:
        """Supersedes the unverified conversions of a verified one's order, and of its click.

        A later pixel of the order or the click finds that its conversion is known.
        """
        ids: set[bytes] = set()
        if conversion.order_id:
            ids |= await self.note_order(conversion)
        if conversion.click_id:
            key = pixel_claim_key(conversion, self._shards)
            ids.add(await self.claim_click(conversion, key))
        for raw in ids - {conversion.conversion_id.encode()}:
            with suppress(Rejected):
                await self.supersede_unverified(raw.decode(), conversion)

    async def claim_click(self, conversion: Conversion, key: str) -> bytes:
        """Claims the click and event of a conversion; returns the id of the one that has them."""
        keep_seconds, own = self._reservation_seconds, conversion.conversion_id.encode()
        return await self._claims.claim(key, own, keep_seconds=keep_seconds)

    async def note_order(self, conversion: Conversion) -> set[bytes]:
        """Notes a conversion under its order; returns those that were noted before.

        Where many claim an order, somebody guesses: further ones are not noted.
        """
        digest = redis_keys.order_digest(conversion.account, conversion.event, conversion.order_id)
        key = redis_keys.claimed_order(int(digest, 16) % self._shards, digest)
        known: set[bytes] = set(await call(self._redis, "SMEMBERS", key))
        if len(known) < _NOTED_MAX:
            await call(self._redis, "SADD", key, conversion.conversion_id)
            await call(self._redis, "EXPIRE", key, _NOTED_SECONDS)
        return known

    async def supersede_unverified(self, conversion_id: str, by: Conversion) -> None:
        """Supersedes one conversion; Rejected unless it is unverified, and not rejected.

        A hand that is bound to a campaign supersedes those of its campaign only.
        """

        def make_request(state: ConversionState) -> AdjustmentRequest:
            is_foreign = by.hand != "key" and state.campaign != by.campaign
            if state.verified or is_foreign:
                message = "the conversion is verified, or of another campaign"
                raise Rejected(Reason.not_adjustable, message)
            return _request(by.conversion_id, by.hand)

        await self._adjusting.adjust(by.account, conversion_id, make_request, _now_ms())


def pixel_claim_key(conversion: Conversion, shards: int) -> str:
    """Names the claim of the click and event of a conversion."""
    digest = redis_keys.pixel_digest(conversion.account, conversion.event, conversion.click_id)
    return redis_keys.pixel_claim(int(digest, 16) % shards, digest)


def _account_digest(state: ConversionState) -> str:
    return redis_keys.order_digest(state.account, state.event, state.order_id)


def _campaign_digest(state: ConversionState) -> str:
    return redis_keys.order_digest(
        state.account, state.event, state.order_id, campaign=state.campaign
    )


def _request(by: str, hand: Hand) -> AdjustmentRequest:
    return AdjustmentRequest(
        adjustment_id=f"superseded by {by}",
        kind="superseded",
        author=_AUTHOR,
        reason=f"superseded by {by}",
        hand=hand,
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
