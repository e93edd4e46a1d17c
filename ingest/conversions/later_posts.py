"""Applies later posts of an order to its conversion, as adjustments.

Used where a campaign lets posts update, and for postbacks, by which networks report that a
conversion is approved, rejected, or of another amount.
"""

import time

import msgspec
from redis.asyncio import Redis

from ingest.publishing.publishers import PostedConversion
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import Reservation
from linkjolt.events import AdjustmentKind, ConversionState, ConversionStatus
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey, public_id
from linkjolt.settings import EdgeSettings as Settings


class LaterPost(msgspec.Struct, frozen=True):
    """A later post of an order, and whether it changes the value or the status."""

    posted: PostedConversion
    status: ConversionStatus
    changes_value: bool
    changes_status: bool


class OrderUpdates:
    """Restates, approves or rejects a conversion as a later post asks."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._adjusting = ConversionAdjuster(redis, settings.shards, settings.conversion_state_days)

    async def update(self, existing: Reservation, posted: PostedConversion, key: ApiKey) -> bytes:
        """Returns the updated conversion as JSON; Rejected where the post contradicts it."""
        approves = posted.conversion.status == "approved" and existing.state.status == "pending"
        later_post = LaterPost(
            posted, posted.conversion.status, changes_value=True, changes_status=approves
        )
        return answer(await self.apply_later_post(existing, later_post, key), duplicate=True)

    async def apply_later_post(
        self, existing: ConversionState | Reservation, later_post: LaterPost, key: ApiKey
    ) -> ConversionState:
        """Returns the updated conversion; skips changes that it already has."""
        state = existing.state if isinstance(existing, Reservation) else existing
        if key.campaign and key.campaign != state.campaign:
            # Order ids are the account's: another network's order may have this one.
            message = "is an order of another campaign than the API key's"
            raise Rejected(Reason.conflict, message, field="order_id")
        conversion = later_post.posted.conversion
        if conversion.currency != state.currency:
            message = f"must be the order's, {state.currency}"
            raise Rejected(Reason.conflict, message, field="currency")
        value_minor = conversion.order_value_minor
        if (
            later_post.changes_value
            and value_minor != state.order_value_minor
            and state.status != "rejected"
        ):
            state = await self._adjust(state, later_post, "restated", key)
        if later_post.changes_status and later_post.status not in (state.status, "pending"):
            state = await self._adjust(state, later_post, later_post.status, key)
        return state

    async def _adjust(
        self, state: ConversionState, later_post: LaterPost, kind: AdjustmentKind, key: ApiKey
    ) -> ConversionState:
        conversion = later_post.posted.conversion

        def make_request(_: ConversionState) -> AdjustmentRequest:
            return AdjustmentRequest(
                # Requested only for a real change, so that an id never repeats another post's.
                adjustment_id=f"{kind} by {conversion.conversion_id}",
                kind=kind,
                author=public_id("key", key.number),
                order_value_minor=conversion.order_value_minor if kind == "restated" else None,
                reason="a later post of the order",
            )

        now_ms = time.time_ns() // 1_000_000
        adjusted = await self._adjusting.adjust(
            key.dataset, state.conversion_id, make_request, now_ms
        )
        return adjusted.state
