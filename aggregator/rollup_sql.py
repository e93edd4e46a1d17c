"""The SQL of rollups, filled only from the constants here; every value is bound on the server."""

from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Literal

import msgspec

from linkjolt.dimensions import DENSE, EMPTY, SPARSE

Source = Literal["clicks", "conversions"]
SOURCES: tuple[Source, ...] = ("clicks", "conversions")

_FOLDER = Path(__file__).parent / "sql"
_MONTH = "toYYYYMM(fromUnixTimestamp64Milli(toInt64(bitShiftRight(raw.pos, 20)), 'UTC'))"
_RANGE = "s = {s:UInt16} AND pos > {after:UInt64} AND pos <= {upto:UInt64}"
_RANGE_OF_MONTH = (
    "pos > {after:UInt64} AND pos <= {upto:UInt64}"
    " AND pos <= transform(toUInt32(s), streams, watermarks, toUInt64(0))"
)
_CLICK_KEYS = ("account", "bucket", "campaign", "affiliate", "link", "verdict")
_KEYS = ("account", "campaign", "affiliate", "link", "verdict", "currency", "basis", "month")
_SUMS = (
    "clicks",
    "visitors",
    "conversions",
    "pending",
    "approved",
    "rejected",
    "revenue_minor",
    "commission_minor",
)
_TIMES: dict[Source, str] = {
    "clicks": "raw.time",
    "conversions": "if(basis = 1 OR toUnixTimestamp(raw.click_time) = 0, raw.time, raw.click_time)",
}


class Rollup(msgspec.Struct, frozen=True):
    """One rollup table: the function that makes its buckets, and whether it has dimensions."""

    table: str
    bucket: str
    by_dimension: bool = False


ROLLUPS = (
    Rollup("rollup_minute", "toStartOfMinute"),
    Rollup("rollup_quarter", "toStartOfFifteenMinutes"),
    Rollup("rollup_dimension", "toStartOfFifteenMinutes", by_dimension=True),
)


def _fill(name: str, values: Mapping[str, str]) -> str:
    text = (_FOLDER / f"pull_{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(values)


_SPARSE_PAIRS = "arrayFilter(pair -> pair.2 != '', [{}])".format(
    ", ".join(f"('{name}', raw.{name})" for name in SPARSE)
)
# The set of the sparse dimensions that are empty, as a number.
_EMPTY_SET = " + ".join(
    f"bitShiftLeft(toUInt64(raw.{name} = ''), {bit})" for bit, name in enumerate(SPARSE)
)


def _pairs() -> str:
    """ARRAY JOIN of (dimension, value): DENSE ones, SPARSE ones with a value, the empty set."""
    dense = ", ".join(f"('{name}', toString(raw.{name}))" for name in DENSE)
    return (
        f"ARRAY JOIN arrayConcat([{dense}], {_SPARSE_PAIRS},"
        f" [('{EMPTY}', toString({_EMPTY_SET}))]) AS pair"
    )


def _groupings() -> dict[str, str]:
    """A grouping for each DENSE dimension and for the empty set, and how to tell them apart."""
    names = (*DENSE, EMPTY)
    keys = ", ".join(_CLICK_KEYS)
    dimensions = ", ".join(f"grouping({name}) = 0, '{name}'" for name in names)
    values = ", ".join(f"grouping({name}) = 0, toString({name})" for name in names)
    return {
        "grouping_sets": ", ".join(f"({keys}, {name})" for name in names),
        "grouped_dimension": f"multiIf({dimensions}, '')",
        "grouped_value": f"multiIf({values}, '')",
        "dense": ", ".join(DENSE),
        "empty": _EMPTY_SET,
        "empty_name": EMPTY,
        "sparse_pairs": _SPARSE_PAIRS,
    }


def _cells(rollup: Rollup, source: Source, rows: str) -> str:
    """The SELECT that computes the cells of a rollup from the raw rows of a range."""
    bucket = f"{rollup.bucket}(toDateTime({_TIMES[source]}, 'UTC'))"
    values = {"bucket": bucket, "range": rows}
    if source == "clicks":
        name = "click_dimensions" if rollup.by_dimension else "clicks"
        return _fill(name, values | _groupings())
    pairs = {
        "pairs": _pairs() if rollup.by_dimension else "",
        "dimension": "pair.1" if rollup.by_dimension else "''",
        "value": "pair.2" if rollup.by_dimension else "''",
    }
    return _fill(source, values | pairs)


def _pull(rollup: Rollup, source: Source) -> str:
    named = ("dimension", "value") if rollup.by_dimension else ()
    same = (*_KEYS, *named, *_SUMS)
    values = {
        "rollup": rollup.table,
        "columns": ", ".join((*same, "time", "pos")),
        "cell_columns": ", ".join((*same, "bucket", "watermark")),
        "cells": _cells(rollup, source, _RANGE),
    }
    return _fill("insert", values)


def _differences(rollup: Rollup, source: Source) -> str:
    values = {
        "rollup": rollup.table,
        "cells": _cells(rollup, source, _RANGE_OF_MONTH),
        "dimension": "dimension" if rollup.by_dimension else "''",
        "value": "value" if rollup.by_dimension else "''",
    }
    return _fill("differences", values)


def _months(rollup: Rollup, source: Source) -> str:
    return _fill("months", {"rollup": rollup.table, "source": source, "month": _MONTH})


# By rollup table and source.
PULLS = {(r.table, source): _pull(r, source) for r in ROLLUPS for source in SOURCES}
DIFFERENCES = {(r.table, source): _differences(r, source) for r in ROLLUPS for source in SOURCES}
MONTHS = {(r.table, source): _months(r, source) for r in ROLLUPS for source in SOURCES}
WATERMARKS = {r.table: _fill("watermark", {"rollup": r.table}) for r in ROLLUPS}
SPANS = {source: _fill("span", {"source": source}) for source in SOURCES}
