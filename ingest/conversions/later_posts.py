"""Applies later posts of an order to its conversion, as adjustments.

Used where a campaign lets posts update, and for postbacks, by which networks report that a
conversion is approved, rejected, or of another amount. Only a post of the same click
changes a conversion, and only by an authority as strong as the one it was made by.
"""

import time
from hashlib import blake2s

import msgspec
from redis.asyncio import Redis

from ingest.fingerprints import former_fingerprint
from ingest.publishing.publishers import PostedConversion
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import Reservation
from linkjolt.events import (
    AdjustmentKind,
    Conversion,
    ConversionState,
    ConversionStatus,
    is_stronger,
)
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.settings import EdgeSettings as Settings

# Each costs some 150 bytes of live state for good; what takes a commission back has no bound.
AUTOMATIC_MAX = 100
_BOUNDED: tuple[AdjustmentKind, ...] = ("approved", "restated")


class LaterPost(msgspec.Struct, frozen=True):
    """A later post of an order, and whether it changes the value or the status.

    A postback that was taken before changes nothing, whatever came after it.
    """

    posted: PostedConversion
    status: ConversionStatus
    changes_value: bool
    changes_status: bool
    is_postback: bool = False

    @property
    def approves(self) -> bool:
        """Returns whether the post says that the conversion is approved."""
        return self.changes_status and self.status == "approved"

    def adjustment_id(self, kind: AdjustmentKind, state: ConversionState) -> str:
        """Names an adjustment, alike for equal postbacks, and for no two other posts."""
        posted = self.posted
        if not self.is_postback:
            return f"{kind} by {posted.conversion.conversion_id}"
        # As a former release named it.
        former = f"{kind} by {self._identity(former_fingerprint(posted.content))}"
        if any(entry.adjustment_id == former for entry in state.history):
            return former
        return f"{kind} by {self._identity(posted.fingerprint)}"

    def _identity(self, fingerprint: str) -> str:
        return blake2s(f"{fingerprint} {self.status}".encode(), digest_size=12).hexdigest()


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
        is_new = not isinstance(existing, Reservation)
        state = existing if is_new else existing.state
        _check_authority(state, later_post, key)
        conversion = later_post.posted.conversion
        is_first = later_post.is_postback and not is_new and later_post.posted.has_made(existing)
        changes_value = later_post.changes_value and not is_first
        value_minor = conversion.order_value_minor
        # A late retry does not overwrite what was stated after it.
        is_old = later_post.posted.has_timestamp and conversion.time_ms < state.stated_ms
        if (
            changes_value
            and not is_old
            and value_minor != state.order_value_minor
            and (state.status != "rejected" or later_post.approves)
        ):
            if state.status == "rejected":
                state = await self._adjust(state, later_post, "approved", key)
            state = await self._adjust(state, later_post, "restated", key)
        status = later_post.status
        brought = ("pending", "approved") if is_first else ("pending",)
        if later_post.changes_status and status not in (state.status, *brought):
            kind: AdjustmentKind = "approved" if status == "approved" else "rejected"
            state = await self._adjust(state, later_post, kind, key)
        return state

    async def _adjust(
        self, state: ConversionState, later_post: LaterPost, kind: AdjustmentKind, key: ApiKey
    ) -> ConversionState:
        if kind in _BOUNDED and len(state.history) >= AUTOMATIC_MAX:
            message = f"has had {AUTOMATIC_MAX} changes: adjust it by its conversion_id"
            raise Rejected(Reason.not_adjustable, message, field="order_id")
        conversion = later_post.posted.conversion

        def make_request(state: ConversionState) -> AdjustmentRequest:
            return AdjustmentRequest(
                adjustment_id=later_post.adjustment_id(kind, state),
                kind=kind,
                author=key.id,
                order_value_minor=conversion.order_value_minor if kind == "restated" else None,
                reason="a later post of the order",
                stated_ms=conversion.time_ms if later_post.posted.has_timestamp else 0,
                hand=conversion.hand,
            )

        now_ms = time.time_ns() // 1_000_000
        try:
            adjusted = await self._adjusting.adjust(
                key.dataset, state.conversion_id, make_request, now_ms
            )
        except Rejected as error:
            # A post has no kind.
            field = "order_value" if kind == "restated" else "status"
            field = field if error.field == "kind" else error.field
            raise Rejected(error.reason, error.message, field=field) from None
        return adjusted.state


def _check_authority(state: ConversionState, later_post: LaterPost, key: ApiKey) -> None:
    """Rejected where the post is of another click, or its authority is too weak."""
    conversion = later_post.posted.conversion
    if key.campaign and key.campaign != state.campaign:
        message = "is an order of another campaign than the API key's"
        raise Rejected(Reason.conflict, message, field="order_id")
    if is_stronger(state.hand, conversion.hand):
        message = f"belongs to {state.conversion_id}, which the account itself posted"
        raise Rejected(Reason.conflict, message, field="order_id")
    if later_post.is_postback and not is_same_sender(state, conversion):
        message = f"belongs to a conversion of another click: {state.conversion_id}"
        raise Rejected(Reason.conflict, message, field="order_id")
    if conversion.currency != state.currency:
        message = f"must be the order's, {state.currency}"
        raise Rejected(Reason.conflict, message, field="currency")


def is_same_sender(state: ConversionState, conversion: Conversion) -> bool:
    """Returns whether a post names the click of a conversion, or what it names in place of one."""
    if conversion.click_id or state.click_id:
        return conversion.click_id == state.click_id
    earner = (conversion.campaign, conversion.affiliate, conversion.link)
    return earner == (state.campaign, state.affiliate, state.link)
