"""The fields of rows are the tables' columns, and are stored as they are inserted."""

from typing import Any

import msgspec
import pytest

from aggregator.rows.rows import (
    CLICK_COLUMNS,
    CONVERSION_COLUMNS,
    ClickRow,
    ConversionRow,
    click_marker,
    conversion_marker,
)
from linkjolt.datasets import Dataset
from linkjolt.storage.clickhouse import ClickHouse

POS = (1 << 60) + 12345
HOSTILE = "quotes ' \" \\ newline \n tab \t null \x00 4 bytes \U0001f600 \\N %s {x:String}"


class Column(msgspec.Struct):
    name: str
    type: str


class Stored(msgspec.Struct):
    time_ms: int
    click_id: str
    user_agent: str
    country: str
    visitor: int
    s: int
    pos: int


class StoredConversion(msgspec.Struct):
    time_ms: int
    click_time_ms: int
    order_id: str
    order_value_minor: int
    rejected: int
    pos: int


def plain_type(declared: Any) -> type:
    """Returns the type behind a NewType."""
    return getattr(declared, "__supertype__", declared)


def python_type(column: str) -> type:
    if column.startswith("DateTime64(3"):
        return float
    if column == "Bool":
        return bool
    return int if "Int" in column else str


@pytest.mark.parametrize(("table", "row"), [("clicks", ClickRow), ("conversions", ConversionRow)])
async def test_a_rows_fields_are_the_tables_columns(
    clickhouse: ClickHouse, table: str, row: type[msgspec.Struct]
):
    columns = await clickhouse.read(
        "SELECT name, type FROM system.columns"
        " WHERE database = currentDatabase() AND table = {table:String} ORDER BY position",
        Column,
        {"table": table},
    )
    declared = [(field.name, plain_type(field.type)) for field in msgspec.structs.fields(row)]
    assert declared == [(column.name, python_type(column.type)) for column in columns]


async def test_a_click_comes_back_as_it_was_inserted(clickhouse: ClickHouse):
    rows = [
        ClickRow(
            account=Dataset(1),
            time=time_ms / 1000,
            click_id=f"{time_ms}",
            user_agent=HOSTILE,
            country="ZZ",
            visitor=(1 << 64) - 1,
            s=65535,
            pos=POS,
        )
        for time_ms in (1, 999, 1795327569038, 1795327569039, (1 << 42) - 1)
    ]
    lines = b"\n".join(msgspec.json.encode(row) for row in rows)
    await clickhouse.insert("clicks", CLICK_COLUMNS, lines)
    stored = await clickhouse.read(
        "SELECT toUnixTimestamp64Milli(time) AS time_ms, click_id, user_agent, country, visitor,"
        " s, pos FROM clicks ORDER BY time",
        Stored,
    )
    assert [row.time_ms for row in stored] == [int(row.click_id) for row in rows]
    assert {row.user_agent for row in stored} == {HOSTILE}
    assert {(row.visitor, row.s, row.pos) for row in stored} == {((1 << 64) - 1, 65535, POS)}


async def test_a_conversion_comes_back_as_it_was_inserted(clickhouse: ClickHouse):
    row = ConversionRow(
        account=Dataset(1),
        time=1795327569.038,
        order_id=HOSTILE,
        order_value_minor=-(10**15),
        rejected=-1,
        pos=POS,
    )
    await clickhouse.insert("conversions", CONVERSION_COLUMNS, msgspec.json.encode(row))
    stored = await clickhouse.read(
        "SELECT toUnixTimestamp64Milli(time) AS time_ms,"
        " toUnixTimestamp64Milli(click_time) AS click_time_ms, order_id, order_value_minor,"
        " rejected, pos FROM conversions",
        StoredConversion,
    )
    assert stored == [StoredConversion(1795327569038, 0, HOSTILE, -(10**15), -1, POS)]


async def test_a_marker_is_short_and_carries_the_position(clickhouse: ClickHouse):
    pos = 1795327569038 << 20 | 7
    click, conversion = click_marker(2, pos), conversion_marker(3, pos)
    assert msgspec.json.encode(click) == b'{"time":1795327569.038,"s":2,"pos":%d}' % pos
    assert msgspec.json.encode(conversion) == b'{"time":1795327569.038,"s":3,"pos":%d}' % pos
    await clickhouse.insert("clicks", CLICK_COLUMNS, msgspec.json.encode(click))
    stored = await clickhouse.read(
        "SELECT toUnixTimestamp64Milli(time) AS time_ms, click_id, user_agent, country, visitor,"
        " s, pos FROM clicks WHERE account = 0",
        Stored,
    )
    assert stored == [Stored(1795327569038, "", "", "", 0, 2, pos)]
