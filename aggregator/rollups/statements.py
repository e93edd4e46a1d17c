"""Builds the SQL of rollups from constants only; every value is bound on the server."""

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
_RANGE = "s = {s:UInt16} AND pos > {after:UInt64} AND pos <= {end_position:UInt64}"
_RANGE_OF_MONTH = (
    "pos > {after:UInt64} AND pos <= {end_position:UInt64}"
    " AND pos <= transform(toUInt32(s), streams, watermarks, toUInt64(0))"
)
_CLICK_KEYS = ("account", "bucket", "verdict")
# Of a rollup by a single dimension: the numbers that a cell has, by its dimension; others are 0.
_NUMBERED = {
    "total": (),
    "campaign": ("campaign",),
    "affiliate": ("affiliate",),
    "link": ("campaign", "affiliate", "link"),
}
_NUMBERS = _NUMBERED["link"]
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
    "unverified",
    "clawback_minor",
)
_TIMES: dict[Source, str] = {
    "clicks": "raw.time",
    "conversions": "if(basis = 1 OR toUnixTimestamp(raw.click_time) = 0, raw.time, raw.click_time)",
}


class Rollup(msgspec.Struct, frozen=True):
    """One rollup table: the SQL function of its time buckets, and whether it has dimensions.

    `single_dimension`: by one dimension at most; else each by campaign, affiliate and link too.
    """

    table: str
    bucket: str
    by_dimension: bool = False
    single_dimension: bool = False


ROLLUPS = (
    Rollup("rollup_minute", "toStartOfMinute"),
    Rollup("rollup_quarter", "toStartOfFifteenMinutes"),
    Rollup("rollup_dimension", "toStartOfFifteenMinutes", by_dimension=True),
    Rollup("rollup_day", "toStartOfDay", by_dimension=True, single_dimension=True),
)
# Reports read no day that ended less than an hour ago from it, so that it may be pulled later.
FRESH_ROLLUPS, DAY_ROLLUPS = ROLLUPS[:3], ROLLUPS[3:]


def _fill_template(name: str, values: Mapping[str, str]) -> str:
    text = (_FOLDER / f"pull_{name}.sql").read_text(encoding="utf-8")
    return Template(text).substitute(values)


_SPARSE_PAIRS = "arrayFilter(pair -> pair.2 != '', [{}])".format(
    ", ".join(f"('{name}', raw.{name})" for name in SPARSE)
)
# The set of empty sparse dimensions, as a number.
_EMPTY_SET = " + ".join(
    f"bitShiftLeft(toUInt64(raw.{name} = ''), {bit})" for bit, name in enumerate(SPARSE)
)


def _pairs_sql(single_dimension: bool) -> str:
    """Builds the ARRAY JOIN of (dimension, value): DENSE, SPARSE with a value, the empty set.

    With `single_dimension` the numbers of campaign, affiliate and link follow in each pair.
    """
    pairs = [(name, "''") for name in _NUMBERED] if single_dimension else []
    pairs += [(name, f"toString(raw.{name})") for name in DENSE]
    pairs += [(name, f"raw.{name}") for name in SPARSE] + [(EMPTY, f"toString({_EMPTY_SET})")]
    joined = ", ".join(
        f"('{name}', {text}{_number_columns(name, single_dimension)})" for name, text in pairs
    )
    sparse_names = ", ".join(f"'{name}'" for name in SPARSE)
    return (
        f"ARRAY JOIN arrayFilter(pair -> pair.2 != '' OR pair.1 NOT IN ({sparse_names}),"
        f" [{joined}])"
        " AS pair"
    )


def _number_columns(dimension: str, single_dimension: bool) -> str:
    if not single_dimension:
        return ""
    present = _NUMBERED.get(dimension, ())
    return "".join(f", {f'raw.{n}' if n in present else 'toUInt32(0)'}" for n in _NUMBERS)


def _grouping_values(single_dimension: bool) -> dict[str, str]:
    """Builds a grouping for each DENSE dimension and the empty set, and how to tell them apart.

    With `single_dimension` there are groupings by total, campaign, affiliate and link, too.
    """
    dimensions = (*DENSE, EMPTY)
    keys = _CLICK_KEYS if single_dimension else (*_CLICK_KEYS, *_NUMBERS)
    groupings = {name: (name,) for name in dimensions} | (_NUMBERED if single_dimension else {})
    # The set of these that a grouping lacks is a number whose highest bit is the first one.
    grouping_columns = (*dimensions, *_NUMBERS) if single_dimension else dimensions
    missing_bits = {
        name: sum(
            1 << bit for bit, one in enumerate(reversed(grouping_columns)) if one not in columns
        )
        for name, columns in groupings.items()
    }
    names = ", ".join(f"'{name}'" for name in missing_bits)
    grouping = f"grouping({', '.join(grouping_columns)})"
    number_columns = {n: "toUInt32(0)" if single_dimension else f"raw.{n}" for n in _NUMBERS}
    return number_columns | {
        "grouping_sets": ", ".join(
            f"({', '.join((*keys, *columns))})" for columns in groupings.values()
        ),
        "grouped_dimension": f"transform({grouping}, {list(missing_bits.values())}, [{names}], '')",
        # The columns that a grouping lacks are empty.
        "grouped_value": f"concat({', '.join(DENSE)}, if(grouping({EMPTY}) = 0,"
        f" toString({EMPTY}), ''))",
        "dense": ", ".join(DENSE),
        "empty": _EMPTY_SET,
        "empty_name": EMPTY,
        "sparse_pairs": _SPARSE_PAIRS,
    }


def _cells_sql(rollup: Rollup, source: Source, rows: str) -> str:
    """Builds the SELECT that computes the cells of a rollup from the raw rows of a range."""
    bucket = f"{rollup.bucket}(toDateTime({_TIMES[source]}, 'UTC'))"
    values = {"bucket": bucket, "range": rows}
    if source == "clicks":
        name = "click_dimensions" if rollup.by_dimension else "clicks"
        return _fill_template(name, values | _grouping_values(rollup.single_dimension))
    pairs = {
        "pairs": _pairs_sql(rollup.single_dimension) if rollup.by_dimension else "",
        "campaign": "pair.3" if rollup.single_dimension else "raw.campaign",
        "affiliate": "pair.4" if rollup.single_dimension else "raw.affiliate",
        "link": "pair.5" if rollup.single_dimension else "raw.link",
        "dimension": "pair.1" if rollup.by_dimension else "''",
        "value": "pair.2" if rollup.by_dimension else "''",
    }
    return _fill_template(source, values | pairs)


def _pull_sql(rollup: Rollup, source: Source) -> str:
    dimensions = ("dimension", "value") if rollup.by_dimension else ()
    columns = (*_KEYS, *dimensions, *_SUMS)
    values = {
        "rollup": rollup.table,
        "columns": ", ".join((*columns, "time", "pos")),
        "cell_columns": ", ".join((*columns, "bucket", "watermark")),
        "cells": _cells_sql(rollup, source, _RANGE),
    }
    return _fill_template("insert", values)


def _differences_sql(rollup: Rollup, source: Source) -> str:
    values = {
        "rollup": rollup.table,
        "cells": _cells_sql(rollup, source, _RANGE_OF_MONTH),
        "dimension": "dimension" if rollup.by_dimension else "''",
        "value": "value" if rollup.by_dimension else "''",
    }
    return _fill_template("differences", values)


def _months_sql(rollup: Rollup, source: Source) -> str:
    return _fill_template("months", {"rollup": rollup.table, "source": source, "month": _MONTH})


# Appended to a pull that has a token. Without one it would cost a tenth of a pull for nothing.
IN_ONE_PIECE = "ORDER BY account"
# By rollup table and source.
PULLS = {(r.table, source): _pull_sql(r, source) for r in ROLLUPS for source in SOURCES}
DIFFERENCES = {
    (r.table, source): _differences_sql(r, source) for r in ROLLUPS for source in SOURCES
}
MONTHS = {(r.table, source): _months_sql(r, source) for r in ROLLUPS for source in SOURCES}
WATERMARKS = {r.table: _fill_template("watermark", {"rollup": r.table}) for r in ROLLUPS}
SPANS = {source: _fill_template("span", {"source": source}) for source in SOURCES}
