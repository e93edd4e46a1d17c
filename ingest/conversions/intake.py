"""Accepts posted conversions: parses, attributes, resolves and hands them to their shard."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from ingest import metrics
from ingest.conversions.attribution import PostedClick
from ingest.conversions.authority import Authority
from ingest.conversions.body import ConversionPost, click_ids, conversion_time_ms, parse_post
from ingest.conversions.customer_claims import MadeClaim, choose_first_order_commission
from ingest.conversions.decision import (
    REBILL,
    Decision,
    Lookups,
    RepeatKey,
    decide,
    decide_rebill,
    make_conversion,
)
from ingest.conversions.earners import Earners
from ingest.conversions.later_posts import OrderUpdates, is_same_sender
from ingest.conversions.supersession import Supersession, supersedes
from ingest.edge import Edge
from ingest.publishing.frames import ConversionOutcome
from ingest.publishing.publishers import PostedConversion, QueuedPost, read_outcome
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import Reservation
from linkjolt.datasets import Account
from linkjolt.events import ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.commission_rules import needs_exchange_rate
from linkjolt.registry.entries import ApiKey
from linkjolt.storage.redis import RedisError

_OUTCOMES = {200: "duplicate", 201: "created", 202: "queued", 409: "conflict"}
_NEW = (ConversionOutcome.reserved, ConversionOutcome.shared, ConversionOutcome.repeated)
_OUTCOME_COUNTERS = {status: metrics.CONVERSIONS.labels(name) for status, name in _OUTCOMES.items()}


def count_conversions(status: int, conversions: int = 1) -> None:
    """Counts conversions answered with a status, if the status has an outcome."""
    if status in _OUTCOME_COUNTERS:
        _OUTCOME_COUNTERS[status].inc(conversions)


class PendingConversion(msgspec.Struct, frozen=True):
    """A post being published: the future outcomes of its frame, and its index in the frame.

    `updates_order`: a later post of an order changes the first one. `may_be_claimed`: its campaign
    takes unverified conversions.
    """

    posted: PostedConversion
    key: ApiKey
    outcomes: asyncio.Future[list[bytes] | None]
    frame_index: int
    updates_order: bool = False
    may_be_claimed: bool = False

    def outcome(self, outcomes: list[bytes] | None) -> ConversionState | Reservation | QueuedPost:
        """Reads this post's outcome from its frame's."""
        return read_outcome(self.posted, outcomes, self.frame_index)

    def existed_before(self, outcomes: list[bytes] | None) -> bool:
        """Returns True where the order was reserved before, even by this conversion."""
        return outcomes is not None and outcomes[self.frame_index] not in _NEW

    def answer_if_settled(self, outcomes: list[bytes] | None) -> tuple[int, bytes] | None:
        """Returns status and JSON as `answer`; None where Redis must be called again first."""
        if self.updates_order or self.may_be_claimed:
            return None
        if outcomes is not None and not outcomes[self.frame_index]:
            # Most orders are free.
            return 201, answer(self.posted.state)
        existing = self.outcome(outcomes)
        if isinstance(existing, Reservation) and supersedes(self.posted, existing):
            return None
        return self.answer_of(existing)

    def answer(self, outcomes: list[bytes] | None) -> tuple[int, bytes]:
        """Returns status and JSON for the frame's outcomes; the post is on disk.

        201 for a new order, 200 for the same post again, 202 while Redis is unavailable. Rejected
        where another post has the order, or the outcome is unknown.
        """
        return self.answer_of(self.outcome(outcomes))

    def answer_of(self, existing: ConversionState | Reservation | QueuedPost) -> tuple[int, bytes]:
        """Returns status and JSON as `answer`, for what has the order."""
        posted = self.posted
        if isinstance(existing, ConversionState):
            return 201, answer(existing.first or existing)
        if isinstance(existing, QueuedPost):
            return 202, answer(posted.state, status="queued")
        if not posted.has_made(existing):
            message = f"belongs to another conversion: {existing.conversion_id}"
            raise Rejected(Reason.conflict, message, field="order_id")
        return 200, answer(existing.state.first or existing.state, duplicate=True)


class Intake:
    """Accepts posts of every account; those of one turn of the loop are published together."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._order_updates = OrderUpdates(edge.redis, edge.settings)
        self._supersession = Supersession(edge.redis, edge.settings)
        self._earners = Earners(edge)
        self._settling: set[asyncio.Future[list[bytes] | None]] = set()

    def accept_now(self, body: bytes, key: ApiKey, now_ms: int) -> PendingConversion | None:
        """As `accept`, without waiting.

        None where something must be read from Redis first, or a click id is not genuine.
        """
        post = parse_post(body)
        lookups = self._look_up_now(post, key.account)
        if lookups is None:
            return None
        if lookups.clicks and any(click.click is None for click in lookups.clicks):
            return None
        decision = decide(post, key, lookups, now_ms, self._edge.keyring.customer_key)
        if decision.unsettled or decision.duplicates in ("update", "rebill"):
            return None
        posted = make_conversion(decision, self._edge.settings, now_ms)
        frame, place = self._edge.conversion_publishers[posted.shard].add(posted)
        return PendingConversion(posted, key, frame, place)

    async def accept(self, body: bytes, key: ApiKey, now_ms: int) -> PendingConversion:
        """Parses and publishes a post; Rejected or RedisError if it is not accepted."""
        return await self.accept_post(parse_post(body), key, now_ms)

    async def accept_post(
        self,
        post: ConversionPost,
        key: ApiKey,
        now_ms: int,
        authority: Authority | None = None,
    ) -> PendingConversion:
        """As `accept`, for a parsed post; with an authority (a postback) it is never spooled."""
        decision = await self.decide(post, key, now_ms, authority)
        posted = make_conversion(decision, self._edge.settings, now_ms)
        if authority:
            posted = msgspec.structs.replace(posted, direct_only=True)
        return await self.publish(decision, posted, now_ms)

    async def decide(
        self,
        post: ConversionPost,
        key: ApiKey,
        now_ms: int,
        authority: Authority | None = None,
        repeat_key: RepeatKey = "content",
    ) -> Decision:
        """Decides a post; Rejected or RedisError if it cannot be accepted.

        A post with an authority (a postback) is known by its order when it is sent again.
        """
        lookups = await self._look_up(post, key.account)
        if lookups.clicks:
            self._edge.forged_clicks.check(lookups.clicks, key)
        earner = await self._earners.find(post, key, lookups, conversion_time_ms(post, now_ms))
        if earner is not None:
            lookups = msgspec.structs.replace(lookups, earner=earner)
        decision = decide(
            post,
            key,
            lookups,
            now_ms,
            self._edge.keyring.customer_key,
            authority,
            "order" if authority else repeat_key,
        )
        if decision.duplicates == REBILL:
            earner = await self._earners.of_order(decision, post.event)
            rebill = await self._with_exchange_rate(decide_rebill(decision, earner))
            decision = msgspec.structs.replace(decision, rebill=rebill)
        return await self._with_exchange_rate(decision)

    async def _with_exchange_rate(self, decision: Decision) -> Decision:
        """Adds the rate that converts a commission's amounts; Rejected if the account has none."""
        post, campaign = decision.post, decision.attribution.campaign
        choice = decision.commission_choice
        if campaign is None or not needs_exchange_rate(choice.commission, campaign, post.currency):
            return decision
        rates = await self._edge.directory.rates.table(decision.key.account)
        rate = rates.require(post.currency or "", campaign.currency, decision.time_ms)
        choice = msgspec.structs.replace(choice, exchange_rate=rate)
        return msgspec.structs.replace(decision, commission_choice=choice)

    async def publish(
        self, decision: Decision, posted: PostedConversion, now_ms: int
    ) -> PendingConversion:
        """Makes the claims of a conversion, and hands it to its shard; Rejected as `accept`."""
        if not decision.unsettled:
            return self._hand_over(decision, posted)
        posted, made = await self._claim(decision, posted, now_ms)
        try:
            pending = self._hand_over(decision, posted)
        except Rejected:
            with suppress(RedisError):
                await self._edge.customer_claims.release(made)
            raise
        if not made:
            return pending
        settled = asyncio.ensure_future(self._settle_claims(pending, made))
        # They are settled even if nobody awaits the answer any more.
        self._settling.add(settled)
        settled.add_done_callback(self._settling.discard)
        return msgspec.structs.replace(pending, outcomes=settled)

    async def _claim(
        self, decision: Decision, posted: PostedConversion, now_ms: int
    ) -> tuple[PostedConversion, list[MadeClaim]]:
        """Claims what a conversion is the first of; returns it with its commission."""
        commission, campaign = decision.commission_choice.commission, decision.attribution.campaign
        made: list[MadeClaim] = []
        if commission is not None and commission.first_order_only:
            settings, direct_only = self._edge.settings, posted.direct_only
            choice, made = await choose_first_order_commission(
                self._edge.customer_claims, decision, posted, settings.shards, now_ms
            )
            paid = msgspec.structs.replace(decision, commission_choice=choice)
            posted = make_conversion(paid, settings, now_ms, posted.conversion.conversion_id)
            posted = msgspec.structs.replace(posted, direct_only=direct_only)
        if campaign is not None and campaign.lifetime:
            made += await self._earners.claim_customer(decision, posted, now_ms)
        return posted, made

    async def _settle_claims(
        self, pending: PendingConversion, made: Sequence[MadeClaim]
    ) -> list[bytes] | None:
        outcomes, posted = await pending.outcomes, pending.posted
        outcome = pending.outcome(outcomes)
        is_awaited = isinstance(outcome, Reservation) and supersedes(posted, outcome)
        # A claim that is not settled is void once its conversion cannot be stored any more.
        with suppress(RedisError):
            await self._edge.customer_claims.settle(made, posted, outcome, is_awaited=is_awaited)
        return outcomes

    async def answer(self, pending: PendingConversion) -> tuple[int, bytes]:
        """Awaits the frame and answers; a later post of an order may update the first one."""
        outcomes = await pending.outcomes
        if settled := pending.answer_if_settled(outcomes):
            return settled
        existing = await self.settle(pending)
        if isinstance(existing, Reservation) and pending.updates_order:
            updated = await self._order_updates.update(existing, pending.posted, pending.key)
            return 200, updated
        return pending.answer_of(existing)

    async def settle(
        self, pending: PendingConversion
    ) -> ConversionState | Reservation | QueuedPost:
        """Awaits a post's outcome, and supersedes what a weaker hand made of its order.

        What changes a conversion (a postback, an update) leaves that of the same click in place.
        """
        posted = pending.posted
        existing = pending.outcome(await pending.outcomes)
        if isinstance(existing, Reservation) and supersedes(posted, existing):
            is_same = is_same_sender(existing.state, posted.conversion)
            if not (posted.direct_only and is_same):
                existing = await self._supersession.take_order(existing, posted)
        if pending.may_be_claimed and (holder := _stored_as(posted, existing)):
            conversion = msgspec.structs.replace(posted.conversion, conversion_id=holder)
            await self._supersession.drop_unverified(conversion)
        return existing

    def _hand_over(self, decision: Decision, posted: PostedConversion) -> PendingConversion:
        """Hands the conversion to its shard; Rejected(unavailable) where too much waits."""
        updates_order = decision.duplicates == "update"
        if updates_order and not posted.direct_only:
            posted = msgspec.structs.replace(posted, direct_only=True)
        frame, place = self._edge.conversion_publishers[posted.shard].add(posted)
        claimed = _may_be_claimed(decision)
        return PendingConversion(posted, decision.key, frame, place, updates_order, claimed)

    def _look_up_now(self, post: ConversionPost, account: Account) -> Lookups | None:
        directory = self._edge.directory
        code = directory.cached_route(post.tracking_code) if post.tracking_code else None
        if (post.tracking_code and not code) or post.event == REBILL:
            return None
        if code and not post.click_id and not post.click_ids and not post.coupon_code:
            # Most posts are like this.
            return Lookups((), code, None)
        clicks: list[PostedClick] = []
        for posted in self._posted_clicks(post):
            route = directory.cached_route_by_number(posted.click.link) if posted.click else None
            if posted.click and not route:
                return None
            clicks.append(PostedClick(posted.click_id, posted.click, route))
        coupon = None
        if post.coupon_code:
            coupon = directory.coupons.cached(account, post.coupon_code)
            if coupon is None and not directory.coupons.is_known_missing(account, post.coupon_code):
                return None
        if not (code or clicks or coupon):
            # Only a customer, who may have an earner.
            return None
        return Lookups(tuple(clicks), code, coupon)

    async def _look_up(self, post: ConversionPost, account: Account) -> Lookups:
        directory = self._edge.directory
        code = await directory.route(post.tracking_code) if post.tracking_code else None
        clicks: list[PostedClick] = []
        for posted in self._posted_clicks(post):
            route = await directory.route_by_number(posted.click.link) if posted.click else None
            clicks.append(PostedClick(posted.click_id, posted.click, route))
        coupon = None
        if post.coupon_code:
            try:
                coupon = await directory.coupons.find(account, post.coupon_code)
            except RedisError:
                if code is None and not any(click.route for click in clicks):
                    raise
                # A click or a code earns it anyway, or the conversion is listed as unattributed.
        return Lookups(tuple(clicks), code, coupon)

    def _posted_clicks(self, post: ConversionPost) -> list[PostedClick]:
        keyring, now_ms = self._edge.keyring, time.time_ns() // 1_000_000
        return [PostedClick(text, keyring.verify_click(text, now_ms)) for text in click_ids(post)]


def _stored_as(
    posted: PostedConversion, existing: ConversionState | Reservation | QueuedPost
) -> str:
    """Returns the conversion as which a post is stored, also an earlier one; '' if it is not."""
    if isinstance(existing, ConversionState):
        return existing.conversion_id
    if isinstance(existing, Reservation) and posted.has_made(existing):
        return existing.conversion_id
    return ""


def _may_be_claimed(decision: Decision) -> bool:
    campaign = decision.attribution.campaign
    return campaign is not None and campaign.pixel == "on" and decision.authority.hand != "pixel"
