"""The audit log has every write once, in a chain for each account."""

import msgspec
import pytest

from aggregator.audit_log.chain import read_heads
from linkjolt import redis_keys
from linkjolt.datasets import Account
from linkjolt.reasons import Rejected
from linkjolt.registry.entries import Affiliate, Link
from linkjolt.storage.redis import call, read_stream
from tests.aggregator.audit_log.conftest import AuditLog
from tests.linkjolt.registry import samples


async def test_a_write_is_stored_with_who_made_it_and_what_it_changed(audit_log: AuditLog) -> None:
    [created] = await audit_log.write(1)
    await audit_log.registry.patch(
        Affiliate, Account(1), created.number, lambda one: msgspec.structs.replace(one, name="Bea")
    )
    await audit_log.step()
    first, second = await audit_log.rows()
    assert (first.seq, first.actor, first.actor_name) == (1, "key_7", "Shop")
    assert (first.operation, first.object, first.status) == ("createAffiliate", "aff_1", 201)
    assert first.changes == '{"name":{"before":null,"after":"A0"}}'
    assert second.changes == '{"name":{"before":"A0","after":"Bea"}}'
    assert (second.seq, second.previous) == (2, first.hash)


async def test_a_write_that_is_refused_leaves_no_entry(audit_log: AuditLog) -> None:
    await audit_log.registry.create(samples.link("tc_1"))
    outcomes = await audit_log.registry.create_many([samples.link("tc_1"), samples.link("tc_2")])
    assert [isinstance(one, Rejected) for one in outcomes] == [True, False]
    with pytest.raises(Rejected):
        await audit_log.registry.delete(Link, Account(2), 1, samples.NOW)
    await audit_log.registry.patch(Link, Account(1), 1, lambda link: link)
    await audit_log.step()
    assert [row.object for row in await audit_log.rows()] == ["lnk_1", "lnk_3"]


async def test_streams_hold_nothing_that_is_stored(audit_log: AuditLog) -> None:
    await audit_log.write(3)
    assert await read_stream(audit_log.redis, redis_keys.AUDIT_REGISTRY, "-") == []


async def test_more_than_a_page_is_stored_in_the_order_of_the_writes(audit_log: AuditLog) -> None:
    drafts = [samples.affiliate(str(number)) for number in range(2_500)]
    await audit_log.registry.create_many(drafts)
    await audit_log.step()
    rows = await audit_log.rows()
    assert [row.object for row in rows] == [f"aff_{number}" for number in range(1, 2_501)]
    assert [row.seq for row in rows] == list(range(1, 2_501))
    assert await audit_log.faults() == []


async def test_accounts_have_chains_of_their_own(audit_log: AuditLog) -> None:
    for account in (Account(1), Account(2), Account(1)):
        await audit_log.write(1, account)
    rows = await audit_log.rows()
    assert [(row.account, row.seq) for row in rows] == [(1, 1), (1, 2), (2, 1)]
    assert rows[1].previous == rows[0].hash
    assert rows[2].previous == "0" * 64
    assert await audit_log.faults() == []


async def test_entries_that_return_with_an_older_redis_are_stored_once(audit_log: AuditLog) -> None:
    await audit_log.write(2)
    heads = await call(audit_log.redis, "HGETALL", redis_keys.AUDIT_HEADS)
    await audit_log.registry.create(samples.affiliate("lost"))
    entries = await read_stream(audit_log.redis, redis_keys.AUDIT_REGISTRY, "-")
    await audit_log.step()
    # Redis is put back to where the entry waited, and no later one had been written.
    for _, fields in entries:
        await call(audit_log.redis, "XADD", redis_keys.AUDIT_REGISTRY, "*", "e", fields[b"e"])
    await call(
        audit_log.redis, "HSET", redis_keys.AUDIT_HEADS, *[x for p in heads.items() for x in p]
    )
    audit_log.restart()
    await audit_log.write(1)
    assert [row.seq for row in await audit_log.rows()] == [1, 2, 3, 4]
    assert await audit_log.faults() == []


async def test_a_redis_that_lost_everything_continues_the_chain(audit_log: AuditLog) -> None:
    await audit_log.write(3)
    await call(audit_log.redis, "FLUSHALL")
    audit_log.restart()
    await audit_log.write(2)
    assert [row.seq for row in await audit_log.rows()] == [1, 2, 3, 4, 5]
    assert await audit_log.faults() == []


async def test_redis_keeps_the_newest_hash_though_a_step_ended_before(audit_log: AuditLog) -> None:
    await audit_log.write(2)
    await call(audit_log.redis, "DEL", redis_keys.AUDIT_HEADS)
    audit_log.restart()
    await audit_log.step()
    rows = await audit_log.rows()
    [head] = (await read_heads(audit_log.redis)).values()
    assert (head.seq, head.hash) == (2, rows[-1].hash)


async def test_an_entry_that_cannot_be_read_is_noted_once(audit_log: AuditLog) -> None:
    await call(audit_log.redis, "XADD", redis_keys.AUDIT_REGISTRY, "*", "e", "{")
    await audit_log.write(1)
    assert [row.operation for row in await audit_log.rows()] == [
        "unreadableEntry",
        "createAffiliate",
    ]


async def test_a_full_redis_lets_the_log_be_stored(audit_log: AuditLog) -> None:
    for number in range(3):
        await audit_log.registry.create(samples.affiliate(str(number)))
    await call(audit_log.redis, "CONFIG", "SET", "maxmemory", 1)
    try:
        await audit_log.step()
    finally:
        await call(audit_log.redis, "CONFIG", "SET", "maxmemory", 0)
    assert len(await audit_log.rows()) == 3
    assert await read_stream(audit_log.redis, redis_keys.AUDIT_REGISTRY, "-") == []
    [head] = (await read_heads(audit_log.redis)).values()
    assert head.seq == 3
