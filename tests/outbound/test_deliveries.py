"""Deliveries are retried, given up or disabled by the answers of their endpoint alone."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from linkjolt.datasets import Account
from linkjolt.registry.entries import Webhook
from linkjolt.webhooks.queue import Delivery
from outbound import transport
from tests.outbound.conftest import Line
from tests.outbound.receiver import Arrived, Receiver, answer, in_turn, ok, receiving
from tests.waiting import wait_until


async def test_500_then_200_is_delivered_under_the_same_id(line: Line) -> None:
    async with receiving(in_turn(answer(500, "oops"), answer(200))) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert()
        await wait_until(lambda: len(shop.arrived) == 2)
        await wait_until(lambda: _settled(line, webhook.number))
        [delivery] = await line.deliveries(webhook)
    assert len(set(shop.ids)) == 1
    assert [(one.status, one.answer) for one in delivery.tries] == [(500, "oops"), (200, "")]


async def _settled(line: Line, number: int) -> bool:
    return all(one.state != "pending" for one in await line.queue.read_newest(number, 100))


async def test_a_receiver_that_was_down_gets_all_when_it_is_up(line: Line) -> None:
    async with receiving() as shop:
        url = shop.url
    port = int(url.rpartition(":")[2].partition("/")[0])
    async with line.delivering((0.0, *[0.05] * 200)):
        webhook = await line.endpoint(url)
        made = await line.convert(5)

        async def refused() -> bool:
            found = await line.deliveries(webhook)
            return len(found) == 5 and any(one.tries for one in found)

        await wait_until(refused)
        async with receiving(port=port) as shop:
            await wait_until(lambda: len(set(shop.ids)) == len(made))
            await wait_until(lambda: _settled(line, webhook.number))


async def test_a_hanging_a_slow_and_a_dead_endpoint_delay_no_other(line: Line) -> None:
    async def hang(_: Arrived) -> bytes:
        await asyncio.Event().wait()
        return b""

    async def dawdle(_: Arrived) -> bytes:
        await asyncio.sleep(0.3)
        return answer(200)

    async with (
        receiving(hang) as hanging,
        receiving(dawdle) as slow,
        receiving() as shop,
        line.delivering(),
    ):
        await line.endpoint(hanging.url)
        patient = await line.endpoint(slow.url)
        await line.endpoint("http://127.0.0.1:1/dead")
        await line.endpoint(shop.url)
        await line.convert(40)
        await wait_until(lambda: len(set(shop.ids)) == 40)
        assert len(set(hanging.ids)) < 40
        assert len(set(slow.ids)) < 40
        await wait_until(lambda: len(set(slow.ids)) == 40)
        await wait_until(lambda: _settled(line, patient.number))
        assert len(slow.ids) == 40


@pytest.mark.parametrize(
    ("said", "status", "error"),
    [
        (answer(302, Location="http://127.0.0.1:1/"), 302, ""),
        (b"", 0, "closed without an answer"),
        (b"not http at all\r\n\r\n", 0, "not valid HTTP"),
        (answer(429, Retry_After="0"), 429, ""),
    ],
)
async def test_a_bad_answer_is_a_failure_and_tried_until_the_end(
    line: Line, said: bytes, status: int, error: str
) -> None:
    async def reply(_: Arrived) -> bytes:
        return said

    async with receiving(reply) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert()
        await wait_until(lambda: _failed(line, webhook.number))
        [delivery] = await line.deliveries(webhook)
        disabled = await line.webhook(webhook)
    assert len(delivery.tries) == 4
    assert {one.status for one in delivery.tries} == {status}
    assert all(error in one.error for one in delivery.tries)
    assert disabled.status == "disabled"
    assert "failed 4 times" in disabled.disabled_reason


async def _failed(line: Line, number: int) -> bool:
    found = await line.queue.read_newest(number, 10)
    webhook = await line.registry.get(Webhook, Account(1), number)
    return bool(found) and found[0].state == "failed" and webhook.status == "disabled"


async def test_an_endpoint_that_hangs_is_given_up_in_time(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "TIMEOUT_SECONDS", 0.2)

    async def hang(_: Arrived) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with receiving(hang) as shop, line.delivering((0.0,)):
        webhook = await line.endpoint(shop.url)
        await line.convert()
        await wait_until(lambda: _failed(line, webhook.number))
        [delivery] = await line.deliveries(webhook)
    assert [one.error for one in delivery.tries] == [
        "The request was sent, but no answer came within 0.2 s."
    ]


async def test_no_more_of_an_answer_is_read_than_its_bound(line: Line) -> None:
    sent = 0

    async def endless(_: Arrived) -> bytes:
        nonlocal sent
        sent += 1
        return b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000

    async with receiving(endless) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert()
        await wait_until(lambda: _settled_some(line, webhook.number))
        [delivery] = await line.deliveries(webhook)
    assert (delivery.state, len(delivery.tries[0].answer), sent) == ("delivered", 1_024, 1)


async def _settled_some(line: Line, number: int) -> bool:
    found = await line.queue.read_newest(number, 10)
    return bool(found) and found[0].state == "delivered"


async def test_retry_after_is_waited_for(line: Line) -> None:
    reply = in_turn(answer(503, Retry_After="1"), answer(200))
    async with receiving(reply) as shop, line.delivering((0.0, 0.0, 0.0)):
        webhook = await line.endpoint(shop.url)
        await line.convert()
        await wait_until(lambda: len(shop.arrived) == 2)
        await wait_until(lambda: _settled(line, webhook.number))
        [delivery] = await line.deliveries(webhook)
    first, second = delivery.tries
    assert second.at_ms - first.at_ms >= 1_000


async def test_410_disables_and_what_came_meanwhile_goes_out_when_it_is_active_again(
    line: Line,
) -> None:
    async with receiving(in_turn(answer(410), answer(200))) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert()

        async def disabled() -> bool:
            return (await line.webhook(webhook)).status == "disabled"

        await wait_until(disabled)
        assert (await line.webhook(webhook)).disabled_reason == "the endpoint answered 410 Gone"
        await line.convert(2)
        await wait_until(lambda: _kept(line, webhook.number, 3))
        assert len(shop.arrived) == 1
        await line.registry.patch(
            Webhook,
            Account(1),
            webhook.number,
            lambda w: msgspec.structs.replace(w, status="active"),
        )
        await wait_until(lambda: len(shop.arrived) == 3)


async def _kept(line: Line, number: int, count: int) -> bool:
    return len(await line.queue.read_newest(number, 100)) == count


async def test_a_replay_sends_exactly_its_range_again(line: Line) -> None:
    async with receiving(ok) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        groups = [await _delivered(line, shop, webhook, count) for count in (3, 2, 2)]
        starts_ms = [min(delivery.event_ms for delivery in group) for group in groups]
        now_ms = time.time_ns() // 1_000_000
        assert await line.queue.replay(webhook.number, starts_ms[1], starts_ms[2], now_ms) == 2
        await wait_until(lambda: len(shop.arrived) == 9)
        await wait_until(lambda: _settled(line, webhook.number))
        assert await line.queue.next_due_ms([webhook.number]) == {}
    arrivals = Counter(shop.ids)
    for group, times in zip(groups, (1, 2, 1), strict=True):
        assert [arrivals.pop(delivery.webhook_id) for delivery in group] == [times] * len(group)
    assert not arrivals


async def _delivered(line: Line, shop: Receiver, webhook: Webhook, count: int) -> list[Delivery]:
    """Delivers new events; any later one is accepted at a later millisecond."""
    earlier = {delivery.webhook_id for delivery in await line.deliveries(webhook)}
    await line.convert(count)
    await wait_until(lambda: len(shop.arrived) == len(earlier) + count)
    await wait_until(lambda: _settled(line, webhook.number))
    group = [
        delivery
        for delivery in await line.deliveries(webhook)
        if delivery.webhook_id not in earlier
    ]
    last_ms = max(delivery.event_ms for delivery in group)
    await wait_until(lambda: time.time_ns() // 1_000_000 > last_ms)
    return group


async def test_the_queue_of_a_deleted_endpoint_is_emptied(line: Line) -> None:
    webhook = await line.endpoint("http://127.0.0.1:1/dead")
    async with line.delivering((0.0, 600.0)):
        await line.convert()
        await wait_until(lambda: _tried_once(line, webhook.number))
        await line.registry.delete(Webhook, Account(1), webhook.number, datetime.now(UTC))

        async def empty() -> bool:
            return not await line.queue.next_due_ms([webhook.number])

        await wait_until(empty)


async def _tried_once(line: Line, number: int) -> bool:
    found = await line.queue.read_newest(number, 10)
    return bool(found and found[0].tries)
