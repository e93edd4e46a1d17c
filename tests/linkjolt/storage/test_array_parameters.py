"""Arrays are cut so that each part is as small as ClickHouse wants it when it is sent."""

import re
from itertools import pairwise
from typing import cast

import msgspec
import pytest
from clickhouse_connect.driver.binding import format_bind_value
from hypothesis import example, given
from hypothesis import strategies as st

from linkjolt.storage.array_parameters import STATEMENT_MAX_BYTES, Key, cut, fit_fields
from linkjolt.storage.clickhouse import ClickHouse

# An order id has up to 128 characters; these are the ones that take most bytes as they are sent.
_ESCAPED_TEXT = st.text(st.sampled_from("\\'`\t\n\r\"aé字😀"), max_size=40)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_KEYS = st.lists(st.tuples(st.integers(0, 1 << 63), _ESCAPED_TEXT | _TEXT))
_MAX_BYTES = st.integers(1, 300)


class Number(msgspec.Struct, frozen=True):
    n: int


class Text(msgspec.Struct, frozen=True):
    text: str


def sent(values: list[int] | list[str]) -> int:
    """Counts the bytes of an array as clickhouse-connect sends it in a form."""
    return len(cast(str, format_bind_value(values)).encode())


@given(_KEYS, _MAX_BYTES)
@example([(1, "x" * 300)], 64)
@example([(1, "x"), (2, "é" * 300), (3, "x")], 64)
def test_every_key_is_in_one_part_and_every_part_is_within_the_bound(
    keys: list[tuple[int, str]], max_bytes: int
) -> None:
    parts = list(cut(keys, max_bytes))
    assert [key for part in parts for key in part] == keys
    for part in parts:
        columns = zip(*part, strict=True)
        assert len(part) == 1 or max(sent([*column]) for column in columns) <= max_bytes
    # No part could have held the first key of the next one.
    for part, after in pairwise(parts):
        columns = zip(*part, after[0], strict=True)
        assert max(sent([*column]) for column in columns) > max_bytes


def test_a_value_that_is_too_large_by_itself_is_alone() -> None:
    keys: list[Key] = [(1, "a"), (2, "b" * 100), (3, "c"), (4, "d")]
    assert list(cut(keys, 50)) == [keys[:1], keys[1:2], keys[2:]]


@given(st.lists(_ESCAPED_TEXT | _TEXT), _MAX_BYTES)
def test_an_array_is_sent_as_parameters_within_the_bound_that_together_are_the_array(
    values: list[str], max_bytes: int
) -> None:
    sql, parameters = fit_fields(
        "SELECT {x:Array(String)}, {x:Array(String)}, {n:UInt8}", {"x": values, "n": 1}, max_bytes
    )
    names = re.findall(r"{(\w+):Array\(String\)}", sql)
    half = len(names) // 2
    assert names[:half] == names[half:]
    assert [value for name in names[:half] for value in as_texts(parameters[name])] == values
    assert parameters.keys() == {*names, "n"}
    assert sql.endswith(", {n:UInt8}")
    assert all(
        len(part) == 1 or sent(part) <= max_bytes
        for part in (as_texts(parameters[name]) for name in names)
        if part
    )


def as_texts(value: object) -> list[str]:
    return msgspec.convert(value, list[str])


@pytest.mark.parametrize("count", [0, 1, 10_000])
async def test_a_look_up_finds_the_rows_of_all_its_keys(clickhouse: ClickHouse, count: int) -> None:
    await clickhouse.execute("CREATE TABLE t (n UInt64, text String) ENGINE = MergeTree ORDER BY n")
    text = r"rightPadUTF8(concat('it''s \\ ', toString(number)), 60, 'é')"
    await clickhouse.execute(f"INSERT INTO t SELECT number, {text} FROM numbers(20000)")
    texts = await clickhouse.read("SELECT text FROM t WHERE n % 2 = 0 ORDER BY n", Text)
    keys: list[Key] = [(n * 2, row.text) for n, row in zip(range(count), texts, strict=False)]
    sql = "SELECT n FROM t WHERE n IN {ns:Array(UInt64)} AND text IN {texts:Array(String)}"
    found = await clickhouse.look_up(sql, Number, ("ns", "texts"), keys * 2)
    assert (len(list(cut(keys, STATEMENT_MAX_BYTES))) > 1) == (count > 1)
    assert sorted(row.n for row in found) == [n for n, _ in keys]
