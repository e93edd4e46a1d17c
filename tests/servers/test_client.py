"""A ClickHouse server over HTTP behaves as the code relies on."""

import msgspec
import pytest

from linkjolt.storage.array_parameters import FIELD_MAX_BYTES
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


class Length(msgspec.Struct, frozen=True):
    n: int


@pytest.mark.parametrize("count", [0, 1, 300, 3_000])
async def test_an_array_of_any_size_is_bound_whole(warehouse: Warehouse, count: int) -> None:
    numbers = [*range(count)]
    texts = [f"{number} it's \\ `é字`".ljust(128, "😀") for number in numbers]
    sql = (
        "SELECT count() AS n FROM (SELECT arrayJoin({texts:Array(String)}) AS text,"
        " {numbers:Array(UInt64)} AS numbers)"
        " WHERE text IN {texts:Array(String)} AND length(text) > 128"
        " AND has(numbers, toUInt64(splitByChar(' ', text)[1]))"
    )
    parameters = {"texts": texts, "numbers": numbers}
    assert await warehouse.client.read(sql, Length, parameters) == [Length(count)]
    async with warehouse.client.export(sql, Length, parameters) as batches:
        assert [*batches] == [[Length(count)]]


@pytest.mark.parametrize(
    ("parameters", "refused"),
    [
        ({"text": "x" * (128 << 10)}, ""),
        ({"text": "x" * ((128 << 10) + 1)}, "code: 1000.*Field value too long"),
        ({"text": "x", "n" * 4_091: FIELD_MAX_BYTES * "x"}, "code: 1000.*Field name too long"),
        ({"text": "x", **{f"n{n}": 9 * "x" for n in range(999)}}, "code: 1000.*Too many"),
        ({"text": "x", **{f"n{n}": 9 * "x" for n in range(998)}}, ""),
    ],
)
async def test_a_form_is_bounded(
    warehouse: Warehouse, parameters: dict[str, object], refused: str
) -> None:
    sql = "SELECT length({text:String}) AS n" + "".join(
        f", {{{name}:String}}" for name in parameters if name != "text"
    )
    if refused:
        with pytest.raises(ClickHouseFailed, match=refused):
            await warehouse.client.read(sql, Length, parameters)
    else:
        [found] = await warehouse.client.read(sql, Length, parameters)
        assert found.n == len(str(parameters["text"]))


@pytest.mark.parametrize(
    ("size", "refused"), [(129 << 10, "code: 1000.*value too long"), (1 << 20, "400")]
)
async def test_a_url_is_bounded(warehouse: Warehouse, size: int, refused: str) -> None:
    with pytest.raises(ClickHouseFailed, match=refused):
        await warehouse.client.execute("SELECT {text:String}", {"text": "x" * size})
