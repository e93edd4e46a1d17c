"""Later posts of an order brought upon the conversion that has it: adjustments of it.

So it is where a campaign lets posts update, and with postbacks, by which networks tell that a
conversion they told of is approved, rejected, or of another amount.
"""

import time

import msgspec
from redis.asyncio import Redis

from ingest.publishing.publishers import Posted
from linkjolt.conversions.adjust import Adjusting
from linkjolt.conversions.adjustment_kinds import Wanted
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import Reservation
from linkjolt.events import Adjusted, ConversionState, Status
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, public_id
from linkjolt.settings import Edge as Settings


class Wish(msgspec.Struct, frozen=True):
    """What a later post says: its amount if it `restates`, its status if it `says_status`."""

    posted: Posted
    status: Status
    restates: bool
    says_status: bool


class Updates:
    """Restates a conversion's order value, approves or rejects it, by what a later post says."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._adjusting = Adjusting(redis, settings.shards, settings.conversion_state_days)

    async def update(self, held: Reservation, later: Posted, key: ApiKey) -> bytes:
        """The answer: the conversion as it stands. Rejected where the post does not fit it."""
        approves = later.conversion.status == "approved" and held.state.status == "pending"
        wish = Wish(later, later.conversion.status, restates=True, says_status=approves)
        return answer(await self.bring(held, wish, key), duplicate=True)

    async def bring(
        self, held: ConversionState | Reservation, wish: Wish, key: ApiKey
    ) -> ConversionState:
        """The conversion as it stands then; what it is already is not asked for."""
        state = held.state if isinstance(held, Reservation) else held
        if key.campaign and key.campaign != state.campaign:
            # Orders are the account's: another network's may have this id.
            message = "the order is of another campaign than the API key"
            raise Rejected(Reason.conflict, message, field="order_id")
        now = wish.posted.conversion
        if now.currency != state.currency:
            message = f"the order is in {state.currency}"
            raise Rejected(Reason.conflict, message, field="currency")
        value_minor = now.order_value_minor
        if wish.restates and value_minor != state.order_value_minor and state.status != "rejected":
            state = await self._adjust(state, wish, "restated", key)
        if wish.says_status and wish.status not in (state.status, "pending"):
            state = await self._adjust(state, wish, wish.status, key)
        return state

    async def _adjust(
        self, state: ConversionState, wish: Wish, kind: Adjusted, key: ApiKey
    ) -> ConversionState:
        later = wish.posted.conversion

        def ask(_: ConversionState) -> Wanted:
            return Wanted(
                # What changes nothing is not asked for, so that no post is repeated by it.
                adjustment_id=f"{kind} by {later.conversion_id}",
                kind=kind,
                author=public_id("key", key.number),
                order_value_minor=later.order_value_minor if kind == "restated" else None,
                reason="a later post of the order",
            )

        now_ms = time.time_ns() // 1_000_000
        done = await self._adjusting.adjust(key.books, state.conversion_id, ask, now_ms)
        return done.state
