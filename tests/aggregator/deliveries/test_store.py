"""Finished deliveries get into the warehouse's log, whatever fails on the way, and out of Redis."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest
from prometheus_client import REGISTRY

from aggregator.deliveries.loop import DeliveryLogLoop
from linkjolt import redis_keys
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.datasets import Account
from linkjolt.registry.entries import Webhook
from linkjolt.settings import AggregatorSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from linkjolt.webhooks.deliveries.delivery import make_place
from linkjolt.webhooks.events import click_event
from tests.aggregator.conftest import Line
from tests.aggregator.deliveries.conftest import NOW_MS, Hooks, attempted, delivery, names
from tests.waiting import wait_until


class Sql(msgspec.Struct, frozen=True):
    sql: str


async def test_a_delivery_is_logged_whole_and_its_stream_trimmed(hooks: Hooks) -> None:
    webhook = (await hooks.endpoint()).number
    one = delivery(1, place=make_place(3, 7), round=2)
    await hooks.enqueue(webhook, one)
    await hooks.deliver(webhook)
    await hooks.store()
    [logged] = await hooks.log.page(webhook, 10)
    [outcome] = await hooks.queue.read_outcomes(webhook)
    assert logged == outcome
    assert (logged.body, logged.state, logged.round) == (one.body, "delivered", 2)
    assert [attempt.answer for attempt in logged.tries] == ["thanks"]
    assert await call(hooks.redis, "XLEN", redis_keys.webhook_finished(webhook)) == 0
    found = await hooks.backlog(webhook)
    assert (found.log_bytes, found.pending_bytes, found.dropped) == (0, 0, 0)


async def test_thousands_of_several_endpoints_are_logged_once_each(hooks: Hooks) -> None:
    webhooks = [(await hooks.endpoint()).number for _ in range(3)]
    made = [delivery(n) for n in range(1_500)]
    for webhook in webhooks:
        for start in range(0, len(made), 500):
            await hooks.enqueue(webhook, *made[start : start + 500])
        while await hooks.deliver(webhook, 500):
            pass
    await hooks.store()
    for webhook in webhooks:
        seen = await hooks.log.page(webhook, 1_000)
        seen += await hooks.log.page(webhook, 1_000, seen[-1].key)
        assert names(seen) == names(made[::-1])
        assert await call(hooks.redis, "XLEN", redis_keys.webhook_finished(webhook)) == 0


async def test_another_round_replaces_the_one_before(hooks: Hooks) -> None:
    webhook = (await hooks.endpoint()).number
    await hooks.enqueue(webhook, delivery(1), delivery(2))
    await hooks.deliver(webhook, status=500)
    await hooks.store()
    found = await hooks.log.find(webhook, "msg_1")
    assert found is not None
    assert await hooks.queue.resend(webhook, [found], NOW_MS) == 1
    await hooks.deliver(webhook)
    await hooks.store()
    logged = {one.webhook_id: one for one in await hooks.log.page(webhook, 10)}
    assert logged.keys() == {"msg_1", "msg_2"}
    assert [one.status for one in logged["msg_1"].tries] == [500, 200]
    assert (logged["msg_1"].state, logged["msg_2"].state) == ("delivered", "failed")


async def test_what_is_stored_again_changes_nothing(hooks: Hooks) -> None:
    webhook = (await hooks.endpoint()).number
    await hooks.enqueue(webhook, *(delivery(n) for n in range(5)))
    await hooks.deliver(webhook)
    key = redis_keys.webhook_finished(webhook)
    entries = await call(hooks.redis, "XRANGE", key, "-", "+")
    await hooks.store()
    before = await hooks.log.page(webhook, 10)
    # A crash between the insert and the trim leaves the entries.
    for _, fields in entries:
        await call(hooks.redis, "XADD", key, "*", "d", fields[b"d"])
    hooks.restart()
    await hooks.store()
    assert await hooks.log.page(webhook, 10) == before


async def test_a_click_has_its_body_from_the_clicks(hooks: Hooks, line: Line) -> None:
    webhook = (await hooks.endpoint(events=("click.created",))).number
    [click, *others] = await line.click(3, sub1="mail", source_id="s", external_id="x")
    await line.step_until_idle()
    event = click_event(click)
    assert event is not None
    made = delivery(1, event="click.created", click_id=click.click_id, body=event.body.decode())
    unstored = ClickIdGenerator(1, b"k" * 32).make(7)
    gone = delivery(2, event="click.created", click_id=unstored, body="{}")
    await hooks.enqueue(webhook, made, gone, stream=redis_keys.clicks(0))
    await hooks.deliver(webhook)
    await hooks.store()
    logged = await hooks.log.page(webhook, 10)
    assert {one.body for one in logged} == {""}
    [without, with_body] = await hooks.log.with_bodies(logged)
    assert (with_body.body, without.body) == (made.body, "")
    assert await hooks.log.find(webhook, "msg_1") == with_body
    assert await hooks.log.find(webhook, "msg_2") is None
    assert others


async def test_the_log_of_a_deleted_endpoint_is_deleted(hooks: Hooks) -> None:
    kept, gone = [(await hooks.endpoint()).number for _ in range(2)]
    for webhook in (kept, gone):
        await hooks.enqueue(webhook, delivery(1))
        await hooks.deliver(webhook)
    await hooks.store()
    await hooks.registry.delete(Webhook, Account(1), gone, datetime.now(UTC))
    await hooks.store()

    async def deleted() -> bool:
        return await hooks.log.page(gone, 10) == []

    await wait_until(deleted)
    assert len(await hooks.log.page(kept, 10)) == 1


@pytest.mark.parametrize("days", [30, 7])
async def test_rows_are_kept_for_the_days_of_the_setting(hooks: Hooks, days: int) -> None:
    hooks.restart(webhook_log_days=days)
    await hooks.store()
    sql = "SELECT create_table_query AS sql FROM system.tables WHERE database = currentDatabase()"
    sql += " AND name = 'deliveries'"
    [table] = await hooks.clickhouse.read(sql, Sql)
    assert f"toIntervalDay({days})" in table.sql
    webhook = (await hooks.endpoint()).number
    # They count from when a delivery was finished, not from its event.
    await hooks.enqueue(webhook, delivery(1, event_ms=NOW_MS - 400 * 86_400_000))
    await hooks.deliver(webhook)
    await hooks.store()
    await hooks.clickhouse.execute("OPTIMIZE TABLE deliveries FINAL")
    assert len(await hooks.log.page(webhook, 10)) == 1
    old = msgspec.structs.replace(delivery(2), finished_ms=NOW_MS - 400 * 86_400_000)
    await call(
        hooks.redis,
        "XADD",
        redis_keys.webhook_finished(webhook),
        "*",
        "d",
        msgspec.json.encode(old),
    )
    await hooks.store()
    await hooks.clickhouse.execute("OPTIMIZE TABLE deliveries FINAL")
    assert names(await hooks.log.page(webhook, 10)) == ["msg_1"]


async def test_an_entry_that_cannot_be_read_holds_nothing_up(hooks: Hooks) -> None:
    webhook = (await hooks.endpoint()).number
    key = redis_keys.webhook_finished(webhook)
    for raw in (b"{", b"\xff", b'{"webhook_id":1}'):
        await call(hooks.redis, "XADD", key, "*", "d", raw)
    await hooks.enqueue(webhook, delivery(1))
    await hooks.deliver(webhook)
    await hooks.store()
    assert names(await hooks.log.page(webhook, 10)) == ["msg_1"]
    assert await call(hooks.redis, "XLEN", key) == 0


async def test_while_clickhouse_is_away_the_log_waits_and_the_loop_goes_on(
    hooks: Hooks, clickhouse: ClickHouse
) -> None:
    webhook = (await hooks.endpoint()).number
    await hooks.enqueue(webhook, delivery(1))
    [claimed] = await hooks.queue.claim(webhook, NOW_MS, 1)
    await hooks.queue.record(webhook, [(claimed, attempted(claimed, 200), 0)])
    await clickhouse.execute("RENAME TABLE deliveries TO away")
    stop = asyncio.Event()
    retries = registry_value("linkjolt_delivery_log_retries_total")
    loop = DeliveryLogLoop(hooks.redis, clickhouse, AggregatorSettings())
    running = asyncio.create_task(loop.run(stop))
    await wait_until(lambda: registry_value("linkjolt_delivery_log_retries_total") > retries)
    assert not running.done()
    assert await call(hooks.redis, "XLEN", redis_keys.webhook_finished(webhook)) == 1
    await clickhouse.execute("RENAME TABLE away TO deliveries")

    async def stored() -> bool:
        return len(await hooks.log.page(webhook, 10)) == 1

    await wait_until(stored)
    stop.set()
    await running


def registry_value(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


async def test_two_aggregators_store_the_same_log(hooks: Hooks) -> None:
    webhook = (await hooks.endpoint()).number
    made = [delivery(n) for n in range(200)]
    await hooks.enqueue(webhook, *made)
    other = DeliveryLogLoop(hooks.redis, hooks.clickhouse, AggregatorSettings())
    for _ in range(8):
        await hooks.deliver(webhook, 25)
        await asyncio.gather(hooks.loop.step(), other.step())
    await hooks.store()
    assert names(await hooks.log.page(webhook, 1_000)) == names(made[::-1])
    assert (await hooks.backlog(webhook)).log_bytes == 0
