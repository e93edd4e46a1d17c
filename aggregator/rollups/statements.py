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
_CLICK_KEYS = ("account", "bucket", "verdict")
# Of a rollup by one dimension alone, what a cell has of these by its dimension; else 0.
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
)
_TIMES: dict[Source, str] = {
    "clicks": "raw.time",
    "conversions": "if(basis = 1 OR toUnixTimestamp(raw.click_time) = 0, raw.time, raw.click_time)",
}


class Rollup(msgspec.Struct, frozen=True):
    """One rollup table: the function that makes its buckets, and whether it has dimensions.

    `alone`: by one dimension at most; else each of them by campaign, affiliate and link too.
    """

    table: str
    bucket: str
    by_dimension: bool = False
    alone: bool = False


ROLLUPS = (
    Rollup("rollup_minute", "toStartOfMinute"),
    Rollup("rollup_quarter", "toStartOfFifteenMinutes"),
    Rollup("rollup_dimension", "toStartOfFifteenMinutes", by_dimension=True),
    Rollup("rollup_day", "toStartOfDay", by_dimension=True, alone=True),
)
# Reports read no day from the last that was over less than an hour ago: it may follow later.
FRESH, DAYS = ROLLUPS[:3], ROLLUPS[3:]


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


def _pairs(alone: bool) -> str:
    """ARRAY JOIN of (dimension, value): DENSE ones, SPARSE ones with a value, the empty set.

    Of `alone` ones the numbers of campaign, affiliate and link follow.
    """
    pairs = [(name, "''") for name in _NUMBERED] if alone else []
    pairs += [(name, f"toString(raw.{name})") for name in DENSE]
    pairs += [(name, f"raw.{name}") for name in SPARSE] + [(EMPTY, f"toString({_EMPTY_SET})")]
    joined = ", ".join(f"('{name}', {text}{_numbers(name, alone)})" for name, text in pairs)
    wanted = ", ".join(f"'{name}'" for name in SPARSE)
    return (
        f"ARRAY JOIN arrayFilter(pair -> pair.2 != '' OR pair.1 NOT IN ({wanted}), [{joined}])"
        " AS pair"
    )


def _numbers(dimension: str, alone: bool) -> str:
    if not alone:
        return ""
    held = _NUMBERED.get(dimension, ())
    return "".join(f", {f'raw.{n}' if n in held else 'toUInt32(0)'}" for n in _NUMBERS)


def _groupings(alone: bool) -> dict[str, str]:
    """A grouping for each DENSE dimension and for the empty set, and how to tell them apart.

    Of `alone` ones there are groupings of all, by campaign, by affiliate and by link too.
    """
    named = (*DENSE, EMPTY)
    keys = _CLICK_KEYS if alone else (*_CLICK_KEYS, *_NUMBERS)
    held = {name: (name,) for name in named} | (_NUMBERED if alone else {})
    # Which of these a grouping lacks is a number, its first the highest bit.
    told = (*named, *_NUMBERS) if alone else named
    lacks = {
        name: sum(1 << bit for bit, one in enumerate(reversed(told)) if one not in columns)
        for name, columns in held.items()
    }
    names = ", ".join(f"'{name}'" for name in lacks)
    grouping = f"grouping({', '.join(told)})"
    zero = {n: "toUInt32(0)" if alone else f"raw.{n}" for n in _NUMBERS}
    return zero | {
        "grouping_sets": ", ".join(f"({', '.join((*keys, *one))})" for one in held.values()),
        "grouped_dimension": f"transform({grouping}, {list(lacks.values())}, [{names}], '')",
        # A grouping has no value of what it lacks.
        "grouped_value": f"concat({', '.join(DENSE)}, if(grouping({EMPTY}) = 0,"
        f" toString({EMPTY}), ''))",
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
        return _fill(name, values | _groupings(rollup.alone))
    pairs = {
        "pairs": _pairs(rollup.alone) if rollup.by_dimension else "",
        "campaign": "pair.3" if rollup.alone else "raw.campaign",
        "affiliate": "pair.4" if rollup.alone else "raw.affiliate",
        "link": "pair.5" if rollup.alone else "raw.link",
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


# Behind a pull that has a token. Without, it would cost a tenth of a pull for nothing.
IN_ONE_PIECE = "ORDER BY account"
# By rollup table and source.
PULLS = {(r.table, source): _pull(r, source) for r in ROLLUPS for source in SOURCES}
DIFFERENCES = {(r.table, source): _differences(r, source) for r in ROLLUPS for source in SOURCES}
MONTHS = {(r.table, source): _months(r, source) for r in ROLLUPS for source in SOURCES}
WATERMARKS = {r.table: _fill("watermark", {"rollup": r.table}) for r in ROLLUPS}
SPANS = {source: _fill("span", {"source": source}) for source in SOURCES}
