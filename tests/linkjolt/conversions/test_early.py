"""Early adjustments wait for their orders, within bounds, and are applied once and in order."""

import asyncio
from collections import Counter
from decimal import Decimal

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.conversion_ids import make_conversion_id
from linkjolt.conversions.early.adjustments import ACCOUNT_MAX, ORDER_MAX, EarlyAdjustments
from linkjolt.conversions.early.entries import WAIT_MS
from linkjolt.conversions.proposed import Author, ProposedAdjustment
from linkjolt.conversions.reservations import NamedOrder, encode_reservation, parse_reservation
from linkjolt.datasets import Account, Dataset, dataset_of_tests, is_test
from linkjolt.events import AdjustmentKind, ConversionState
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.redis import call
from tests.linkjolt.conversions.test_ledger import NOW_MS, a_state

SHARDS = 4
LIVE = Dataset(1)
OWNER = Author("key_1")
BOUND = Author("key_2", "bound", campaign=3)
CLICK = "38G6DGCQM00000400G029SGT1X"


def an_order(order_id: str = "o1", **fields: str) -> NamedOrder:
    return NamedOrder(LIVE, "sale", order_id, **fields)


def proposed(
    kind: AdjustmentKind = "refunded", adjustment_id: str = "a", **fields: object
) -> ProposedAdjustment:
    known = {"adjustment_id": adjustment_id, "kind": kind, "author": OWNER, "reason": "said so"}
    return msgspec.convert({**known, **fields}, ProposedAdjustment)


class Orders:
    """Early adjustments of a Redis, and the orders that are stored in it."""

    def __init__(self, redis: Redis, shards: int = SHARDS) -> None:
        self.redis = redis
        self.shards = shards
        self.early = self.another()

    def another(self) -> EarlyAdjustments:
        """Makes what another process has."""
        return EarlyAdjustments(self.redis, self.shards, 0, turn_ms=0)

    def shard(self, order: NamedOrder) -> int:
        return int(order.digest, 16) % self.shards

    async def store(self, order: NamedOrder, **fields: object) -> None:
        """Stores a conversion of 99.99 USD and the reservation of its order."""
        await self._store(order, order.digest, **fields)

    async def claim(self, order: NamedOrder, campaign: int) -> None:
        """Stores the order as one of a campaign, and the campaign's claim on the account's."""
        digest = order.campaign_digest(campaign)
        await self._store(order, digest, campaign=campaign, hand="bound", order_scope="campaign")
        account_order = redis_keys.order(self.shard(order), order.digest)
        claims: bytes = await call(self.redis, "GET", account_order) or b"!"
        if claims.startswith(b"!"):
            await call(self.redis, "SET", account_order, claims + f" {campaign}:{digest}".encode())

    async def _store(self, order: NamedOrder, digest: str, **fields: object) -> None:
        shard = self.shard(order)
        identity = make_conversion_id(shard, NOW_MS)
        state = a_state(conversion_id=identity, order_id=order.order_id, **fields)
        raw = encode_reservation(state.conversion_id, "", state)
        await call(self.redis, "SET", redis_keys.order(shard, digest), raw)
        await call(self.redis, "SET", redis_keys.conversion(shard, identity), digest)

    async def state(self, order: NamedOrder, campaign: int = 0) -> ConversionState:
        digest = order.campaign_digest(campaign) if campaign else order.digest
        raw: bytes = await call(self.redis, "GET", redis_keys.order(self.shard(order), digest))
        return parse_reservation(raw).state

    async def kinds(self, order: NamedOrder, campaign: int = 0) -> list[str]:
        return [entry.kind for entry in (await self.state(order, campaign)).history]

    async def keys(self) -> list[bytes]:
        """Lists all keys of early adjustments."""
        return sorted(await call(self.redis, "KEYS", "*:early*"))


@pytest.fixture
def orders(redis: Redis) -> Orders:
    return Orders(redis)


async def test_what_waits_is_applied_in_order_once_its_order_is_stored(orders: Orders) -> None:
    for number in range(8):
        order = an_order(f"o{number}")
        for kind in ("approved", "refunded", "paid"):
            await orders.early.park(order, proposed(kind, kind), NOW_MS)
        assert await orders.early.apply_due(NOW_MS) == 3
        assert orders.early.take_counts() == {}
        await orders.store(order)
        await orders.early.apply_due(NOW_MS + 1)
        assert await orders.kinds(order) == ["approved", "refunded", "paid"]
        assert orders.early.take_counts() == {"applied": 3}
    assert await orders.keys() == []


async def test_the_same_one_is_parked_once_and_another_under_its_id_is_a_conflict(
    orders: Orders,
) -> None:
    first = await orders.early.park(an_order(), proposed(amount="10.00"), NOW_MS)
    again = await orders.early.park(an_order(), proposed(amount="10"), NOW_MS + 5)
    assert again.expires_ms == first.expires_ms == NOW_MS + WAIT_MS
    with pytest.raises(Rejected) as refused:
        await orders.early.park(an_order(), proposed(amount="11"), NOW_MS)
    assert (refused.value.reason, refused.value.field) == (Reason.conflict, "adjustment_id")
    assert await orders.early.apply_due(NOW_MS) == 1


async def test_what_the_conversion_does_not_allow_is_readable_as_failed(orders: Orders) -> None:
    order = an_order()
    await orders.early.park(order, proposed(amount="100"), NOW_MS)
    await orders.early.park(order, proposed("approved", "b"), NOW_MS)
    await orders.store(order)
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(order) == ["approved"]
    assert orders.early.take_counts() == {"applied": 1, "refused": 1}
    waiting, [failed] = await orders.early.list_order(order, NOW_MS)
    assert waiting == []
    assert (failed.code, failed.field) == (Reason.amount_exceeds, "amount")
    assert failed.early.proposed.amount == Decimal(100)
    assert await orders.early.list_order(order, NOW_MS + WAIT_MS) == ([], [])
    [key] = await orders.keys()
    assert 0 < await call(orders.redis, "PTTL", key) <= WAIT_MS


async def test_what_no_conversion_came_for_ends_after_72_hours_each_in_its_time(
    orders: Orders,
) -> None:
    order = an_order()
    await orders.early.park(order, proposed(adjustment_id="a"), NOW_MS)
    await orders.early.park(order, proposed(adjustment_id="b"), NOW_MS + 10)
    await orders.early.apply_due(NOW_MS + WAIT_MS - 1)
    assert orders.early.take_counts() == {}
    assert await orders.early.apply_due(NOW_MS + WAIT_MS) == 2
    assert orders.early.take_counts() == {"expired": 1}
    [waiting], [failed] = await orders.early.list_order(order, NOW_MS + WAIT_MS)
    assert (waiting.proposed.adjustment_id, failed.code) == ("b", Reason.not_found)
    await orders.early.apply_due(NOW_MS + WAIT_MS + 10)
    assert orders.early.take_counts() == {"expired": 1}
    await orders.store(order)
    await orders.early.apply_due(NOW_MS + WAIT_MS + 20)
    assert await orders.kinds(order) == []
    assert all(b"failed" in key for key in await orders.keys())


@pytest.mark.parametrize("author", [OWNER, BOUND])
async def test_an_order_of_a_campaign_is_found_in_every_shard(
    orders: Orders, author: Author
) -> None:
    found = Counter[int]()
    for number in range(16):
        order = an_order(f"o{number}")
        await orders.early.park(order, proposed(author=author), NOW_MS)
        await orders.claim(order, 3)
        await orders.early.apply_due(NOW_MS)
        assert await orders.kinds(order, 3) == ["refunded"]
        found[orders.shard(order)] += 1
    assert len(found) == SHARDS
    assert await orders.keys() == []


async def test_an_order_of_several_campaigns_needs_the_campaign_s_name(orders: Orders) -> None:
    order = an_order()
    await orders.early.park(order, proposed(), NOW_MS)
    await orders.early.park(order, proposed(adjustment_id="b", campaign=4), NOW_MS)
    await orders.claim(order, 3)
    await orders.claim(order, 4)
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(order, 3) == []
    assert await orders.kinds(order, 4) == ["refunded"]
    _, [failed] = await orders.early.list_order(order, NOW_MS)
    assert (failed.code, failed.field) == (Reason.missing_field, "campaign_id")


async def test_the_account_s_order_is_preferred_unless_it_is_of_another_campaign(
    orders: Orders,
) -> None:
    for order_id, campaign, applied in (("same", 3, True), ("other", 4, False)):
        order = an_order(order_id)
        await orders.early.park(order, proposed(campaign=3), NOW_MS)
        await orders.claim(order, 3)
        await orders.store(order, campaign=campaign)
        await orders.early.apply_due(NOW_MS)
        assert await orders.kinds(order) == ["refunded"] * applied
        assert await orders.kinds(order, 3) == ["refunded"] * (not applied)


async def test_a_bound_author_waits_for_the_order_of_its_own_campaign(orders: Orders) -> None:
    order = an_order()
    await orders.early.park(order, proposed(author=BOUND), NOW_MS)
    await orders.claim(order, 4)
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(order, 4) == []
    await orders.claim(order, 3)
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(order, 3) == ["refunded"]
    assert await orders.kinds(order, 4) == []


async def test_only_the_conversion_of_the_same_click_is_changed(orders: Orders) -> None:
    order = an_order()
    await orders.early.park(order, proposed(click_id=CLICK), NOW_MS)
    await orders.store(order, click_id="38G6DGCQM00000400G029SGT1Y")
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(order) == []
    _, [failed] = await orders.early.list_order(order, NOW_MS)
    assert (failed.code, failed.field) == (Reason.conflict, "click_id")


async def test_an_order_that_is_unique_in_its_click_is_apart_from_the_account_s(
    orders: Orders,
) -> None:
    in_click = an_order(click_id=CLICK)
    await orders.early.park(in_click, proposed(), NOW_MS)
    await orders.store(an_order())
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(an_order()) == []
    await orders.store(in_click, click_id=CLICK)
    await orders.early.apply_due(NOW_MS)
    assert await orders.kinds(in_click) == ["refunded"]


async def test_a_crash_between_applying_and_taking_out_applies_once(orders: Orders) -> None:
    order = an_order()
    await orders.early.park(order, proposed(amount="10"), NOW_MS)
    await orders.early.park(order, proposed(adjustment_id="b", amount="5"), NOW_MS)
    await orders.store(order)
    key = redis_keys.early_order(orders.shard(order), order.digest)
    before = await call(orders.redis, "DUMP", key)
    await orders.early.apply_due(NOW_MS)
    # As another process left it, which applied the adjustments and did not get any further.
    await call(orders.redis, "RESTORE", key, 0, before)
    waiting = redis_keys.early(orders.shard(order))
    await call(orders.redis, "ZADD", waiting, NOW_MS + 9, order.digest)
    await orders.another().apply_due(NOW_MS)
    assert (await orders.state(order)).refundable_minor == 8499
    assert await orders.kinds(order) == ["refunded", "refunded"]


async def test_two_processes_apply_each_once(orders: Orders) -> None:
    other = orders.another()
    placed = [an_order(f"o{number}") for number in range(30)]
    for order in placed:
        for name in ("a", "b"):
            await orders.early.park(order, proposed(adjustment_id=name, amount="1"), NOW_MS)
        await orders.store(order)
    await asyncio.gather(orders.early.apply_due(NOW_MS), other.apply_due(NOW_MS))
    counts = orders.early.take_counts() + other.take_counts()
    assert counts == {"applied": 60}
    for order in placed:
        assert (await orders.state(order)).refundable_minor == 9799
        assert await orders.kinds(order) == ["refunded", "refunded"]


async def test_of_several_processes_one_looks_in_a_turn(orders: Orders) -> None:
    order = an_order()
    early = EarlyAdjustments(orders.redis, SHARDS, 0, turn_ms=60_000)
    other = EarlyAdjustments(orders.redis, SHARDS, 0, turn_ms=60_000)
    await early.park(order, proposed(), NOW_MS)
    await early.apply_due(NOW_MS)
    await orders.store(order)
    assert await other.apply_due(NOW_MS) == 1
    assert await orders.kinds(order) == []
    # An order that is adjusted now does not wait for a turn.
    await other.apply_order(order.digest, NOW_MS)
    assert await orders.kinds(order) == ["refunded"]


async def test_the_bounds_of_an_order_and_an_account_are_those_of_their_own_keys(
    redis: Redis,
) -> None:
    orders = Orders(redis, 1)
    for number in range(ORDER_MAX):
        step = proposed(adjustment_id=f"a{number}", author=BOUND)
        await orders.early.park(an_order(), step, NOW_MS)
    with pytest.raises(Rejected, match="waiting for it") as refused:
        await orders.early.park(an_order(), proposed(author=BOUND), NOW_MS)
    assert (refused.value.reason, refused.value.field) == (Reason.too_many_waiting, "order_id")
    await orders.early.park(an_order(), proposed(), NOW_MS)
    await call(redis, "HSET", redis_keys.early_counts(0), "1/3", ACCOUNT_MAX - 1)
    await orders.early.park(an_order("o2"), proposed(author=BOUND), NOW_MS)
    with pytest.raises(Rejected) as refused:
        await orders.early.park(an_order("o3"), proposed(author=BOUND), NOW_MS)
    assert (refused.value.reason, refused.value.field) == (Reason.too_many_waiting, "")
    await orders.early.park(an_order("o3"), proposed(), NOW_MS)


async def test_all_that_wait_are_looked_for_also_behind_many_newer_ones(redis: Redis) -> None:
    orders = Orders(redis, 1)
    oldest = an_order("oldest")
    await orders.early.park(oldest, proposed(), NOW_MS)
    newer = [f"{number:032x}" for number in range(1, ACCOUNT_MAX)]
    for at in range(0, len(newer), 1_000):
        members = [part for n in newer[at : at + 1_000] for part in (NOW_MS + WAIT_MS + 1, n)]
        await call(redis, "ZADD", redis_keys.early(0), *members)
    for order in (oldest, an_order("another")):
        await orders.early.park(order, proposed(adjustment_id="b"), NOW_MS)
        await orders.store(order)
        await orders.early.apply_due(NOW_MS)
        assert await orders.kinds(order) != []


async def test_those_that_cannot_be_applied_yet_do_not_hold_up_the_others(redis: Redis) -> None:
    orders = Orders(redis, 1)
    for number in range(1_000):
        order = an_order(f"o{number}")
        await orders.early.park(order, proposed(author=BOUND), NOW_MS)
        claims = redis_keys.order(0, order.digest)
        await call(redis, "SET", claims, f"! 4:{order.campaign_digest(4)}")
    other = an_order("other")
    await orders.early.park(other, proposed(), NOW_MS)
    await orders.store(other)
    for _ in range(100):
        await orders.early.apply_due(NOW_MS)
        if await orders.kinds(other):
            break
    assert await orders.kinds(other) == ["refunded"]


async def test_an_entry_of_a_later_release_is_left_alone_until_it_expires(redis: Redis) -> None:
    orders = Orders(redis, 1)
    order = an_order()
    await orders.early.park(order, proposed(), NOW_MS)
    key = redis_keys.early_order(0, order.digest)
    unknown = f"{NOW_MS + WAIT_MS}\n1/0\nz\nd\n{{}}"
    await call(redis, "RPUSH", key, unknown)
    await orders.store(order)
    await orders.early.apply_due(NOW_MS)
    assert await call(redis, "LRANGE", key, 0, -1) == [unknown.encode()]
    await orders.early.apply_due(NOW_MS + WAIT_MS)
    assert await call(redis, "EXISTS", key) == 0


async def test_the_adjustments_of_test_orders_can_be_forgotten(orders: Orders) -> None:
    tests = NamedOrder(dataset_of_tests(Account(1)), "sale", "o1")
    await orders.early.park(tests, proposed(), NOW_MS)
    await orders.early.park(an_order(), proposed(), NOW_MS)
    await orders.early.forget(is_test)
    assert await orders.early.list_order(tests, NOW_MS) == ([], [])
    assert await orders.early.apply_due(NOW_MS) == 1
