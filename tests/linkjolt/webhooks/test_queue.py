"""The queue keeps what is pending and the last outcomes, within bounds, on a full server too."""

import random
import time
from collections.abc import AsyncIterator, Sequence

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Dataset
from linkjolt.storage.redis import ResponseError, call, is_out_of_memory
from linkjolt.webhooks.deliveries.backlog import (
    Backlog,
    BacklogRange,
    QueueBounds,
    bounds_now,
    read_backlogs,
)
from linkjolt.webhooks.deliveries.delivery import make_place
from linkjolt.webhooks.queue import (
    LEASE_MS,
    OUTCOMES_KEPT,
    ClaimedDelivery,
    Delivery,
    DeliveryAttempt,
    DeliveryQueue,
)

NOW_MS = 1_800_000_000_000
STREAM = redis_keys.conversions(0)
OVERHEAD = 350


def delivery(number: int, place: int = 0, **fields: object) -> Delivery:
    """A delivery of an event at `number` milliseconds."""
    known = {"event": "conversion.created", "body": "{}", "account": 1, "place": place}
    identity = {"webhook_id": f"msg_{number}_{place}", "event_ms": number}
    return msgspec.convert(identity | known | fields, Delivery)


@pytest.fixture
async def queue(redis: Redis) -> AsyncIterator[DeliveryQueue]:
    yield DeliveryQueue(redis)
    await call(redis, "CONFIG", "SET", "maxmemory", 0)


async def enqueue(queue: DeliveryQueue, *deliveries: Delivery, webhook: int = 1) -> int:
    return await queue.enqueue([(webhook, one) for one in deliveries], NOW_MS, STREAM)


async def finish(queue: DeliveryQueue, count: int = 1, webhook: int = 1) -> list[Delivery]:
    """Claims deliveries and records each as delivered by one request."""
    claimed = await queue.claim(webhook, NOW_MS, count)
    attempt = DeliveryAttempt(at_ms=NOW_MS, took_ms=5, status=200, answer="thanks")
    done = [
        (one, msgspec.structs.replace(one.delivery, state="delivered", tries=(attempt,)), 0)
        for one in claimed
    ]
    await queue.record(webhook, done)
    return [one.delivery for one in claimed]


def tried(claimed: ClaimedDelivery) -> Delivery:
    return msgspec.structs.replace(claimed.delivery, attempt=1)


async def backlog(redis: Redis, webhook: int = 1) -> Backlog:
    return (await read_backlogs(redis, [webhook]))[webhook]


def events(deliveries: Sequence[Delivery]) -> list[tuple[int, int]]:
    return [(one.event_ms, one.place) for one in deliveries]


async def test_deliveries_are_claimed_in_the_order_of_their_events(queue: DeliveryQueue) -> None:
    made = [delivery(5, make_place(n // 3, n % 3)) for n in range(9)] + [delivery(6), delivery(4)]
    random.shuffle(made)
    await enqueue(queue, *made)
    claimed = [one.delivery for one in await queue.claim(1, NOW_MS, 20)]
    assert events(claimed) == sorted(events(made))


async def test_a_replay_waits_until_nothing_else_is_due(queue: DeliveryQueue) -> None:
    await enqueue(queue, *(delivery(n) for n in range(1, 4)))
    await finish(queue, 3)
    assert await queue.replay(1, 1, 4, NOW_MS) == 3
    await enqueue(queue, delivery(50))
    [first] = await queue.claim(1, NOW_MS, 10)
    assert first.delivery.event_ms == 50
    rest = await queue.claim(1, NOW_MS, 10)
    assert events([one.delivery for one in rest]) == [(1, 0), (2, 0), (3, 0)]
    # One that failed goes on in its lane.
    await queue.record(1, [(rest[0], tried(rest[0]), NOW_MS + 7)])
    assert await queue.next_due_ms([1]) == {1: NOW_MS + 7}
    await queue.record(1, [(first, tried(first), NOW_MS + 9)])
    again = await queue.claim(1, NOW_MS + 9, 10)
    assert [one.delivery.event_ms for one in again] == [50]


async def test_what_is_finished_leaves_an_outcome_and_an_entry_of_the_log(
    queue: DeliveryQueue, redis: Redis
) -> None:
    await enqueue(queue, *(delivery(n) for n in range(1, 151)))
    for _ in range(3):
        await finish(queue, 50)
    outcomes = await queue.read_outcomes(1)
    assert [one.event_ms for one in outcomes] == [*range(150, 50, -1)]
    assert len(outcomes) == OUTCOMES_KEPT
    assert outcomes[0].body == "{}"
    assert [one.answer for one in outcomes[0].tries] == ["thanks"]
    assert len(await queue.read_unstored(1, 1_000)) == 150
    assert (await backlog(redis)).pending_bytes == 0
    kept = {redis_keys.webhook_outcomes(1), redis_keys.webhook_finished(1)}
    kept.add(redis_keys.webhook_backlog(1))
    assert {raw.decode() for raw in await call(redis, "KEYS", "lj:{w:1}:*")} == kept


async def test_nothing_of_a_click_is_kept_but_its_id(queue: DeliveryQueue, redis: Redis) -> None:
    secret = "sub1 of the visitor"
    await enqueue(queue, delivery(1, event="click.created", click_id="C1", body=secret))
    await finish(queue)
    [outcome] = await queue.read_outcomes(1)
    assert (outcome.body, outcome.click_id, outcome.state) == ("", "C1", "delivered")
    assert [(one.status, one.answer) for one in outcome.tries] == [(200, "")]
    for key in await call(redis, "KEYS", "*"):
        assert secret.encode() not in await call(redis, "DUMP", key)


async def test_old_answers_are_dropped_from_a_delivery_that_is_tried_often(
    queue: DeliveryQueue,
) -> None:
    await enqueue(queue, delivery(1))
    [claimed] = await queue.claim(1, NOW_MS, 1)
    attempt = DeliveryAttempt(at_ms=1, took_ms=1, status=500, answer="x" * 1_000)
    failing = msgspec.structs.replace(claimed.delivery, tries=(attempt,) * 20)
    await queue.record(1, [(claimed, failing, NOW_MS)])
    [pending] = await queue.read_pending(1, 10)
    assert [len(one.answer) for one in pending.tries] == [0] * 16 + [1_000] * 4
    assert {one.status for one in pending.tries} == {500}


async def test_what_was_queued_anew_meanwhile_stays_queued(queue: DeliveryQueue) -> None:
    await enqueue(queue, delivery(1))
    [claimed] = await queue.claim(1, NOW_MS, 1)
    assert await queue.resend(1, [claimed.delivery], NOW_MS + 1) == 1
    await queue.record(1, [(claimed, claimed.delivery, 0)])
    assert await queue.read_outcomes(1) == []
    [again] = await queue.claim(1, NOW_MS + 1, 1)
    assert (again.delivery.round, again.delivery.attempt) == (1, 0)


async def test_an_attempt_is_recorded_once_by_the_holder_of_the_lease(
    queue: DeliveryQueue,
) -> None:
    await enqueue(queue, delivery(1))
    [dead] = await queue.claim(1, NOW_MS, 1)
    assert await queue.claim(1, NOW_MS + LEASE_MS - 1, 1) == []
    [heir] = await queue.claim(1, NOW_MS + LEASE_MS, 1)
    await queue.record(1, [(dead, dead.delivery, 0)])
    assert await queue.read_outcomes(1) == []
    for _ in range(2):
        await queue.record(1, [(heir, heir.delivery, 0)])
    assert len(await queue.read_unstored(1, 10)) == 1


async def test_a_claim_that_was_not_tried_keeps_its_place(queue: DeliveryQueue) -> None:
    await enqueue(queue, *(delivery(n) for n in range(1, 6)))
    claimed = await queue.claim(1, NOW_MS, 2)
    await queue.record(1, [(one, one.delivery, NOW_MS) for one in claimed])
    again = [one.delivery for one in await queue.claim(1, NOW_MS, 5)]
    assert [one.event_ms for one in again] == [1, 2, 3, 4, 5]


async def test_beyond_the_bound_events_become_a_range(queue: DeliveryQueue, redis: Redis) -> None:
    queue.bounds = QueueBounds(pending=3)
    assert await enqueue(queue, *(delivery(n) for n in range(1, 6))) == 3
    # Room again, but a later event may not overtake those that wait.
    await finish(queue, 3)
    assert await enqueue(queue, delivery(7)) == 0
    [found] = (await backlog(redis)).ranges
    assert found == BacklogRange(name="1", start=f"{4 << 20:020d}", end=f"{7 << 20:020d}")
    # Entries that a dead process left are older than the range, and in none.
    assert await enqueue(queue, delivery(2)) == 1
    # A test is of no stream.
    assert await queue.enqueue([(1, delivery(9))], NOW_MS) == 1
    assert (await backlog(redis)).ranges == (found,)


async def test_bytes_bound_a_backlog_too(queue: DeliveryQueue, redis: Redis) -> None:
    queue.bounds = QueueBounds(pending_bytes=10_000)
    assert await enqueue(queue, *(delivery(n, body="x" * 2_000) for n in range(1, 10))) == 5
    found = await backlog(redis)
    assert 10_000 <= found.pending_bytes < 13_000
    assert len(found.ranges) == 1


async def test_each_stream_has_a_range_of_its_own(queue: DeliveryQueue, redis: Redis) -> None:
    queue.bounds = QueueBounds(pending=0)
    await enqueue(queue, delivery(1))
    await queue.enqueue([(1, delivery(2))], NOW_MS, redis_keys.clicks(0))
    assert [one.name for one in (await backlog(redis)).ranges] == ["1", "0"]


async def test_the_log_drops_its_oldest_entries_and_counts_them(
    queue: DeliveryQueue, redis: Redis
) -> None:
    await enqueue(queue, *(delivery(n) for n in range(1, 41)))
    queue.bounds = QueueBounds(log_bytes=2_000)
    await finish(queue, 40)
    kept, found = await queue.read_unstored(1, 100), await backlog(redis)
    assert [one.event_ms for one in kept] == [*range(40, 40 - len(kept), -1)]
    assert 0 < len(kept) < 40
    assert found.dropped == 40 - len(kept)
    assert 0 < found.log_bytes <= 2_000


async def test_on_a_full_server_deliveries_end_and_events_become_a_range(
    queue: DeliveryQueue, redis: Redis
) -> None:
    await enqueue(queue, delivery(1), delivery(2))
    await call(redis, "CONFIG", "SET", "maxmemory", 1)
    with pytest.raises(ResponseError) as caught:
        await enqueue(queue, delivery(3))
    assert is_out_of_memory(caught.value)
    waiting = [(1, delivery(3)), (2, delivery(3))]
    assert await queue.enqueue(waiting, NOW_MS, STREAM, full=True) == 0
    for webhook in (1, 2):
        [found] = (await backlog(redis, webhook)).ranges
        assert (found.start, found.end) == (f"{3 << 20:020d}", f"{3 << 20:020d}")
    [first, second] = await queue.claim(1, NOW_MS, 2)
    await queue.record(1, [(first, first.delivery, 0), (second, second.delivery, NOW_MS + 1)])
    assert len(await queue.read_outcomes(1)) == 1
    await queue.delete(1)
    assert await call(redis, "KEYS", "lj:{w:1}:*") == []


async def test_a_deleted_endpoint_leaves_nothing(queue: DeliveryQueue, redis: Redis) -> None:
    queue.bounds = QueueBounds(pending=4)
    await enqueue(queue, *(delivery(n) for n in range(1, 9)))
    [claimed, *_] = await queue.claim(1, NOW_MS, 1)
    await finish(queue)
    await queue.replay(1, 0, 9, NOW_MS)
    await queue.delete(1)
    assert await call(redis, "KEYS", "*") == []
    # An attempt that ends after the deletion, too.
    await queue.record(1, [(claimed, claimed.delivery, 0)])
    await queue.record(1, [(claimed, claimed.delivery, NOW_MS)])
    assert await call(redis, "KEYS", "*") == []


async def test_pages_hold_every_pending_delivery_once_whatever_its_due_time(
    queue: DeliveryQueue,
) -> None:
    made = [delivery(n // 7, make_place(0, n % 7)) for n in range(1_200)]
    await enqueue(queue, *made)
    for one in await queue.claim(1, NOW_MS, 300):
        await queue.record(1, [(one, one.delivery, NOW_MS + random.randrange(9_999))])
    seen: list[Delivery] = []
    while page := await queue.read_pending(1, 100, seen[-1].key if seen else None):
        seen += page
    assert events(seen) == sorted(events(made), reverse=True)


async def test_the_bytes_are_those_of_what_is_pending_after_any_use(
    queue: DeliveryQueue, redis: Redis
) -> None:
    dice = random.Random(7)
    claimed: list[Delivery] = []
    for step in range(1, 400):
        action = dice.randrange(5)
        if action < 2:
            await enqueue(queue, delivery(step, body="x" * dice.randrange(900)))
        elif action == 2:
            for one in await queue.claim(1, NOW_MS, dice.randrange(1, 4)):
                due_ms = NOW_MS if dice.randrange(3) else 0
                await queue.record(1, [(one, tried(one), due_ms)])
                claimed.append(tried(one))
        elif action == 3 and claimed:
            await queue.resend(1, [dice.choice(claimed)], NOW_MS)
        elif action == 4:
            await queue.replay(1, step // 2, step, NOW_MS)
    stored = await call(redis, "HVALS", redis_keys.webhook_pending(1))
    found = await backlog(redis)
    assert found.pending == len(stored) > 20
    assert found.pending_bytes == sum(len(raw) + OVERHEAD for raw in stored)
    lanes = [redis_keys.webhook_due(1), redis_keys.webhook_later(1)]
    counts = [await call(redis, "ZCARD", key) for key in (*lanes, redis_keys.webhook_order(1))]
    assert counts[0] + counts[1] == counts[2] == len(stored)


def test_endpoints_share_what_redis_has_for_webhooks() -> None:
    bounds = QueueBounds()
    redis_bytes = 2 << 30
    assert bounds_now(bounds, [], redis_bytes) == bounds
    used: list[Backlog] = []
    # Each dead endpoint takes as much as it may, until no more is free.
    for _ in range(100):
        free = bounds_now(bounds, used, redis_bytes)
        used.append(Backlog(pending_bytes=free.pending_bytes, log_bytes=free.log_bytes))
    assert sum(one.pending_bytes for one in used) <= redis_bytes // 8
    assert sum(one.log_bytes for one in used) <= redis_bytes // 32
    assert bounds_now(bounds, [], 48 << 20).pending_bytes == 6 << 20
    assert bounds_now(bounds, [], 0) == bounds


async def test_a_pending_delivery_takes_as_much_of_redis_as_is_counted(
    queue: DeliveryQueue, redis: Redis
) -> None:
    async def used() -> int:
        return int((await call(redis, "INFO", "memory"))["used_memory"])

    before = await used()
    started = time.monotonic()
    for start in range(0, 20_000, 500):
        made = [
            delivery(n, webhook_id=f"msg_{n:032d}", body="x" * 500, account=Dataset(1))
            for n in range(start, start + 500)
        ]
        await enqueue(queue, *made)
    assert time.monotonic() - started < 30
    counted = (await backlog(redis)).pending_bytes
    assert 0.8 < (await used() - before) / counted < 1.2
