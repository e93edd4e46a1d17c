"""Later posts of an order where the campaign lets them update the first one: adjustments of it."""

import time

from redis.asyncio import Redis

from ingest.publish import Posted
from linkjolt.adjusting import Adjusting, Done
from linkjolt.conversion_answer import answer
from linkjolt.errors import Reason, Rejected
from linkjolt.events import Adjusted, ConversionState
from linkjolt.registry import ApiKey, public_id
from linkjolt.reservations import Reservation
from linkjolt.settings import Edge as Settings
from linkjolt.transitions import Wanted


class Updates:
    """Restates a conversion's order value, and approves it, by what a later post says."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._adjusting = Adjusting(redis, settings.shards, settings.conversion_state_days)

    async def update(self, held: Reservation, later: Posted, key: ApiKey) -> bytes:
        """The answer: the conversion as it stands. Rejected where the post does not fit it."""
        now = later.conversion
        if now.currency != held.state.currency:
            message = f"the order is in {held.state.currency}"
            raise Rejected(Reason.conflict, message, field="currency")
        state = held.state
        if now.order_value_minor != state.order_value_minor:
            state = (await self._adjust(state, later, "restated", key)).state
        if now.status == "approved" and state.status == "pending":
            state = (await self._adjust(state, later, "approved", key)).state
        return answer(state, duplicate=True)

    async def _adjust(
        self, state: ConversionState, later: Posted, kind: Adjusted, key: ApiKey
    ) -> Done:
        value_minor = later.conversion.order_value_minor if kind == "restated" else None

        def ask(_: ConversionState) -> Wanted:
            return Wanted(
                # What changes nothing is not asked for, so that no post is repeated by it.
                adjustment_id=f"{kind} by {later.conversion.conversion_id}",
                kind=kind,
                author=public_id("key", key.number),
                order_value_minor=value_minor,
                reason="a later post of the order",
            )

        now_ms = time.time_ns() // 1_000_000
        return await self._adjusting.adjust(key.books, state.conversion_id, ask, now_ms)
