"""Accepts the unsigned pixel: conversions that anybody can claim with a click of their own.

They are unverified: they count for nothing until a person approves them. A click and event has one
at most, under a reservation of its own, so that none ever holds an order against a key.
"""

import time
from decimal import Decimal

import msgspec

from ingest.conversions.authority import PIXEL
from ingest.conversions.body import ConversionPost
from ingest.conversions.decision import Decision, make_conversion
from ingest.conversions.intake import Intake
from ingest.conversions.supersession import Supersession, holds_for, pixel_claim_key
from ingest.edge import Edge
from ingest.publishing.publishers import PostedConversion
from linkjolt import redis_keys
from linkjolt.clicks.route import Route
from linkjolt.conversions.reservations import CLAIMS, StoredReservation, find_reservation
from linkjolt.events import Conversion
from linkjolt.money import to_minor
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.accounts import is_disabled
from linkjolt.registry.entries import ApiKey, Campaign
from linkjolt.storage.redis import call

# Where the campaign sets no bound of its own.
VALUE_MAX = Decimal(10_000)


class UnsignedPixel:
    """Records unverified conversions; RedisError or Rejected where one is not recorded."""

    def __init__(self, edge: Edge, intake: Intake) -> None:
        self._edge = edge
        self._intake = intake
        self._supersession = Supersession(edge.redis, edge.settings)

    async def record(self, post: ConversionPost, route: Route) -> None:
        """Records a post under a genuine click of this route, unless its click has one already."""
        campaign, now_ms = route.campaign, time.time_ns() // 1_000_000
        is_refused = await is_disabled(self._edge.fast_redis, campaign.account)
        if campaign.pixel != "on" or is_refused:
            message = "the campaign takes no unsigned pixels"
            raise Rejected(Reason.forbidden, message)
        post = msgspec.structs.replace(post, status="pending")
        _check_amount(post, campaign)
        decision = await self._intake.decide(post, _key_of(route), now_ms, PIXEL)
        posted = await self._claimed(decision, now_ms)
        if posted is None:
            return
        noted = await self._supersession.note_order(posted.conversion)
        posted = msgspec.structs.replace(posted, direct_only=True)
        pending = await self._intake.publish(decision, posted, now_ms)
        pending.answer(await pending.outcomes)
        await self._yield_order(posted.conversion, noted)

    async def _claimed(self, decision: Decision, now_ms: int) -> PostedConversion | None:
        """Returns the conversion that claims its click and event; None if another one has."""
        posted = make_conversion(decision, self._edge.settings, now_ms)
        key = pixel_claim_key(posted.conversion, self._edge.settings.shards)
        conversion_id = posted.conversion.conversion_id
        claimant = (await self._supersession.claim_click(posted.conversion, key)).decode()
        if claimant == conversion_id:
            return posted
        shards = self._edge.settings.shards
        if await find_reservation(self._edge.redis, shards, claimant) is not None:
            return None
        # Its edge was killed before it published it.
        return make_conversion(decision, self._edge.settings, now_ms, claimant)

    async def _yield_order(self, conversion: Conversion, noted: set[bytes]) -> None:
        """Supersedes the conversion at once if its order was posted by a key before."""
        redis, shards = self._edge.redis, self._edge.settings.shards
        digest = redis_keys.order_digest(conversion.account, conversion.event, conversion.order_id)
        key = redis_keys.order(int(digest, 16) % shards, digest)
        raw: bytes | None = await call(redis, "GET", key)
        holders = [] if raw is None or raw.startswith(CLAIMS) else [raw.partition(b"\n")[0]]
        for holder in (*holders, *noted):
            found = await find_reservation(redis, shards, holder.decode())
            state = found.reservation.state if isinstance(found, StoredReservation) else None
            if state and state.verified and holds_for(state, conversion.campaign):
                by = msgspec.structs.replace(
                    conversion, conversion_id=holder.decode(), hand=state.hand
                )
                await self._supersession.supersede_unverified(conversion.conversion_id, by)
                return


def _check_amount(post: ConversionPost, campaign: Campaign) -> None:
    """Refuses an amount that is in another currency than the campaign's, or too large."""
    if post.currency not in (None, campaign.currency):
        message = f"must be the campaign's, {campaign.currency}"
        raise Rejected(Reason.invalid_field, message, field="currency")
    most = VALUE_MAX if campaign.pixel_max_value is None else campaign.pixel_max_value
    value_minor = to_minor(post.order_value or Decimal(0), campaign.currency, "order_value")
    if value_minor > to_minor(most, campaign.currency, "order_value"):
        message = f"is more than an unsigned pixel may claim: {most}"
        raise Rejected(Reason.invalid_field, message, field="order_value")


def _key_of(route: Route) -> ApiKey:
    """Makes a key for the account and campaign of a link."""
    link = route.link
    return ApiKey(
        number=0,
        account=link.account,
        name="pixel",
        scopes=(),
        digest="",
        hint="",
        campaign=link.campaign,
        created_at=link.created_at,
    )
