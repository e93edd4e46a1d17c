"""Which source answers a report, and its SQL: filled from constants only, every value bound.

Currency: clicks have none. A filter by currency chooses among conversions and leaves clicks
alone, so that cr and epc keep their meaning; in `group_by=currency` clicks stand in the row of
no currency.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import msgspec

from linkjolt.dimensions import EMPTY, SPARSE
from reports.days import OTHER_DAYS, PERIOD, WHOLE_DAYS, Days, day_dimension, whole_days
from reports.period import milliseconds
from reports.request import Filter, ReportRequest, Sort
from reports.templates import bucket_of, fill
from reports.vocabulary import FURTHER, NUMBERED, Interval, TimeBasis

Shape = Literal["minute", "quarter", "dimension", "raw"]
Parameters = dict[str, object]

# The minute rollup is kept two hours longer than this.
_MINUTES_KEPT = timedelta(hours=48, minutes=15)
_NO_VISITORS = "arrayReduce('uniqCombined64State(14)', emptyArrayUInt64())"
_CONVERSION_TIMES: dict[TimeBasis, str] = {
    "conversion": "r.time",
    "click": "if(toUnixTimestamp(r.click_time) = 0, r.time, r.click_time)",
}
_VALUE = f"if(r.dimension = '{EMPTY}', '', r.value)"
# A report that takes too long answers what it has, and says `incomplete`. The number is ours, and
# not bound: an embedded statement whose answer is streamed knows no parameters there.
_RAW_SETTINGS = "SETTINGS max_execution_time = {:f}, timeout_overflow_mode = 'break'"
_BASES: dict[TimeBasis, int] = {"conversion": 1, "click": 2}
_SORTS = {
    "time": "bucket",
    "revenue": "revenue_minor",
    "commission": "commission_minor",
    "cr": "conversions / nullIf(clicks, 0)",
    "epc": "commission_minor / nullIf(clicks, 0)",
    "aov": "revenue_minor / nullIf(conversions, 0)",
    "approval_rate": "approved / nullIf(approved + rejected, 0)",
}


class Query(msgspec.Struct, frozen=True):
    """A statement whose rows decode to `reports.rows.Cell`."""

    sql: str
    parameters: Parameters
    source: Literal["rollup", "raw"]


class _Plan(msgspec.Struct, frozen=True):
    """Where rows come from, how they are cut (up to 3 dimensions), and which are wanted."""

    shape: Shape
    group_by: tuple[str, ...] = ()
    interval: Interval = "none"
    sort: Sort | None = None
    limit: int = 1
    offset: int = 0


def choose_shape(request: ReportRequest) -> Shape:
    """The smallest source that holds the answer exactly."""
    further = [name for name in request.used if name in FURTHER]
    if request.interval == "minute":
        kept = request.start >= request.asked_at - _MINUTES_KEPT
        return "minute" if kept and not further and _on(request, 60) else "raw"
    if len(further) > 1 or not _on(request, 900):
        return "raw"
    return "dimension" if further else "quarter"


def _on(request: ReportRequest, seconds: int) -> bool:
    edges = (milliseconds(request.start), milliseconds(request.end))
    return all(edge % (seconds * 1000) == 0 for edge in edges)


def rows_query(
    request: ReportRequest, account: int, raw_max_seconds: float, shape: Shape | None = None
) -> Query:
    """The rows of one page, and one more when another page follows."""
    plan = _Plan(
        shape or choose_shape(request),
        request.group_by,
        request.interval,
        request.sort,
        request.limit + 1,
        request.offset,
    )
    return _query(request, plan, account, raw_max_seconds)


def totals_query(
    request: ReportRequest, account: int, raw_max_seconds: float, shape: Shape | None = None
) -> Query:
    """One row over all that the report's rows sum, whatever the page."""
    return _query(request, _Plan(shape or choose_shape(request)), account, raw_max_seconds)


def _query(request: ReportRequest, plan: _Plan, account: int, raw_max_seconds: float) -> Query:
    parameters: Parameters = {
        "account": account,
        "start_ms": milliseconds(request.start),
        "end_ms": milliseconds(request.end),
        "basis": _BASES[request.time_basis],
        "zone": request.timezone,
        "limit": plan.limit,
        "offset": plan.offset,
    }
    for index, one in enumerate(request.filters):
        parameters[f"in{index}"] = _bound(one.name, one.include)
        parameters[f"out{index}"] = _bound(one.name, one.exclude)
    days = _days(request, plan)
    if days is not None:
        split = list(days.split)
        parameters |= {"first_day": days.first, "last_day": days.last, "split_days": split}
    unique = "unique_clicks" in (*request.metrics, request.sort.name)
    counted = "1" if "verdict" in request.used else "c.verdict IN ('human', 'duplicate')"
    raw = plan.shape == "raw"
    keys = _keys(plan)
    values = {
        "keys": ", ".join(f"{text} AS {name}" for name, text in keys.items()),
        "cells": _raw(request, plan, unique) if raw else _rollup(request, plan, days, unique),
        "counted": counted,
        "unique_clicks": f"uniqCombined64MergeIf(14)(c.visitors, {counted})" if unique else "0",
        "group": _group(keys),
        "order": _order(plan),
        "settings": _RAW_SETTINGS.format(raw_max_seconds) if raw else "",
    }
    return Query(fill("report", values), parameters, "raw" if raw else "rollup")


def _days(request: ReportRequest, plan: _Plan) -> Days | None:
    """The days that the day rollup may answer for."""
    if plan.shape not in ("quarter", "dimension"):
        return None
    start, end = milliseconds(request.start) // 1000, milliseconds(request.end) // 1000
    return whole_days(start, end, plan.interval, request.timezone)


def _keys(plan: _Plan) -> dict[str, str]:
    """What stands for bucket, d0, d1 and d2: columns of cells, or constants where not asked for."""
    keys = {"bucket": "toUInt32(0)" if plan.interval == "none" else "c.bucket"}
    wanted = len(plan.group_by)
    return keys | {f"d{index}": f"c.d{index}" if index < wanted else "''" for index in range(3)}


def _group(keys: Mapping[str, str]) -> str:
    columns = [text for text in keys.values() if text.startswith("c.")]
    return f"GROUP BY {', '.join(columns)}" if columns else ""


def _bound(name: str, values: tuple[str, ...]) -> list[int] | list[str]:
    return [int(value) for value in values] if name in NUMBERED else list(values)


def _order(plan: _Plan) -> str:
    ties = "bucket, d0, d1, d2"
    if plan.sort is None:
        return ties
    name = plan.sort.name
    column = f"d{plan.group_by.index(name)}" if name in plan.group_by else _SORTS.get(name, name)
    return f"{column} {'DESC' if plan.sort.descending else 'ASC'} NULLS LAST, {ties}"


def _rollup(request: ReportRequest, plan: _Plan, days: Days | None, unique: bool) -> str:
    """Whole days by the day and the rest by the quarter; minutes, or all by the quarter."""
    used = {*plan.group_by, *(one.name for one in request.filters)}
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


def _cells(request: ReportRequest, plan: _Plan, unique: bool, table: str, rows: str) -> str:
    columns = dict.fromkeys(FURTHER, _VALUE)
    values = {
        "table": table,
        "bucket": bucket_of(plan.interval, "r.time"),
        "visitors": "r.visitors" if unique else "0",
        "conditions": f"{rows} AND {_conditions(request, columns, 'r.basis = 0')}",
    }
    return fill("cells_rollup", values | _slots(plan, "", columns))


def _dimension_rows(name: str) -> str:
    """Rows of one dimension; the `empty` rows too whose bit says that it is empty there."""
    if not name:
        return "1"
    if name not in SPARSE:
        return f"r.dimension = '{name}'"
    bit = f"bitTest(toUInt64OrZero(r.value), {SPARSE.index(name)})"
    return f"r.dimension IN ('{name}', '{EMPTY}') AND (r.dimension != '{EMPTY}' OR {bit})"


def _raw(request: ReportRequest, plan: _Plan, unique: bool) -> str:
    time = _CONVERSION_TIMES[request.time_basis]
    no_currency = {"currency": "''"}
    values = {
        "visitors": "uniqCombined64State(14)(r.visitor)" if unique else "0",
        "no_visitors": _NO_VISITORS if unique else "0",
        "conversion_time": time,
        "click_bucket": bucket_of(plan.interval, "r.time"),
        "conversion_bucket": bucket_of(plan.interval, time),
        "click_conditions": _conditions(request, no_currency, "1"),
        "conversion_conditions": _conditions(request, {}, "0"),
    }
    slots = _slots(plan, "click_", no_currency) | _slots(plan, "conversion_", {})
    return fill("cells_raw", values | slots)


def _slots(plan: _Plan, prefix: str, columns: Mapping[str, str]) -> dict[str, str]:
    """What stands for $d0, $d1 and $d2: a report's dimensions, or nothing."""
    slots = {f"{prefix}d{index}": "''" for index in range(3)}
    for index, name in enumerate(plan.group_by):
        column = columns.get(name, f"r.{name}")
        slots[f"{prefix}d{index}"] = column if name in NUMBERED else f"toString({column})"
    return slots


def _conditions(request: ReportRequest, columns: Mapping[str, str], clicks: str) -> str:
    """All filters; a filter by currency spares the rows of which the text `clicks` is true."""
    texts = ["1"]
    for index, one in enumerate(request.filters):
        text = _condition(index, one, columns.get(one.name, f"r.{one.name}"))
        texts.append(f"({clicks} OR {text})" if one.name == "currency" else text)
    return " AND ".join(texts)


def _condition(index: int, one: Filter, column: str) -> str:
    kind = "Array(UInt32)" if one.name in NUMBERED else "Array(String)"
    texts = [f"{column} IN {{in{index}:{kind}}}"] if one.include else []
    texts += [f"{column} NOT IN {{out{index}:{kind}}}"] if one.exclude else []
    return f"({' AND '.join(texts)})"
