"""Beyond the bound of its queue an endpoint's events wait in the warehouse, and none is lost."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest

from aggregator.deliveries.loop import DeliveryLogLoop
from aggregator.deliveries.skipped import SkippedEntries
from aggregator.deliveries.stored_events import StoredEvents
from aggregator.delivery.streams import Streams
from aggregator.delivery.trim import Trimmer
from linkjolt import datasets, redis_keys
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest, Payee
from linkjolt.datasets import Account, Dataset
from linkjolt.events import Conversion
from linkjolt.registry.entries import Webhook
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.redis import call
from linkjolt.webhooks.deliveries.backlog import QueueBounds
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.events import EVENT_TYPES, WebhookEvent, events_of_fact, webhook_id
from linkjolt.webhooks.queue import Delivery
from outbound.feed import WebhookFeed
from tests.aggregator.conftest import Line
from tests.aggregator.deliveries.conftest import Hooks

CONVERSIONS, CLICKS = redis_keys.conversions(0), redis_keys.clicks(0)
STEPS: Sequence[tuple[str, dict[str, object]]] = (
    ("refunded", {"amount_minor": 999}),
    ("restated", {"order_value_minor": 8_000}),
    ("approved", {}),
    ("paid", {}),
    ("unpaid", {}),
    ("rejected", {"reason": "so"}),
    ("approved", {"reason": "after all"}),
    ("reinstated", {}),
)


async def feed(hooks: Hooks) -> None:
    """Queues new events as a webhooks process does that was just started."""
    feeding = WebhookFeed(hooks.redis, Endpoints(hooks.redis), hooks.queue, 1)
    while await feeding.enqueue_new(1):
        pass


async def feed_clicks(hooks: Hooks) -> None:
    """Has the next `feed` begin with clicks that exist already."""
    await call(hooks.redis, "XGROUP", "CREATE", CLICKS.key, "webhooks", "0", "MKSTREAM")


async def convert(line: Line, count: int, start: int = 0) -> list[Conversion]:
    made = [line.make_conversion(start + n) for n in range(count)]
    for one in made:
        await line.convert(one)
    return made


async def adjust(line: Line, conversion_id: str) -> None:
    """Makes each kind of adjustment of a conversion."""
    adjuster = ConversionAdjuster(line.redis, 1, 0)
    for number, (kind, fields) in enumerate(STEPS):
        request = msgspec.convert(
            {"adjustment_id": f"a{number}", "kind": kind, "author": "key_1"} | fields,
            AdjustmentRequest,
        )
        await adjuster.adjust(Dataset(1), conversion_id, lambda _, made=request: made, number)


def bodies(deliveries: Sequence[Delivery]) -> list[tuple[str, str, int, str]]:
    return [(one.webhook_id, one.event, one.event_ms, one.body) for one in deliveries]


async def sent(hooks: Hooks, at_once: int = 50, most: int = 1_000_000) -> list[Delivery]:
    """Delivers until nothing is left, as fast as the aggregator queues it."""
    found: list[Delivery] = []
    idle = 0
    while idle < 3:
        more = await hooks.step()
        page = await hooks.deliver(1, at_once)
        assert (await hooks.backlog(1)).pending <= most
        found += page
        idle = 0 if page or more else idle + 1
    return found


async def make_history(line: Line, click_id: str) -> None:
    """Publishes conversions of several sorts, and each kind of adjustment."""
    sale, other, nobody = (line.make_conversion(number, click_id) for number in range(3))
    nobody = msgspec.structs.replace(
        nobody, campaign=0, affiliate=0, link=0, click_id="", attribution="none"
    )
    yen = msgspec.structs.replace(other, currency="JPY", order_value_minor=1_234, event="lead")
    pixel = msgspec.structs.replace(
        line.make_conversion(9, click_id),
        verified=False,
        hand="pixel",
        order_scope="pixel",
        commission_minor=0,
    )
    for conversion in (sale, yen, nobody, pixel):
        await line.convert(conversion)
    await adjust(line, sale.conversion_id)
    adjuster = ConversionAdjuster(line.redis, 1, 0)
    given = AdjustmentRequest(
        adjustment_id="g",
        kind="attributed",
        author="key_1",
        payee=Payee(campaign=5, affiliate=6, rule=0, link=7),
    )
    await adjuster.adjust(Dataset(1), nobody.conversion_id, lambda _: given, 5)
    # Whatever verifies a conversion is its creation, too.
    known = AdjustmentRequest(adjustment_id="v", kind="approved", author="key_1")
    await adjuster.adjust(Dataset(1), pixel.conversion_id, lambda _: known, 6)


async def test_the_body_of_every_kind_of_event_is_made_again_to_the_byte(
    hooks: Hooks, line: Line
) -> None:
    webhook = await hooks.endpoint(events=EVENT_TYPES)
    await feed_clicks(hooks)
    [click] = await line.click(1, sub1="a", source_id="b", external_id="c")
    await make_history(line, click.click_id)
    await feed(hooks)
    live = (await hooks.queue.read_pending(1, 100))[::-1]
    assert {one.event for one in live} >= {*EVENT_TYPES}
    clicks = [one for one in live if one.click_id]
    live = [one for one in live if not one.click_id]
    await line.step_until_idle()
    stored = StoredEvents(hooks.clickhouse)
    page = await stored.read(webhook, CONVERSIONS, 0, 1 << 62, 1_000)
    assert bodies(page.deliveries) == bodies(live)
    assert [one.event for one in page.deliveries[-2:]] == [
        "conversion.created",
        "conversion.approved",
    ]
    page = await stored.read(webhook, CLICKS, 0, 1 << 62, 1_000)
    assert bodies(page.deliveries) == bodies(clicks)
    [found] = await hooks.log.with_bodies([msgspec.structs.replace(clicks[0], body="")])
    assert found == clicks[0]
    assert msgspec.json.decode(found.body)["data"]["sub1"] == "a"


@pytest.mark.long
async def test_a_backlog_over_its_bound_is_delivered_whole_in_order_and_once(
    hooks: Hooks, line: Line
) -> None:
    hooks.restart(webhook_backlog_count=60)
    hooks.queue.bounds = QueueBounds(pending=60)
    webhook = await hooks.endpoint()
    made = await convert(line, 500)
    await feed(hooks)
    assert (await hooks.backlog(1)).pending == 60
    await line.step_until_idle()
    # While the endpoint is away nothing moves, but for its bound.
    for _ in range(3):
        await hooks.step()
    assert (await hooks.backlog(1)).pending == 60
    found = await sent(hooks, 20, most=60)
    assert [msgspec.json.decode(one.body)["data"]["conversion_id"] for one in found] == [
        one.conversion_id for one in made
    ]
    assert (await hooks.backlog(1)).ranges == ()
    # Later events are queued at once again.
    await convert(line, 5, 500)
    await feed(hooks)
    pending = await hooks.queue.read_pending(1, 100)
    assert len(pending) >= 5
    assert await hooks.log.count(webhook.number, 0, 1 << 45) == 500


@pytest.mark.long
async def test_events_that_come_while_a_range_is_worked_on_are_not_lost(
    hooks: Hooks, line: Line
) -> None:
    hooks.restart(webhook_backlog_count=40)
    hooks.queue.bounds = QueueBounds(pending=40)
    await hooks.endpoint(events=("conversion.created", "conversion.refunded"))
    found: list[Delivery] = []
    for turn in range(12):
        await convert(line, 30, turn * 30)
        await feed(hooks)
        if turn % 3 == 1:
            await line.step_until_idle()
        await hooks.step()
        found += await hooks.deliver(1, 17)
    await line.step_until_idle()
    found += await sent(hooks, most=80)
    assert len({one.webhook_id for one in found}) == len(found) == 360


async def test_what_is_not_stored_yet_is_waited_for(hooks: Hooks, line: Line) -> None:
    hooks.queue.bounds = QueueBounds(pending=0)
    await hooks.endpoint()
    await convert(line, 10)
    await feed(hooks)
    await hooks.step()
    assert (await hooks.backlog(1)).pending == 0
    assert len((await hooks.backlog(1)).ranges) == 1
    await line.step_until_idle()
    assert len(await sent(hooks)) == 10


async def test_clicks_wait_in_the_warehouse_too(hooks: Hooks, line: Line) -> None:
    hooks.queue.bounds = QueueBounds(pending=5)
    webhook = await hooks.endpoint(events=("click.created",))
    await feed_clicks(hooks)
    clicks = await line.click(40, sub1="mail")
    head = msgspec.structs.replace(line.make_click(), kind="head")
    await line.clicks.publish(msgspec.json.encode(head).decode())
    await feed(hooks)
    await line.step_until_idle()
    found = await sent(hooks)
    expected = {webhook_id_of(click.click_id, webhook) for click in clicks}
    assert {one.webhook_id for one in found} == expected
    assert len(found) == 40
    assert all(msgspec.json.decode(one.body)["data"]["sub1"] == "mail" for one in found)


def webhook_id_of(click_id: str, webhook: Webhook) -> str:
    event = WebhookEvent(
        "click.created", click_id, Dataset(1), frozenset(), frozenset(), Decimal(0), b""
    )
    return webhook_id(event, webhook.number)


async def test_a_range_is_judged_by_the_filter_of_the_day_it_is_queued(
    hooks: Hooks, line: Line
) -> None:
    hooks.queue.bounds = QueueBounds(pending=0)
    webhook = await hooks.endpoint()
    made = await convert(line, 6)
    await line.convert(msgspec.structs.replace(line.make_conversion(6), campaign=9))
    await line.convert(msgspec.structs.replace(line.make_conversion(7), order_value_minor=1))
    test = msgspec.structs.replace(
        line.make_conversion(8), account=datasets.dataset_of_tests(Account(1))
    )
    await line.convert(test)
    await feed(hooks)
    await line.step_until_idle()
    narrower = {"campaigns": (2,), "min_value": Decimal(50)}
    await hooks.registry.patch(
        Webhook, webhook.account, 1, lambda entry: msgspec.structs.replace(entry, **narrower)
    )
    found = await sent(hooks)
    ids = [msgspec.json.decode(one.body)["data"]["conversion_id"] for one in found]
    assert ids == [one.conversion_id for one in made]
    assert (await hooks.backlog(1)).ranges == ()


@pytest.mark.long
async def test_many_events_of_one_frame_are_queued_whole(hooks: Hooks, line: Line) -> None:
    hooks.restart(webhook_backlog_count=10)
    hooks.queue.bounds = QueueBounds(pending=0)
    await hooks.endpoint()
    lines = [msgspec.json.encode(line.make_conversion(number)) for number in range(300)]
    for start in range(0, 300, 100):
        frame = b"\n".join(lines[start : start + 100])
        await call(hooks.redis, "XADD", CONVERSIONS.key, "*", "f", frame)
        hour = int(datetime.now(UTC).timestamp() // 3_600)
        await call(hooks.redis, "HINCRBY", CONVERSIONS.ledger_key, hour, 100)
    await feed(hooks)
    await line.step_until_idle()
    found = await sent(hooks, 7)
    assert len({one.webhook_id for one in found}) == len(found) == 300


async def test_two_aggregators_queue_a_range_once(hooks: Hooks, line: Line) -> None:
    hooks.queue.bounds = QueueBounds(pending=0)
    await hooks.endpoint()
    await convert(line, 200)
    await feed(hooks)
    await line.step_until_idle()
    settings = AggregatorSettings(webhook_backlog_count=80)
    loops = [DeliveryLogLoop(hooks.redis, hooks.clickhouse, settings) for _ in range(2)]
    found: list[Delivery] = []
    while len(found) < 200:
        await asyncio.gather(*(loop.step() for loop in loops))
        found += await hooks.deliver(1, 30)
    assert await sent(hooks) == []
    assert len({one.webhook_id for one in found}) == 200


@pytest.mark.long
async def test_a_disabled_endpoint_keeps_its_place_for_as_long_as_it_takes(
    hooks: Hooks, line: Line
) -> None:
    hooks.restart(webhook_backlog_count=10)
    hooks.queue.bounds = QueueBounds(pending=10)
    webhook = await hooks.endpoint(status="disabled")
    await convert(line, 50)
    await feed(hooks)
    await line.step_until_idle()
    # Redis forgets the events: they are stored.
    await call(hooks.redis, "XTRIM", CONVERSIONS.key, "MAXLEN", 0)
    await hooks.store()
    assert (await hooks.backlog(webhook.number)).pending == 10
    found = await sent(hooks, 3)
    assert len({one.webhook_id for one in found}) == len(found) == 50


@pytest.mark.parametrize("count", [1, 2])
async def test_the_smallest_bounds_let_all_through(hooks: Hooks, line: Line, count: int) -> None:
    hooks.restart(webhook_backlog_count=count, webhook_backlog_bytes=1)
    hooks.queue.bounds = QueueBounds(pending=count, pending_bytes=1)
    await hooks.endpoint()
    await convert(line, 7)
    await feed(hooks)
    await line.step_until_idle()
    assert len({one.webhook_id for one in await sent(hooks)}) == 7


async def test_events_that_come_while_redis_is_full_are_delivered_afterwards(
    hooks: Hooks, line: Line
) -> None:
    await hooks.endpoint()
    await hooks.endpoint(events=("conversion.refunded",))
    made = await convert(line, 2)
    await feed(hooks)
    made += await convert(line, 30, 2)
    await line.step_until_idle()
    await call(hooks.redis, "CONFIG", "SET", "maxmemory", 1)
    try:
        await feed(hooks)
        # They are acknowledged: the trim need not wait for them.
        pending = await call(hooks.redis, "XPENDING", CONVERSIONS.key, "webhooks")
        assert pending["pending"] == 0
        assert [one.name for one in (await hooks.backlog(1)).ranges] == ["1"]
        assert (await hooks.backlog(1)).pending == 2
        found = await hooks.deliver(1)
    finally:
        await call(hooks.redis, "CONFIG", "SET", "maxmemory", 0)
    found += await sent(hooks)
    assert [one.webhook_id for one in found] == [created_id(one) for one in made]


async def test_entries_that_are_trimmed_unread_are_read_from_the_warehouse(
    hooks: Hooks, line: Line
) -> None:
    await hooks.endpoint()
    await hooks.endpoint(events=("click.created",))
    made = await convert(line, 3)
    await feed(hooks)
    # The webhooks process is away, and memory is over its bound, twice.
    settings = AggregatorSettings(stream_retention_hours=0, stream_memory_max_bytes=1)
    position, skipped = line.aggregation.trimmable_position, SkippedEntries(hooks.redis)
    for start in (3, 50):
        made += await convert(line, 20, start)
        await line.step_until_idle()
        await Trimmer(Streams(hooks.redis), position, settings, skipped.record).step()
        assert await call(hooks.redis, "XLEN", CONVERSIONS.key) < 20
    made += await convert(line, 5, 100)
    await line.step_until_idle()
    await feed(hooks)
    found = await sent(hooks)
    assert {one.webhook_id for one in found} == {created_id(one) for one in made}
    # The entry that was read last is sent again by the first trim.
    assert len(found) <= len(made) + 2
    assert (await hooks.backlog(1)).ranges == (await hooks.backlog(2)).ranges == ()


def created_id(conversion: Conversion) -> str:
    [event] = events_of_fact(conversion)
    return webhook_id(event, 1)
