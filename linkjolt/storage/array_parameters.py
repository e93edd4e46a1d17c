"""Cuts the arrays that statements take as parameters into sizes that ClickHouse accepts."""

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import cast

Key = tuple[int | str, ...]

# A server refuses a form field over 128 KiB (its setting http_max_field_value_size).
FIELD_MAX_BYTES = 64 << 10
# Above 1 MiB of values the engine (26.9) compares a column with them some hundred times slower: of
# a million rows 7,000 order ids of 128 characters took 0.13 s, and 9,000 a minute of processor.
STATEMENT_MAX_BYTES = 256 << 10
_SEPARATOR_BYTES = len(", ")
_QUOTES_BYTES = len("''")
# clickhouse-connect sends a backslash before each of these.
_ESCAPED = "\\'`\t\n"


def cut(keys: Sequence[Key], max_bytes: int) -> Iterator[Sequence[Key]]:
    """Cuts keys, in order, into parts of which no column has over `max_bytes` as an array.

    A key that has more by itself is a part of its own.
    """
    # The bytes of each column before each key.
    columns = [
        list(accumulate(map(sent_bytes, column), initial=0)) for column in zip(*keys, strict=True)
    ]
    begin = 0
    while begin < len(keys):
        end = min([bisect_right(column, column[begin] + max_bytes) - 1 for column in columns])
        end = max(end, begin + 1)
        yield keys[begin:end]
        begin = end


def sent_bytes(value: int | str) -> int:
    """Counts the bytes of an array's element as it is sent, with its share of what is around it.

    Brackets are as long as the separator that the last element lacks.
    """
    if isinstance(value, int):
        return len(str(value)) + _SEPARATOR_BYTES
    text_bytes = len(value) if value.isascii() else len(value.encode())
    escapes = sum([value.count(character) for character in _ESCAPED])
    return text_bytes + escapes + _QUOTES_BYTES + _SEPARATOR_BYTES


def fit_fields(
    sql: str, parameters: Mapping[str, object], max_bytes: int = FIELD_MAX_BYTES
) -> tuple[str, dict[str, object]]:
    """Sends each array over `max_bytes` as several parameters, which the statement concatenates."""
    fitted: dict[str, object] = {}
    for name, value in parameters.items():
        parts = _array_parts(value, max_bytes)
        if len(parts) > 1:
            sql = _concatenated(sql, name, len(parts))
            fitted |= {f"{name}_{index}": part for index, part in enumerate(parts)}
        else:
            fitted[name] = value
    return sql, fitted


def _array_parts(value: object, max_bytes: int) -> list[list[int | str]]:
    if not isinstance(value, list):
        return []
    keys = [(element,) for element in cast("list[int | str]", value)]
    return [[element for (element,) in part] for part in cut(keys, max_bytes)]


def _concatenated(sql: str, name: str, parts: int) -> str:
    """Replaces the placeholders `{name:Type}` by the concatenation of `{name_0:Type}` and so on."""

    def placeholders(found: re.Match[str]) -> str:
        return f"arrayConcat({', '.join(f'{{{name}_{n}:{found[1]}}}' for n in range(parts))})"

    return re.sub(rf"\{{{name}:([^}}]+)\}}", placeholders, sql)
