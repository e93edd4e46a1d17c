"""Which source answers a report, and its SQL: filled from constants only, every value bound."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Literal

import msgspec

from reports.cells import Plan, Shape, cells
from reports.days import Days, whole_days
from reports.period import milliseconds
from reports.request import ReportRequest
from reports.templates import fill
from reports.vocabulary import BASE, FURTHER, LEDGER, NUMBERED, REASON, TimeBasis

Parameters = dict[str, object]

# The minute rollup is kept two hours longer than this.
_MINUTES_KEPT = timedelta(hours=48, minutes=15)
# A report that takes too long answers what it has, and says `incomplete`. The number is ours, and
# not bound: an embedded statement whose answer is streamed knows no parameters there.
_RAW_SETTINGS = "SETTINGS max_execution_time = {:f}, timeout_overflow_mode = 'break'"
# Of two days there is too little to read for another thread to pay.
_SHORT_SETTINGS = "SETTINGS max_threads = 1"
_SHORT = timedelta(days=2)
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


def choose_shape(request: ReportRequest) -> Shape:
    """The smallest source that holds the answer exactly."""
    used = request.used
    further = [name for name in used if name in FURTHER]
    facts = any(name in LEDGER for name in used)
    if request.interval == "minute":
        kept = request.start >= request.asked_at - _MINUTES_KEPT
        return "minute" if kept and _on(request, 60) and {*used} <= {*BASE} else "raw"
    if REASON in used or len(further) > 1 or not _on(request, 900):
        return "raw"
    if facts:
        return "ledger"
    return "dimension" if further else "quarter"


def _on(request: ReportRequest, seconds: int) -> bool:
    edges = (milliseconds(request.start), milliseconds(request.end))
    return all(edge % (seconds * 1000) == 0 for edge in edges)


def rows_query(
    request: ReportRequest,
    account: int,
    raw_max_seconds: float,
    shape: Shape | None = None,
    *,
    totals: bool = False,
) -> Query:
    """The rows of one page, and one more when another page follows; before them their `totals`."""
    plan = Plan(
        shape or choose_shape(request),
        request.group_by,
        request.interval,
        request.sort,
        request.limit + 1 + totals,
        request.offset,
        totals,
    )
    return _query(request, plan, account, raw_max_seconds)


def totals_query(
    request: ReportRequest, account: int, raw_max_seconds: float, shape: Shape | None = None
) -> Query:
    """One row over all that the report's rows sum, whatever the page."""
    return _query(request, Plan(shape or choose_shape(request)), account, raw_max_seconds)


def _query(request: ReportRequest, plan: Plan, account: int, raw_max_seconds: float) -> Query:
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
    raw = plan.shape in ("ledger", "raw")
    keys = _keys(plan)
    values = {
        "keys": ", ".join(f"{text} AS {name}" for name, text in keys.items()),
        "cells": cells(request, plan, days, unique),
        "counted": counted,
        "unique_clicks": f"uniqCombined64MergeIf(14)(c.visitors, {counted})" if unique else "0",
        "group": _group(keys, plan.totals),
        "total": f"grouping({_grouped(keys)[0]})" if plan.totals else "0",
        "order": _order(plan),
        "settings": _settings(request, raw, raw_max_seconds),
    }
    return Query(fill("report", values), parameters, "raw" if raw else "rollup")


def _settings(request: ReportRequest, raw: bool, raw_max_seconds: float) -> str:
    if raw:
        return _RAW_SETTINGS.format(raw_max_seconds)
    return _SHORT_SETTINGS if request.end - request.start <= _SHORT else ""


def _days(request: ReportRequest, plan: Plan) -> Days | None:
    """The days that the day rollup may answer for."""
    if plan.shape not in ("quarter", "dimension", "ledger"):
        return None
    start, end = milliseconds(request.start) // 1000, milliseconds(request.end) // 1000
    return whole_days(start, end, plan.interval, request.timezone)


def _keys(plan: Plan) -> dict[str, str]:
    """What stands for bucket, d0, d1 and d2: columns of cells, or constants where not asked for."""
    keys = {"bucket": "toUInt32(0)" if plan.interval == "none" else "c.bucket"}
    wanted = len(plan.group_by)
    return keys | {f"d{index}": f"c.d{index}" if index < wanted else "''" for index in range(3)}


def _grouped(keys: Mapping[str, str]) -> list[str]:
    return [text for text in keys.values() if text.startswith("c.")]


def _group(keys: Mapping[str, str], totals: bool) -> str:
    columns = ", ".join(_grouped(keys))
    if totals:
        return f"GROUP BY GROUPING SETS (({columns}), ())"
    return f"GROUP BY {columns}" if columns else ""


def _bound(name: str, values: tuple[str, ...]) -> list[int] | list[str]:
    return [int(value) for value in values] if name in NUMBERED else list(values)


def _order(plan: Plan) -> str:
    ties = "bucket, d0, d1, d2"
    if plan.sort is None:
        return ties
    name = plan.sort.name
    column = f"d{plan.group_by.index(name)}" if name in plan.group_by else _SORTS.get(name, name)
    return f"{column} {'DESC' if plan.sort.descending else 'ASC'} NULLS LAST, {ties}"
