"""The cells that a report sums: from one rollup, from raw events, or some of each.

Currency, event and status belong to conversions. A filter by one of them chooses among conversions
and leaves clicks alone, so that cr and epc keep their meaning; as dimensions, clicks stand in the
row of none. The reason of a verdict belongs to clicks.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from linkjolt.dimensions import EMPTY, SPARSE
from reports.query import columns
from reports.query.days import (
    EARLIER,
    IS_EARLIER,
    OTHER_DAYS,
    PERIOD,
    WHOLE_DAYS,
    Days,
    day_dimension,
)
from reports.query.request import Filter, ReportRequest, Sort
from reports.query.sources import Shape
from reports.query.templates import bucket_of, fill
from reports.vocabulary import FURTHER, LEDGER, NUMBERED, REASON, Interval, TimeBasis

_CONVERSION_TIMES: dict[TimeBasis, str] = {
    "conversion": "r.time",
    "click": "if(toUnixTimestamp(r.click_time) = 0, r.time, r.click_time)",
}
_VALUE = f"if(r.dimension = '{EMPTY}', '', r.value)"
_ROLLUP_VALUES = dict.fromkeys(FURTHER, _VALUE) | dict.fromkeys(LEDGER, "''")
_OF_CONVERSIONS = ("currency", *LEDGER)
# What stands for them on clicks, and for a click's reason on conversions.
_NOT_ON_CLICKS = dict.fromkeys(_OF_CONVERSIONS, "''") | {REASON: "r.reason"}
_NOT_ON_CONVERSIONS = {REASON: "''"}
# The field of unique clicks that the day rollup has counted.
DAY_VISITORS = "day_unique_clicks"


class Plan(msgspec.Struct, frozen=True):
    """Where rows come from, how they are cut (up to 3 dimensions), and which are wanted.

    `fields`: of `rows.Cell`, those that rows tell. `tops`: dimensions of which each has rows of
    its own, instead of `group_by`. `totals`: the sum of all rows comes before them.
    `offset_seconds`: the zone's, where it is one throughout. `earlier`: rows of an earlier period,
    too, apart from the others.
    """

    shape: Shape
    fields: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    interval: Interval = "none"
    sort: Sort | None = None
    limit: int = 1
    offset: int = 0
    totals: bool = False
    offset_seconds: int | None = None
    earlier: bool = False


class Cells(msgspec.Struct, frozen=True):
    """What a report sums: `source` follows FROM, its rows are named `row`.

    `keys` are texts of what rows are cut by: `earlier`, `bucket` or `top`, d0, d1, d2.
    """

    source: str
    row: Literal["r", "c"]
    keys: dict[str, str]


class _Branch(msgspec.Struct, frozen=True):
    """Some rows of a rollup; `counted`: those of days, with numbers in place of visitors."""

    table: str
    rows: str
    counted: bool = False


def cells(request: ReportRequest, plan: Plan, days: Days | None) -> Cells:
    """All cells of a plan; a rollup alone is summed as it is, for that is planned sooner."""
    keys = _keys(plan, _ROLLUP_VALUES, "r.time")
    selects: list[str] = []
    if plan.shape == "raw":
        selects.append(_raw_clicks(request, plan))
    else:
        branches = _branches(request, plan, days)
        if len(branches) == 1 and plan.shape != "ledger":
            return Cells(_rollup(request, plan, branches[0]), "r", keys)
        selects += [_select_branch(request, plan, branch, keys) for branch in branches]
    if plan.shape in ("raw", "ledger"):
        selects.append(_facts(request, plan))
    return Cells(f"({' UNION ALL '.join(selects)}) AS c", "c", {key: f"c.{key}" for key in keys})


def tells_days(request: ReportRequest, plan: Plan) -> bool:
    """Whether a row adds up one row a day of the day rollup, so that its numbers do.

    Of two affiliates together, or of all below a total, a visitor may have come from both.
    """
    used = {*plan.group_by, *plan.tops, *(one.name for one in request.filters)} - {*LEDGER}
    # Counted are people; a report that knows verdicts counts all, in its totals, too.
    if "verdict" in request.used or {*SPARSE} & used or "unique_clicks" not in plan.fields:
        return False
    if plan.totals and plan.group_by:
        return False
    # Each has rows of its own where none is a registry number.
    beside = {*plan.tops[1:]} if {*plan.tops} <= {*FURTHER} else set[str]()
    alone = day_dimension(used - beside)
    chosen = {one.name for one in request.filters if len(one.include) == 1}
    return alone == "total" or alone in {*plan.group_by, *plan.tops[:1], *chosen}


def _select_branch(
    request: ReportRequest, plan: Plan, branch: _Branch, keys: Mapping[str, str]
) -> str:
    sums = _sums(plan, columns.COUNTED_DAYS if branch.counted else columns.ROLLUP)
    told = f"r.verdict AS verdict, r.currency AS currency, {sums}"
    return f"SELECT {_select(keys)}{told} FROM {_rollup(request, plan, branch)}"


def _branches(request: ReportRequest, plan: Plan, days: Days | None) -> list[_Branch]:
    """Whole days by the day and the rest by the quarter; minutes, or all by the quarter."""
    filtered = {one.name for one in request.filters}
    used = {*plan.group_by, *plan.tops, *filtered} - {*LEDGER}
    further = tuple(name for name in FURTHER if name in used)
    fine = "minute" if plan.shape == "minute" else "dimension" if further else "quarter"
    rows = _dimension_rows(further)
    alone = day_dimension(used - {*further[1:]})
    if days is None or alone is None:
        period = f"({PERIOD} OR {EARLIER})" if plan.earlier else PERIOD
        return [_Branch(f"rollup_{fine}", f"{period} AND {rows}")]
    day_rows = rows if further else f"r.dimension = '{alone}'"
    return [
        _Branch("rollup_day", f"{WHOLE_DAYS} AND {day_rows}", DAY_VISITORS in plan.fields),
        _Branch(f"rollup_{fine}", f"{OTHER_DAYS} AND {rows}"),
    ]


def _rollup(request: ReportRequest, plan: Plan, branch: _Branch) -> str:
    spared = _conditions(request, _ROLLUP_VALUES, "r.basis IN (0, 3)")
    bases = ["0", *(["3"] if branch.counted else [])]
    bases += ["{basis:UInt8}"] if plan.shape != "ledger" else []
    values = {
        "table": branch.table,
        "join": _pairs(plan.tops),
        "bases": f"({', '.join(bases)})",
        "conditions": f"{branch.rows} AND {spared}",
    }
    return fill("rollup", values)


def _pairs(tops: Sequence[str]) -> str:
    """Each row once for each of these dimensions; one of a rollup of dimensions for its own."""
    if not tops:
        return ""
    pairs = [f"('{name}', toString({_ROLLUP_VALUES.get(name, f'r.{name}')}))" for name in tops]
    if {*tops} <= {*FURTHER}:
        pairs = ["(toString(r.dimension), r.value)"]
    return f"ARRAY JOIN [{', '.join(pairs)}] AS pair"


def _dimension_rows(names: Sequence[str]) -> str:
    """Rows of these dimensions; the `empty` rows too whose bit says that one is empty there."""
    if not names:
        return "1"
    if len(names) > 1 or names[0] not in SPARSE:
        return f"r.dimension IN ({', '.join(repr(name) for name in names)})"
    bit = f"bitTest(toUInt64OrZero(r.value), {SPARSE.index(names[0])})"
    return f"r.dimension IN ('{names[0]}', '{EMPTY}') AND (r.dimension != '{EMPTY}' OR {bit})"


def _raw_clicks(request: ReportRequest, plan: Plan) -> str:
    keys = _keys(plan, _NOT_ON_CLICKS, "r.time")
    values = {
        "keys": _select(keys),
        "group": "".join(f"{name}, " for name in keys),
        "sums": _sums(plan, columns.CLICKS),
        "conditions": _conditions(request, _NOT_ON_CLICKS, "1"),
    }
    return fill("cells_raw_clicks", values)


def _facts(request: ReportRequest, plan: Plan) -> str:
    """Cells of conversions, from their facts."""
    time = _CONVERSION_TIMES[request.time_basis]
    keys = _keys(plan, _NOT_ON_CONVERSIONS, time)
    values = {
        "keys": _select(keys),
        "group": "".join(f"{name}, " for name in keys),
        "sums": _sums(plan, columns.FACTS),
        "time": time,
        "conditions": _conditions(request, _NOT_ON_CONVERSIONS, "0"),
    }
    return fill("cells_raw_conversions", values)


def _keys(plan: Plan, values: Mapping[str, str], time: str) -> dict[str, str]:
    if plan.tops:
        return {"top": "pair.1", "d0": "pair.2"}
    keys: dict[str, str] = {"earlier": IS_EARLIER} if plan.earlier else {}
    if plan.interval != "none":
        keys["bucket"] = bucket_of(plan.interval, time, plan.offset_seconds)
    for index, name in enumerate(plan.group_by):
        text = values.get(name, f"r.{name}")
        keys[f"d{index}"] = text if name in NUMBERED else f"toString({text})"
    return keys


def _select(keys: Mapping[str, str]) -> str:
    return "".join(f"{text} AS {name}, " for name, text in keys.items())


def _sums(plan: Plan, source: Mapping[str, str]) -> str:
    return ", ".join(f"{source[name]} AS {name}" for name in columns.added(plan.fields))


def _conditions(request: ReportRequest, values: Mapping[str, str], clicks: str) -> str:
    """All filters; those of conversions spare the rows of which the text `clicks` is true."""
    texts = ["1"]
    for index, one in enumerate(request.filters):
        text = _condition(index, one, values.get(one.name, f"r.{one.name}"))
        texts.append(f"({clicks} OR {text})" if one.name in _OF_CONVERSIONS else text)
    return " AND ".join(texts)


def _condition(index: int, one: Filter, column: str) -> str:
    kind = "Array(UInt32)" if one.name in NUMBERED else "Array(String)"
    texts = [f"{column} IN {{in{index}:{kind}}}"] if one.include else []
    texts += [f"{column} NOT IN {{out{index}:{kind}}}"] if one.exclude else []
    return f"({' AND '.join(texts)})"
