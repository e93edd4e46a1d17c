"""A ClickHouse server over HTTP behaves as the code relies on."""

import pytest

from linkjolt.storage.clickhouse import ClickHouseFailed
from tests.servers.installation import Warehouse

ROWS = 30_000


async def test_an_insert_is_one_part(warehouse: Warehouse) -> None:
    await warehouse.client.execute("CREATE TABLE t (x UInt32) ENGINE = MergeTree ORDER BY x")
    lines = b"\n".join(b'{"x":%d}' % number for number in range(ROWS))
    await warehouse.client.insert("t", ["x"], lines)
    parts = "SELECT count() AS n FROM system.parts WHERE active AND database = currentDatabase()"
    assert await warehouse.count(parts) == 1
    assert await warehouse.count("SELECT count() AS n FROM t") == ROWS


async def test_a_refused_statement_names_its_reason_and_spoils_none_after_it(
    warehouse: Warehouse,
) -> None:
    half = "SELECT throwIf(number = 90000) AS n FROM numbers(100000)"
    with pytest.raises(ClickHouseFailed, match="code: 395"):
        await warehouse.count(half)
    with pytest.raises(ClickHouseFailed, match="code: 60"):
        await warehouse.client.insert("nowhere", ["x"], b'{"x":1}')
    assert await warehouse.count("SELECT 7 AS n") == 7


async def test_parameters_are_bound_on_the_server(warehouse: Warehouse) -> None:
    await warehouse.client.execute("CREATE TABLE t (text String) ENGINE = Memory")
    hard = "it's \\ a\ttab, a\nline, é and {text:String}"
    sql = "INSERT INTO t SELECT {text:String} WHERE 1 IN {numbers:Array(UInt32)}"
    await warehouse.client.execute(sql, {"text": hard, "numbers": [1, 2]})
    assert await warehouse.texts("SELECT text FROM t") == [hard]
