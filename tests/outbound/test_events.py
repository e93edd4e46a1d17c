"""Each endpoint receives the events that it subscribed to, correctly signed."""

import time
from collections.abc import Awaitable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from standardwebhooks import Webhook as Verifier

from linkjolt import datasets, redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.conversions.adjust import ConversionAdjuster
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest
from linkjolt.datasets import Account, Dataset
from linkjolt.events import Click
from linkjolt.registry.entries import Webhook, WebhookSecret
from linkjolt.storage.redis import call
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.signing import make_secret, verification_error
from outbound.feed import GROUP, WebhookFeed
from tests.outbound.conftest import SECRET, Line
from tests.outbound.receiver import Arrived, receiving
from tests.waiting import wait_until


async def test_an_event_arrives_signed_by_both_schemes(line: Line) -> None:
    async with receiving() as shop, line.delivering():
        await line.endpoint(shop.url)
        [made] = await line.convert()
        await wait_until(lambda: bool(shop.arrived))
    [arrived] = shop.arrived
    assert Verifier(SECRET).verify(arrived.body, arrived.headers) is not None
    assert verification_error(arrived.headers, arrived.body, SECRET, time.time()) is None
    body = msgspec.json.decode(arrived.body)
    assert list(body) == ["event", "data"]
    assert body["event"] == "conversion.created"
    first = list(body["data"].items())[:5]
    assert first == [
        ("conversion_id", made.conversion_id),
        ("affiliate_id", "aff_3"),
        ("commission_amount", 29.99),
        ("order_value", 99.99),
        ("timestamp", body["data"]["timestamp"]),
    ]


async def test_an_adjustment_arrives_with_the_amounts_after_it(line: Line) -> None:
    wanted = ("conversion.refunded", "conversion.rejected", "conversion.approved")
    adjusting = ConversionAdjuster(line.redis, 1, 0)
    async with receiving() as shop, line.delivering():
        await line.endpoint(shop.url, events=wanted)
        [made] = await line.convert()
        for kind, amount in (("refunded", 999), ("rejected", None), ("approved", None)):
            step = msgspec.convert(
                {"adjustment_id": kind, "kind": kind, "author": "key_1", "reason": "so"}
                | {"amount_minor": amount},
                AdjustmentRequest,
            )
            await adjusting.adjust(Dataset(1), made.conversion_id, lambda _, step=step: step, 0)
        await wait_until(lambda: len(shop.arrived) == 3)
    told = {one["event"]: one["data"] for one in map(_body, shop.arrived)}
    assert told.keys() == set(wanted)
    refund = told["conversion.refunded"]
    assert (refund["order_value"], refund["net_value"]) == (99.99, 90.0)
    assert (refund["status"], refund["adjustment"]["reason"]) == ("pending", "so")
    changes = {
        name: refund["adjustment"][f"{name}_change"] for name in ("order_value", "net_value")
    }
    assert changes == {"order_value": 0.0, "net_value": -9.99}
    rejection = told["conversion.rejected"]
    assert (rejection["order_value"], rejection["net_value"]) == (99.99, 0.0)
    assert rejection["adjustment"]["net_value_change"] == -90.0
    assert told["conversion.approved"]["adjustment"]["net_value_change"] == 90.0
    assert {name: one["sequence"] for name, one in told.items()} == {
        "conversion.refunded": 2,
        "conversion.rejected": 3,
        "conversion.approved": 4,
    }


def _body(arrived: Arrived) -> dict[str, Any]:
    return msgspec.json.decode(arrived.body)


async def test_clicks_are_told_of_to_those_who_ask_for_them(line: Line) -> None:
    stream = redis_keys.clicks(0).key
    async with receiving() as shop, line.delivering():
        await line.endpoint(shop.url, events=("click.created",))

        async def reads() -> bool:
            return await call(line.redis, "EXISTS", stream) == 1

        await wait_until(reads)
        ids = ClickIdGenerator(1, b"k" * 32)
        kinds = ("", "head", "prefetch")
        clicks = [
            Click(
                click_id=ids.make(7), account=Dataset(1), link=7, campaign=2, affiliate=3, kind=kind
            )
            for kind in kinds
        ]
        lines = b"\n".join(msgspec.json.encode(click) for click in clicks)
        await call(line.redis, "XADD", stream, "*", "f", lines)
        await wait_until(lambda: bool(shop.arrived))
    [told] = map(_body, shop.arrived)
    assert told["event"] == "click.created"
    assert told["data"]["click_id"] == clicks[0].click_id
    assert told["data"]["affiliate_id"] == "aff_3"


async def test_an_endpoint_hears_only_of_what_it_asked_for(line: Line) -> None:
    async with receiving() as shop, line.delivering():
        await line.endpoint(f"{shop.url}/campaign", campaigns=(9,))
        await line.endpoint(f"{shop.url}/affiliate", affiliates=(9,))
        await line.endpoint(f"{shop.url}/value", min_value=Decimal("100"))
        await line.endpoint(f"{shop.url}/refunds", events=("conversion.refunded",))
        await line.endpoint(f"{shop.url}/later", created_at=datetime(2100, 1, 1, tzinfo=UTC))
        await line.endpoint(f"{shop.url}/tests", account=datasets.dataset_of_tests(Account(1)))
        await line.convert(campaign=9)
        await line.convert(affiliate=9)
        await line.convert(order_value_minor=10_000)
        await line.convert(account=datasets.dataset_of_tests(Account(1)))
        await wait_until(lambda: len(shop.arrived) == 4)
    data = [msgspec.json.decode(one.body)["data"] for one in shop.arrived]
    assert sum(one.get("is_test", False) for one in data) == 1


async def test_both_secrets_sign_while_one_is_rotated_out(line: Line) -> None:
    new, gone = make_secret(), make_secret()
    secrets = (
        WebhookSecret(new),
        WebhookSecret(SECRET, datetime(2100, 1, 1, tzinfo=UTC)),
        WebhookSecret(gone, datetime(2020, 1, 1, tzinfo=UTC)),
    )
    async with receiving() as shop, line.delivering():
        await line.endpoint(shop.url, secrets=secrets)
        await line.convert()
        await wait_until(lambda: bool(shop.arrived))
    [arrived] = shop.arrived
    for secret in (new, SECRET):
        assert verification_error(arrived.headers, arrived.body, secret, time.time()) is None
        assert Verifier(secret).verify(arrived.body, arrived.headers) is not None
    assert verification_error(arrived.headers, arrived.body, gone, time.time()) is not None


async def test_the_stream_that_no_endpoint_needs_is_left_and_joined_from_now_on(
    line: Line,
) -> None:
    stream, ids = redis_keys.clicks(0).key, ClickIdGenerator(1, b"k" * 32)

    async def publish() -> str:
        click_id = ids.make(7)
        click = Click(click_id=click_id, account=Dataset(1), link=7, campaign=2, affiliate=3)
        await call(line.redis, "XADD", stream, "*", "f", msgspec.json.encode(click))
        return click_id

    async def groups() -> int:
        return len(await call(line.redis, "XINFO", "GROUPS", stream))

    async with receiving() as shop, line.delivering():
        await publish()
        first = await line.endpoint(shop.url, events=("click.created",))
        await wait_until(lambda: _is(groups(), 1))
        heard = [await publish()]
        await wait_until(lambda: len(shop.arrived) == 1)
        await line.registry.delete(Webhook, Account(1), first.number, datetime.now(UTC))
        await wait_until(lambda: _is(groups(), 0))
        await publish()
        await line.endpoint(shop.url, events=("click.created",))
        await wait_until(lambda: _is(groups(), 1))
        heard.append(await publish())
        await wait_until(lambda: len(shop.arrived) == 2)
    assert [_body(one)["data"]["click_id"] for one in shop.arrived] == heard


async def _is(found: Awaitable[int], expected: int) -> bool:
    return await found == expected


async def test_a_group_that_another_process_destroyed_is_read_on_where_it_ended(
    line: Line,
) -> None:
    stream, ids = redis_keys.clicks(0).key, ClickIdGenerator(1, b"k" * 32)
    webhook = await line.endpoint("https://shop.example/", events=("click.created",))
    feed = WebhookFeed(line.redis, Endpoints(line.redis), line.queue, 1)
    await feed.enqueue_new(1)
    for _ in range(2):
        click = Click(click_id=ids.make(7), account=Dataset(1), link=7, campaign=2, affiliate=3)
        await call(line.redis, "XADD", stream, "*", "f", msgspec.json.encode(click))
        await feed.enqueue_new(1)
        await feed.enqueue_new(1)
        await call(line.redis, "XGROUP", "DESTROY", stream, GROUP)
    click = Click(click_id=ids.make(7), account=Dataset(1), link=7, campaign=2, affiliate=3)
    await call(line.redis, "XADD", stream, "*", "f", msgspec.json.encode(click))
    for _ in range(3):
        await feed.enqueue_new(1)
    assert len(await line.deliveries(webhook)) == 3
