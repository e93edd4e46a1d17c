"""The cells that a report sums: from one rollup, from raw events, or some of each.

Currency, event and status belong to conversions. A filter by one of them chooses among conversions
and leaves clicks alone, so that cr and epc keep their meaning; as dimensions, clicks stand in the
row of none. The reason of a verdict belongs to clicks.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

from linkjolt.dimensions import EMPTY, SPARSE
from reports.days import OTHER_DAYS, PERIOD, WHOLE_DAYS, Days, day_dimension
from reports.request import Filter, ReportRequest, Sort
from reports.templates import bucket_of, fill
from reports.vocabulary import FURTHER, LEDGER, NUMBERED, REASON, Interval, TimeBasis

Shape = Literal["minute", "quarter", "dimension", "ledger", "raw"]

_NO_VISITORS = "arrayReduce('uniqCombined64State(14)', emptyArrayUInt64())"
_CONVERSION_TIMES: dict[TimeBasis, str] = {
    "conversion": "r.time",
    "click": "if(toUnixTimestamp(r.click_time) = 0, r.time, r.click_time)",
}
_VALUE = f"if(r.dimension = '{EMPTY}', '', r.value)"
_OF_CONVERSIONS = ("currency", *LEDGER)
# What stands for them on clicks, and for a click's reason on conversions.
_NOT_ON_CLICKS = dict.fromkeys(_OF_CONVERSIONS, "''") | {REASON: "r.reason"}
_NOT_ON_CONVERSIONS = {REASON: "''"}


class Plan(msgspec.Struct, frozen=True):
    """Where rows come from, how they are cut (up to 3 dimensions), and which are wanted.

    `totals`: the sum of all rows comes before them.
    """

    shape: Shape
    group_by: tuple[str, ...] = ()
    interval: Interval = "none"
    sort: Sort | None = None
    limit: int = 1
    offset: int = 0
    totals: bool = False


def cells(request: ReportRequest, plan: Plan, days: Days | None, unique: bool) -> str:
    """The SELECT of all cells of a plan; `unique`: with the states of visitors."""
    match plan.shape:
        case "raw":
            return f"{_raw_clicks(request, plan, unique)} UNION ALL {_facts(request, plan, unique)}"
        case "ledger":
            clicks = _rollup(request, plan, days, unique)
            return f"{clicks} UNION ALL {_facts(request, plan, unique)}"
        case _:
            return _rollup(request, plan, days, unique)


def _rollup(request: ReportRequest, plan: Plan, days: Days | None, unique: bool) -> str:
    """Whole days by the day and the rest by the quarter; minutes, or all by the quarter."""
    used = {*plan.group_by, *(one.name for one in request.filters)} - {*LEDGER}
    further = next((name for name in FURTHER if name in used), "")
    fine = "minute" if plan.shape == "minute" else "dimension" if further else "quarter"
    rows = _dimension_rows(further)
    alone = day_dimension(used)
    if days is None or alone is None:
        return _cells(request, plan, unique, f"rollup_{fine}", f"{PERIOD} AND {rows}")
    day_rows = rows if further else f"r.dimension = '{alone}'"
    by_day = _cells(request, plan, unique, "rollup_day", f"{WHOLE_DAYS} AND {day_rows}")
    rest = _cells(request, plan, unique, f"rollup_{fine}", f"{OTHER_DAYS} AND {rows}")
    return f"{by_day} UNION ALL {rest}"


def _cells(request: ReportRequest, plan: Plan, unique: bool, table: str, rows: str) -> str:
    columns = dict.fromkeys(FURTHER, _VALUE) | dict.fromkeys(LEDGER, "''")
    values = {
        "table": table,
        "bucket": bucket_of(plan.interval, "r.time"),
        "visitors": "r.visitors" if unique else "0",
        "bases": "(0)" if plan.shape == "ledger" else "(0, {basis:UInt8})",
        "conditions": f"{rows} AND {_conditions(request, columns, 'r.basis = 0')}",
    }
    return fill("cells_rollup", values | _slots(plan, columns))


def _dimension_rows(name: str) -> str:
    """Rows of one dimension; the `empty` rows too whose bit says that it is empty there."""
    if not name:
        return "1"
    if name not in SPARSE:
        return f"r.dimension = '{name}'"
    bit = f"bitTest(toUInt64OrZero(r.value), {SPARSE.index(name)})"
    return f"r.dimension IN ('{name}', '{EMPTY}') AND (r.dimension != '{EMPTY}' OR {bit})"


def _raw_clicks(request: ReportRequest, plan: Plan, unique: bool) -> str:
    values = {
        "bucket": bucket_of(plan.interval, "r.time"),
        "visitors": "uniqCombined64State(14)(r.visitor)" if unique else "0",
        "conditions": _conditions(request, _NOT_ON_CLICKS, "1"),
    }
    return fill("cells_raw_clicks", values | _slots(plan, _NOT_ON_CLICKS))


def _facts(request: ReportRequest, plan: Plan, unique: bool) -> str:
    """Cells of conversions, from their facts."""
    time = _CONVERSION_TIMES[request.time_basis]
    values = {
        "time": time,
        "bucket": bucket_of(plan.interval, time),
        "visitors": _NO_VISITORS if unique else "0",
        "conditions": _conditions(request, _NOT_ON_CONVERSIONS, "0"),
    }
    return fill("cells_raw_conversions", values | _slots(plan, _NOT_ON_CONVERSIONS))


def _slots(plan: Plan, columns: Mapping[str, str]) -> dict[str, str]:
    """What stands for $d0, $d1 and $d2: a report's dimensions, or nothing."""
    slots = {f"d{index}": "''" for index in range(3)}
    for index, name in enumerate(plan.group_by):
        column = columns.get(name, f"r.{name}")
        slots[f"d{index}"] = column if name in NUMBERED else f"toString({column})"
    return slots


def _conditions(request: ReportRequest, columns: Mapping[str, str], clicks: str) -> str:
    """All filters; those of conversions spare the rows of which the text `clicks` is true."""
    texts = ["1"]
    for index, one in enumerate(request.filters):
        text = _condition(index, one, columns.get(one.name, f"r.{one.name}"))
        texts.append(f"({clicks} OR {text})" if one.name in _OF_CONVERSIONS else text)
    return " AND ".join(texts)


def _condition(index: int, one: Filter, column: str) -> str:
    kind = "Array(UInt32)" if one.name in NUMBERED else "Array(String)"
    texts = [f"{column} IN {{in{index}:{kind}}}"] if one.include else []
    texts += [f"{column} NOT IN {{out{index}:{kind}}}"] if one.exclude else []
    return f"({' AND '.join(texts)})"
