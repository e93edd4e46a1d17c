"""What a former release left in Redis is delivered, listed and counted as before."""

import time
from typing import Any

import msgspec
from redis.asyncio import Redis

from linkjolt.datasets import Dataset
from linkjolt.registry.entries import Webhook
from linkjolt.settings import SharedSettings
from linkjolt.storage.redis import call
from linkjolt.webhooks.endpoints import Endpoints
from linkjolt.webhooks.queue import Delivery
from outbound.upkeep import QueueUpkeep
from tests.outbound.conftest import Line
from tests.outbound.receiver import receiving
from tests.waiting import wait_until


async def leave(redis: Redis, webhook: Webhook, number: int, **fields: Any) -> str:
    """Writes a delivery as release 0.0 did: a key of its own, a log, and a queue if pending."""
    name, event_ms = f"msg_{number:032x}", time.time_ns() // 1_000_000 - 10_000 + number
    one = {"webhook_id": name, "event": "conversion.created", "event_ms": event_ms}
    one |= {"body": f'{{"event":"conversion.created","data":{{"number":{number}}}}}'} | fields
    prefix = f"lj:{{w:{webhook.number}}}"
    await call(
        redis, "SET", f"{prefix}:delivery:{name}", msgspec.json.encode(one), "EX", 7 * 86_400
    )
    await call(redis, "ZADD", f"{prefix}:log", event_ms, name)
    if one.get("state", "pending") == "pending":
        await call(redis, "ZADD", f"{prefix}:due", event_ms, name)
    return name


def attempts(*statuses: int) -> list[dict[str, Any]]:
    return [{"at_ms": 1_800_000_000_000, "took_ms": 3, "status": one} for one in statuses]


async def former_keys(redis: Redis) -> list[bytes]:
    return [*await call(redis, "KEYS", "*:delivery:*"), *await call(redis, "KEYS", "*}:log")]


async def test_former_deliveries_are_sent_and_listed(line: Line) -> None:
    async with receiving() as shop:
        webhook = await line.endpoint(shop.url)
        waiting = [await leave(line.redis, webhook, number) for number in range(250)]
        retried = await leave(line.redis, webhook, 300, tries=attempts(500), attempt=1)
        done = await leave(
            line.redis, webhook, 301, state="delivered", tries=attempts(500, 200), attempt=2
        )
        async with line.delivering():
            await wait_until(lambda: len(shop.arrived) == 251)

            async def adopted() -> bool:
                return not await former_keys(line.redis)

            await wait_until(adopted)
            assert {*shop.ids} == {*waiting, retried}
            assert shop.arrived[0].body == b'{"event":"conversion.created","data":{"number":0}}'

            async def recorded() -> bool:
                return len(await line.queue.read_unstored(webhook.number, 1_000)) == 252

            await wait_until(recorded)
            logged = await line.queue.read_unstored(webhook.number, 1_000)
            [one] = [one for one in logged if one.webhook_id == done]
            assert [attempt.status for attempt in one.tries] == [500, 200]
            assert one.state == "delivered"


async def test_a_former_click_that_was_delivered_keeps_its_id_alone(line: Line) -> None:
    webhook = await line.endpoint("https://shop.example/", events=("click.created",))
    body = '{"event":"click.created","data":{"click_id":"06EZ3GQ8N4T5W1Y7B2C9D0F6H8","sub1":"x"}}'
    fields = {"event": "click.created", "body": body, "state": "delivered"}
    await leave(line.redis, webhook, 1, **fields, tries=attempts(200))
    await upkeep(line).step()
    [one] = await line.queue.read_unstored(webhook.number, 10)
    assert (one.click_id, one.body) == ("06EZ3GQ8N4T5W1Y7B2C9D0F6H8", "")
    assert (one.account, one.finished_ms) == (Dataset(1), 1_800_000_000_000)


def upkeep(line: Line) -> QueueUpkeep:
    return QueueUpkeep(line.redis, Endpoints(line.redis), line.queue, SharedSettings())


async def test_one_whose_former_key_is_not_adopted_yet_is_not_lost(line: Line) -> None:
    webhook = await line.endpoint("https://shop.example/")
    await leave(line.redis, webhook, 1)
    now_ms = time.time_ns() // 1_000_000
    # A sender looks for it while a process of the former release still runs.
    assert await line.queue.claim(webhook.number, now_ms, 10) == []
    await upkeep(line).step()
    pending: list[Delivery] = await line.queue.read_pending(webhook.number, 10)
    assert len(pending) == 1
    assert len(await line.queue.claim(webhook.number, now_ms + 60_000, 10)) == 1


async def test_the_former_deliveries_of_a_deleted_endpoint_go_with_it(line: Line) -> None:
    webhook = await line.endpoint("https://shop.example/")
    for number in range(600):
        await leave(line.redis, webhook, number, state="delivered")
    await line.queue.delete(webhook.number)
    assert await call(line.redis, "KEYS", f"lj:{{w:{webhook.number}}}*") == []
