"""A statement whose answer is lost is not stored again."""

import pytest

from tests.servers.installation import Installation
from tests.servers.proxy import OK, InsertProxy, execute
from tests.waiting import wait_until

pytestmark = pytest.mark.long

TABLES = ("clicks", "conversions", "rollup_quarter")


async def test_an_insert_whose_answer_was_lost_is_there_once(installation: Installation) -> None:
    linkjolt, warehouse = installation.linkjolt, installation.warehouse
    lost: list[bytes] = []

    async def lose_answer(request: bytes) -> None:
        lost.append(await execute(warehouse.engine.port, request))

    proxy = InsertProxy(warehouse.engine.port, TABLES, lose_answer)
    async with proxy.running():
        url = warehouse.url(proxy.port)
        aggregator = linkjolt.start("aggregator", LINKJOLT_CLICKHOUSE_URL=url)
        async with installation.clicks() as ids:
            await wait_until(lambda: bool(ids))
            await installation.post(
                "/v1/conversions", click_id=ids[0], order_value="10.00", order_id="order_1"
            )
            await wait_until(lambda: len(lost) == len(TABLES))
        await installation.stores(ids)
    assert lost == [OK] * len(TABLES)
    assert aggregator.poll() is None
    assert linkjolt.levels("aggregator") == {"info", "warning"}
    sql = "SELECT count() AS n FROM conversions WHERE account != 0"
    assert await warehouse.count(sql) == 1
