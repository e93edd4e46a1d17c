"""What is under way ends though its endpoint changes, or its process: it is not sent again."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest

from linkjolt import redis_keys
from linkjolt.registry.entries import Webhook
from linkjolt.storage.redis import call
from linkjolt.webhooks.forms import rotated
from linkjolt.webhooks.signing import verification_error
from tests.outbound.conftest import SECRET, Line
from tests.outbound.receiver import Arrived, answer, receiving
from tests.waiting import wait_until


class Gate:
    """Replies with 200 to what it lets through."""

    def __init__(self) -> None:
        self._open = asyncio.Event()

    def open(self) -> None:
        self._open.set()

    async def reply(self, _: Arrived) -> bytes:
        await self._open.wait()
        return answer(200)


async def change(line: Line, webhook: Webhook, how: Callable[[Webhook], Webhook]) -> Webhook:
    return await line.registry.patch(Webhook, webhook.account, webhook.number, how)


async def all_delivered(line: Line, webhook: Webhook, count: int) -> bool:
    found = await line.deliveries(webhook)
    return [one.state for one in found] == ["delivered"] * count


def _rotate(webhook: Webhook) -> Webhook:
    return rotated(webhook, datetime.now(UTC), 3_600)


async def test_a_rotated_secret_signs_what_comes_next_and_what_is_under_way_ends(
    line: Line,
) -> None:
    gate = Gate()

    async def reply(arrived: Arrived) -> bytes:
        return await gate.reply(arrived) if arrived in shop.arrived[:3] else answer(200)

    async with receiving(reply) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert(3)
        await wait_until(lambda: len(shop.arrived) == 3)
        new = (await change(line, webhook, _rotate)).secrets[0].secret
        made = 3

        async def is_used() -> bool:
            nonlocal made
            made += len(await line.convert())
            return any(_is_signed(arrived, new) for arrived in shop.arrived)

        await wait_until(is_used)
        gate.open()
        await wait_until(lambda: all_delivered(line, webhook, made))
    assert len(shop.arrived) == len(set(shop.ids)) == made
    assert all(_is_signed(arrived, SECRET) for arrived in shop.arrived)
    assert not any(_is_signed(arrived, new) for arrived in shop.arrived[:3])


def _is_signed(arrived: Arrived, secret: str) -> bool:
    return verification_error(arrived.headers, arrived.body, secret, time.time()) is None


async def test_a_changed_url_gets_what_comes_next_and_what_is_under_way_ends(line: Line) -> None:
    gate = Gate()
    async with receiving(gate.reply) as former, receiving() as shop, line.delivering():
        webhook = await line.endpoint(former.url)
        await line.convert(12)
        await wait_until(lambda: len(former.arrived) == 8)
        await change(line, webhook, lambda one: msgspec.structs.replace(one, url=shop.url))
        await wait_until(lambda: len(shop.arrived) == 4)
        gate.open()
        await wait_until(lambda: all_delivered(line, webhook, 12))
    assert len({*former.ids, *shop.ids}) == len(former.ids) + len(shop.ids) == 12


@pytest.mark.parametrize("status", ["disabled", "deleted"])
async def test_what_is_under_way_ends_when_its_endpoint_is_disabled_or_deleted(
    line: Line, status: str
) -> None:
    gate = Gate()

    def end(webhook: Webhook) -> Webhook:
        if status == "deleted":
            return msgspec.structs.replace(webhook, deleted_at=datetime.now(UTC))
        return msgspec.structs.replace(webhook, status="disabled")

    async with receiving(gate.reply) as shop, receiving() as other, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert(12)
        await wait_until(lambda: _states(line, webhook, pending=12))
        await wait_until(lambda: len(shop.arrived) == 8)
        await change(line, webhook, end)
        # It takes effect at a poll: this endpoint is noticed by the same one, or a later one.
        await line.endpoint(other.url)
        await line.convert()
        await wait_until(lambda: len(other.arrived) == 1)
        gate.open()
        if status == "disabled":
            await wait_until(lambda: _states(line, webhook, delivered=8, pending=5))
        else:
            state = redis_keys.webhook_state(webhook.number)
            await wait_until(lambda: _are_gone(line, redis_keys.webhook_due(1), state))
    assert len(shop.arrived) == 8


async def _states(line: Line, webhook: Webhook, **counts: int) -> bool:
    found = [one.state for one in await line.deliveries(webhook)]
    return {state: found.count(state) for state in set(found)} == counts


async def _are_gone(line: Line, *keys: str) -> bool:
    return await call(line.redis, "EXISTS", *keys) == 0


async def test_what_is_under_way_is_recorded_when_the_process_ends(line: Line) -> None:
    async def slow(_: Arrived) -> bytes:
        await asyncio.sleep(0.5)
        return answer(200)

    async with receiving(slow) as shop:
        webhook = await line.endpoint(shop.url)
        async with line.delivering():
            await line.convert(20)
            await wait_until(lambda: _states(line, webhook, pending=20))
            await wait_until(lambda: len(shop.arrived) == 8)
        assert await _states(line, webhook, delivered=8, pending=12)
        # The others are not leased any more.
        now_ms = int(time.time() * 1000)
        due_ms = await call(
            line.redis, "ZRANGE", redis_keys.webhook_due(webhook.number), 0, -1, "WITHSCORES"
        )
        assert all(float(pair[1]) <= now_ms for pair in due_ms)
        async with line.delivering():
            await wait_until(lambda: all_delivered(line, webhook, 20))
    assert len(shop.arrived) == len(set(shop.ids)) == 20


@pytest.mark.long
async def test_an_attempt_that_ends_while_redis_hangs_is_recorded_later(line: Line) -> None:
    gate = Gate()
    async with receiving(gate.reply) as shop, line.delivering():
        webhook = await line.endpoint(shop.url)
        await line.convert(5)
        await wait_until(lambda: len(shop.arrived) == 5)
        # Longer than a client of this process waits.
        await call(line.redis, "CLIENT", "PAUSE", 6_000, "WRITE")
        gate.open()
        await wait_until(lambda: all_delivered(line, webhook, 5))
    assert len(shop.arrived) == 5


async def test_a_failing_endpoint_that_is_made_active_again_is_tried_at_once(line: Line) -> None:
    works = False

    async def reply(_: Arrived) -> bytes:
        return answer(200) if works else answer(503, Retry_After="600")

    async with receiving(reply) as shop, line.delivering((0.0, 0.0, 0.0)):
        webhook = await line.endpoint(shop.url)
        await line.convert()
        await wait_until(lambda: len(shop.arrived) == 1)
        await line.convert(20)
        await change(line, webhook, lambda one: msgspec.structs.replace(one, status="disabled"))
        state = redis_keys.webhook_state(webhook.number)
        await wait_until(lambda: _are_gone(line, state))
        works = True
        await change(line, webhook, lambda one: msgspec.structs.replace(one, status="active"))
        await wait_until(lambda: len(shop.arrived) == 21)
