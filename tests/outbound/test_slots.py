"""One endpoint's answers hold back neither its other deliveries nor other endpoints."""

import asyncio
import threading
import time
from collections import Counter
from itertools import pairwise

import pytest

from linkjolt import redis_keys
from linkjolt.registry.entries import Webhook
from linkjolt.storage.redis import call
from outbound.circuit import CONCURRENCY, FAILURES_MAX, Circuit
from outbound.endpoint_state import EndpointState
from outbound.resolver import Resolver
from tests.outbound.conftest import Line
from tests.outbound.receiver import Arrived, Reply, answer, ok, receiving
from tests.waiting import wait_until

# Two tries, the second of which no test waits for.
ONCE = (0.0, 3_600.0)


async def states(line: Line, webhook: Webhook) -> Counter[str]:
    return Counter(delivery.state for delivery in await line.deliveries(webhook))


def hanging_each(interval: int) -> Reply:
    """Replies at once, but for one request in each interval, which gets no answer."""
    count = 0

    async def reply(_: Arrived) -> bytes:
        nonlocal count
        count += 1
        if count % interval == 0:
            await asyncio.Event().wait()
        return answer(200)

    return reply


def failing(status: int, body: bytes, **headers: str) -> Reply:
    """Answers requests with `body` in them with a status, all others with 200."""

    async def reply(arrived: Arrived) -> bytes:
        return answer(status, **headers) if body in arrived.body else answer(200)

    return reply


async def test_all_answers_but_those_that_hang_are_recorded_before_one_is_given_up(
    line: Line,
) -> None:
    async with receiving(hanging_each(16)) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        began = time.monotonic()
        await line.convert(200)

        async def delivered() -> bool:
            return (await states(line, webhook))["delivered"] == 188

        await wait_until(delivered)
        assert time.monotonic() - began < 10
        assert await states(line, webhook) == {"delivered": 188, "pending": 12}
        assert not any(one.tries for one in await line.deliveries(webhook) if one.state[0] == "p")
    assert len(shop.arrived) == len(set(shop.ids)) == 200


async def test_an_endpoint_that_only_hangs_gets_as_many_requests_as_it_has_slots(
    line: Line,
) -> None:
    async def hang(_: Arrived) -> bytes:
        await asyncio.Event().wait()
        return b""

    async with receiving(hang) as hanging, receiving(ok) as shop, line.delivering():
        await line.endpoint(hanging.url)
        await line.endpoint(shop.url)
        await line.convert(100)
        await wait_until(lambda: len(shop.arrived) == 100)
    assert len(hanging.arrived) == CONCURRENCY


@pytest.mark.parametrize("status", [429, 503])
async def test_an_endpoint_that_asks_to_wait_is_left_alone_also_by_the_next_process(
    line: Line, status: int
) -> None:
    async def wait(_: Arrived) -> bytes:
        return answer(status, Retry_After="60")

    async with receiving(wait) as busy, receiving(ok) as shop:
        webhook = await line.endpoint(busy.url)
        await line.endpoint(shop.url)
        for count in (200, 400):
            async with line.delivering():
                await line.convert(200)
                await wait_until(lambda count=count: len(shop.arrived) == count)
                await wait_until(lambda: _is_tried(line, webhook))
    assert 1 <= len(busy.arrived) <= CONCURRENCY
    assert await states(line, webhook) == {"pending": 400}


async def _is_tried(line: Line, webhook: Webhook) -> bool:
    return any(one.tries for one in await line.deliveries(webhook))


async def test_after_the_time_that_it_asked_for_an_endpoint_gets_all(line: Line) -> None:
    waits_until = time.monotonic() + 60
    early = 0

    async def busy(_: Arrived) -> bytes:
        nonlocal waits_until, early
        waits_until = min(waits_until, time.monotonic() + 2)
        if (now := time.monotonic()) < waits_until:
            early += 1
            return answer(429, Retry_After=str(round(waits_until - now + 0.5)))
        return answer(200)

    async with receiving(busy) as shop, line.delivering((0.0, 0.0, 0.0)):
        webhook = await line.endpoint(shop.url)
        await line.convert(50)

        async def delivered() -> bool:
            return (await states(line, webhook))["delivered"] == 50

        await wait_until(delivered)
    assert early <= CONCURRENCY


@pytest.mark.long
async def test_a_failing_endpoint_is_tested_with_one_delivery_and_growing_pauses(
    line: Line,
) -> None:
    failed: list[float] = []
    works = False

    async def fail(_: Arrived) -> bytes:
        if works:
            return answer(200)
        failed.append(time.monotonic())
        return answer(500)

    async with receiving(fail) as shop, line.delivering(ONCE):
        webhook = await line.endpoint(shop.url)
        await line.convert(60)
        await wait_until(lambda: len(_after_a_pause(failed)) == 2)
        first, second = _after_a_pause(failed)
        works = True
        # What was under way when the circuit opened, and then one by one.
        assert len(failed) <= FAILURES_MAX + CONCURRENCY - 1 + 2
        assert failed[-1] == second
        assert second - first > 1.5

        async def delivered() -> bool:
            return (await states(line, webhook))["delivered"] == 60 - len(failed)

        await wait_until(delivered)
        assert (await line.webhook(webhook)).status == "active"


def _after_a_pause(arrivals: list[float]) -> list[float]:
    return [at for before, at in pairwise(arrivals) if at - before > 0.7]


async def make_due(line: Line, webhook: Webhook) -> None:
    """Makes everything that waits due now."""
    due = redis_keys.webhook_due(webhook.number)
    for delivery in await line.deliveries(webhook):
        if delivery.state == "pending":
            await call(line.redis, "ZADD", due, 1, delivery.webhook_id)


async def test_a_delivery_that_always_fails_fails_alone(line: Line) -> None:
    async with receiving(failing(400, b'"order_value":66.6')) as shop:
        webhook = await line.endpoint(shop.url)
        async with line.delivering(ONCE):
            await line.convert(order_value_minor=6660)
            await wait_until(lambda: len(shop.arrived) == 1)
            await line.convert(20)
            await wait_until(lambda: _count(line, webhook, "delivered", 20))
        await make_due(line, webhook)
        # The process that saw the others succeed has ended.
        async with line.delivering(ONCE):
            await wait_until(lambda: _count(line, webhook, "failed", 1))
            await line.convert(5)
            await wait_until(lambda: _count(line, webhook, "delivered", 25))
    assert (await line.webhook(webhook)).status == "active"
    [failed] = [one for one in await line.deliveries(webhook) if one.state == "failed"]
    assert [one.status for one in failed.tries] == [400, 400]


async def test_an_endpoint_where_nothing_succeeded_since_the_first_try_is_disabled(
    line: Line,
) -> None:
    async with receiving(failing(400, b'"order_value":66.6')) as shop:
        webhook = await line.endpoint(shop.url)
        async with line.delivering(ONCE):
            await line.convert(5)
            await wait_until(lambda: _count(line, webhook, "delivered", 5))
            await line.convert(order_value_minor=6660)
            await wait_until(lambda: len(shop.arrived) == 6)
        await make_due(line, webhook)
        async with line.delivering(ONCE):
            await wait_until(lambda: _is_disabled(line, webhook))
    reason = "a delivery failed 2 times, the last by: status 400"
    assert (await line.webhook(webhook)).disabled_reason == reason


async def test_an_endpoint_with_a_backlog_is_disabled_when_all_has_failed_for_days(
    line: Line,
) -> None:
    async with receiving(failing(500, b"")) as shop:
        webhook = await line.endpoint(shop.url)
        state = EndpointState(line.redis, webhook)
        since_ms = time.time_ns() // 1_000_000 - 5 * 86_400_000
        state.circuit = Circuit(failures=9, failing_since_ms=since_ms)
        await state.save()
        async with line.delivering((0.0, 5.0, 5.0)):
            await line.convert(100)
            await wait_until(lambda: _is_disabled(line, webhook))
    assert "all has failed since" in (await line.webhook(webhook)).disabled_reason
    assert (await states(line, webhook)).keys() == {"pending"}
    assert len(shop.arrived) == 1


async def _count(line: Line, webhook: Webhook, state: str, count: int) -> bool:
    return (await states(line, webhook))[state] == count


async def _is_disabled(line: Line, webhook: Webhook) -> bool:
    return (await line.webhook(webhook)).status == "disabled"


async def test_a_name_that_hangs_delays_no_other_endpoint(line: Line) -> None:
    released, asked = threading.Event(), Counter[str]()

    def look_up(host: str) -> list[str]:
        asked[host] += 1
        if host == "hang.example":
            released.wait(30)
        return ["127.0.0.1"]

    async with receiving() as shop, line.delivering(resolver=Resolver(look_up)):
        hanging = await line.endpoint("http://hang.example/hook")
        await line.endpoint(shop.url.replace("127.0.0.1", "shop.example"))
        began = time.monotonic()
        await line.convert(40)
        await wait_until(lambda: len(shop.arrived) == 40)
        assert time.monotonic() - began < 5
        assert await states(line, hanging) == {"pending": 40}
        assert asked == {"hang.example": 1, "shop.example": 1}
        released.set()
