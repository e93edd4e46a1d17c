"""One posted conversion on its way: parsed, attributed, resolved and handed to its shard's lane."""

import asyncio

import msgspec

from ingest import metrics
from ingest.conversions import first_orders
from ingest.conversions.attribution import GivenClick
from ingest.conversions.body import ConversionPost, click_ids, parse_post
from ingest.conversions.decision import Case, Found, decide, make
from ingest.conversions.later_posts import Updates
from ingest.edge import Edge
from ingest.publishing.publishers import Posted, Queued, outcome
from linkjolt.click_ids import read_click_id
from linkjolt.conversions.answer import answer
from linkjolt.conversions.reservations import Reservation
from linkjolt.events import ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.storage.redis import RedisError

_OUTCOMES = {200: "duplicate", 201: "created", 202: "queued", 409: "conflict"}
_COUNTED = {status: metrics.CONVERSIONS.labels(name) for status, name in _OUTCOMES.items()}


def count(status: int, conversions: int = 1) -> None:
    """Counts conversions answered with a status, if it is one of an outcome."""
    if status in _COUNTED:
        _COUNTED[status].inc(conversions)


class Taken(msgspec.Struct, frozen=True):
    """A post under way: `frame` brings the outcomes of a frame, `place` is the post's in it.

    `updates`: another post of an order changes the first one.
    """

    posted: Posted
    frame: asyncio.Future[list[bytes] | None]
    place: int
    updates: bool = False

    def held(self, outcomes: list[bytes] | None) -> ConversionState | Reservation | Queued:
        """What stands under the order, by what `frame` brought."""
        return outcome(self.posted, outcomes, self.place)

    def stood(self, outcomes: list[bytes] | None) -> bool:
        """Whether something stood under the order before, be it this conversion itself."""
        return outcomes is not None and outcomes[self.place] not in (b"", b"again")

    def answer(self, outcomes: list[bytes] | None) -> tuple[int, bytes]:
        """Status and JSON, by what `frame` brought: the post is on disk.

        201 for a new order, 200 for the same post again, 202 while Redis is away. Rejected where
        another post has the order, or nothing is known of it.
        """
        posted = self.posted
        held = self.held(outcomes)
        if isinstance(held, ConversionState):
            return 201, answer(held.first or held)
        if isinstance(held, Queued):
            return 202, answer(posted.state, status="queued")
        if held.fingerprint != posted.fingerprint:
            message = f"another conversion has this order_id: {held.conversion_id}"
            raise Rejected(Reason.conflict, message, field="order_id")
        return 200, answer(held.state.first or held.state, duplicate=True)


class Intake:
    """Takes posts of every account; what one turn of the loop takes is published together."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._updates = Updates(edge.redis, edge.settings)

    def take_now(self, body: bytes, key: ApiKey, now_ms: int) -> Taken | None:
        """As `take`, at once; None where something must be asked first."""
        post = parse_post(body)
        found = self._found_now(post, key.account)
        if found is None:
            return None
        case = decide(post, key, found, now_ms, self._edge.keyring.customer_key)
        if case.first_order_only or case.duplicates == "update":
            return None
        return self.publish(case, make(case, self._edge.settings, now_ms))

    async def take(self, body: bytes, key: ApiKey, now_ms: int) -> Taken:
        """Waits only for what must be asked. Rejected, or RedisError, if not taken."""
        return await self.take_post(parse_post(body), key, now_ms)

    async def take_post(self, post: ConversionPost, key: ApiKey, now_ms: int) -> Taken:
        """As `take`."""
        case = await self.decided(post, key, now_ms)
        return self.publish(case, await self.made(case, now_ms))

    async def decided(self, post: ConversionPost, key: ApiKey, now_ms: int) -> Case:
        """What is to become of a post; Rejected, or RedisError, if it cannot be taken."""
        found = await self._found(post, key.account)
        return decide(post, key, found, now_ms, self._edge.keyring.customer_key)

    async def made(self, case: Case, now_ms: int, conversion_id: str = "") -> Posted:
        """The event to publish; `conversion_id` is one that the post had before."""
        posted = make(case, self._edge.settings, now_ms, conversion_id)
        if not case.first_order_only:
            return posted
        pay = await first_orders.pay(self._edge, case, posted.order_digest, now_ms)
        if pay == case.pay:
            return posted
        paid = msgspec.structs.replace(case, pay=pay)
        return make(paid, self._edge.settings, now_ms, posted.conversion.conversion_id)

    async def answer(self, taken: Taken, key: ApiKey) -> tuple[int, bytes]:
        """As `Taken.answer`, when its frame is written; a later post may update the first one."""
        outcomes = await taken.frame
        if not taken.updates:
            return taken.answer(outcomes)
        held = taken.held(outcomes)
        if isinstance(held, Reservation):
            return 200, await self._updates.update(held, taken.posted, key)
        return taken.answer(outcomes)

    def publish(self, case: Case, posted: Posted) -> Taken:
        """Hands it to the lane of its shard. Rejected(unavailable) where too much waits."""
        frame, place = self._edge.conversions[posted.shard].add(posted)
        return Taken(posted, frame, place, case.duplicates == "update")

    def _found_now(self, post: ConversionPost, account: int) -> Found | None:
        directory = self._edge.directory
        code = directory.route_now(post.tracking_code) if post.tracking_code else None
        if post.tracking_code and not code:
            return None
        if code and not post.click_id and not post.click_ids:
            # As most posts are.
            return Found((), code, None)
        clicks: list[GivenClick] = []
        for one in self._clicks(post):
            route = directory.route_by_number_now(one.click.link) if one.click else None
            if one.click and not route:
                return None
            clicks.append(GivenClick(one.click_id, one.click, route))
        coupon = None
        if post.coupon_code and not code:
            coupon = directory.coupons.now(account, post.coupon_code)
            if coupon is None and not directory.coupons.unknown_now(account, post.coupon_code):
                return None
        return Found(tuple(clicks), code, coupon)

    async def _found(self, post: ConversionPost, account: int) -> Found:
        directory = self._edge.directory
        code = await directory.route(post.tracking_code) if post.tracking_code else None
        clicks: list[GivenClick] = []
        for one in self._clicks(post):
            route = await directory.route_by_number(one.click.link) if one.click else None
            clicks.append(GivenClick(one.click_id, one.click, route))
        coupon = None
        if post.coupon_code and not code:
            try:
                coupon = await directory.coupons.find(account, post.coupon_code)
            except RedisError:
                if not any(one.route for one in clicks):
                    raise
                # The click earns it in any case, or it waits in the inbox of the unattributed.
        return Found(tuple(clicks), code, coupon)

    def _clicks(self, post: ConversionPost) -> list[GivenClick]:
        keys = self._edge.keyring.click_keys
        return [GivenClick(text, read_click_id(text, keys)) for text in click_ids(post)]
