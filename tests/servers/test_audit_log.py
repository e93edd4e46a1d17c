"""Of two aggregators on one server, one continues the chain of the audit log."""

from typing import Any

import pytest
from redis.asyncio import Redis

from aggregator.audit_log.store import AuditLogStore
from aggregator.audit_log.verify import verify
from aggregator.delivery.lease import LeaseLost, Leases
from aggregator.warehouse.migrate import migrate
from linkjolt.registry.store import Registry
from linkjolt.storage import clickhouse
from tests.linkjolt.registry import samples
from tests.servers.installation import Warehouse

ROWS = "SELECT count() AS n FROM audit_log"


@pytest.mark.parametrize("meanwhile", [0, 2])
async def test_a_late_insert_neither_doubles_nor_breaks_the_chain(
    redis: Redis, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch, meanwhile: int
) -> None:
    await migrate(warehouse.client)
    registry = Registry(redis)
    client = clickhouse.server(warehouse.url(), clients=1)
    first = AuditLogStore(redis, warehouse.client, 1)
    frozen = AuditLogStore(redis, client, 1)
    insert = client.insert

    async def late(*arguments: Any, **named: Any) -> None:
        await registry.create_many([samples.affiliate() for _ in range(meanwhile)])
        await first.step()
        await insert(*arguments, **named)

    await registry.create_many([samples.affiliate() for _ in range(3)])
    monkeypatch.setattr(client, "insert", late)
    if meanwhile:
        with pytest.raises(LeaseLost):
            await frozen.step()
        frozen.forget()
    else:
        # Both made the same rows.
        await frozen.step()
    monkeypatch.undo()
    await registry.create(samples.affiliate())
    await frozen.step()
    assert await warehouse.count(ROWS) == 4 + meanwhile
    assert (await verify(redis, client)).clean
    await client.close()


async def test_one_stores_the_log_until_it_lets_go(redis: Redis, warehouse: Warehouse) -> None:
    await migrate(warehouse.client)
    first, second = (AuditLogStore(redis, warehouse.client, 1, Leases(redis, 10)) for _ in range(2))
    registry = Registry(redis)
    await first.step()
    await registry.create(samples.affiliate())
    await second.step()
    assert await warehouse.count(ROWS) == 0
    await first.release()
    await second.step()
    assert await warehouse.count(ROWS) == 1
    assert (await verify(redis, warehouse.client)).clean
