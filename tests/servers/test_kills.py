"""Every accepted click is stored once when a server or the aggregator is killed under load."""

import pytest

from tests.servers.installation import Installation
from tests.servers.processes import kill
from tests.waiting import wait_until


@pytest.mark.long
async def test_a_clickhouse_killed_in_mid_load_loses_and_doubles_nothing(
    installation: Installation,
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    aggregator = linkjolt.start("aggregator")
    await wait_until(lambda: linkjolt.says("aggregator", "aggregator started"))
    async with installation.clicks() as ids:
        await wait_until(lambda: warehouse.holds(100))
        warehouse.engine.kill()
        accepted = len(ids)
        await wait_until(lambda: "warning" in linkjolt.levels("aggregator"))
        # The edge needs no ClickHouse.
        await wait_until(lambda: len(ids) >= accepted + 100)
        await warehouse.engine.ready()
        await wait_until(lambda: warehouse.holds(accepted + 100))
    await installation.stores(ids)
    assert aggregator.poll() is None
    assert linkjolt.levels("aggregator") == {"info", "warning"}


@pytest.mark.long
async def test_an_aggregator_killed_in_mid_load_loses_and_doubles_nothing(
    installation: Installation,
) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    await linkjolt.run("migrate")
    async with installation.clicks() as ids:
        for _ in range(2):
            stored = len(await warehouse.click_ids())
            aggregator = linkjolt.start("aggregator")
            # Seen as soon as the raw rows are inserted: the rollups are not pulled yet.
            await wait_until(lambda stored=stored: warehouse.holds(stored + 1))
            kill(aggregator)
        linkjolt.start("aggregator")
    await installation.stores(ids)


@pytest.mark.long
async def test_a_stop_stores_all_that_was_accepted(installation: Installation) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    aggregator = linkjolt.start("aggregator")
    await wait_until(lambda: linkjolt.says("aggregator", "aggregator started"))
    async with installation.clicks() as ids:
        await wait_until(lambda: warehouse.holds(100))
    for process in (installation.edge, aggregator):
        process.terminate()
        assert process.wait(10) == 0
    assert await warehouse.click_ids() == sorted(ids)
    # On a busy machine an edge may spool for a moment, which it logs as a WARNING.
    assert "error" not in linkjolt.levels("edge") | linkjolt.levels("aggregator")
