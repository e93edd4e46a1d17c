"""Builds the SQL of reports, from constants only; every value is bound."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from linkjolt.datasets import Dataset
from linkjolt.dimensions import SPARSE
from reports.period import to_milliseconds
from reports.query.days import WholeDays, days_settled_until, whole_days
from reports.query.intervals import steady_offset
from reports.query.request import Filter, ReportRequest
from reports.query.source_sql import (
    DAY_VISITORS,
    QueryPlan,
    SourceSql,
    can_sum_day_counts,
    metric_fields,
    source_sql,
    sum_expressions,
)
from reports.query.sources import Shape, Source, choose_shape, source_of
from reports.query.templates import fill
from reports.vocabulary import METRICS, NUMBERED_DIMENSIONS, SINGLE_DIMENSIONS, TimeBasis

Parameters = dict[str, object]

# A report that takes too long answers with the rows read so far, and `incomplete`. The number comes
# from settings and is not bound: a streamed embedded statement takes no parameters in SETTINGS.
_RAW_SETTINGS = "SETTINGS max_execution_time = {:f}, timeout_overflow_mode = 'break'"
# Two days are too little to read for another thread to pay off.
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
    "clawback": "clawback_minor",
    "unverified_conversions": "unverified",
}


_LIMIT_PAGE = "LIMIT {limit:UInt32} OFFSET {offset:UInt32}"
_LIMIT_BY_TOP = "LIMIT {limit:UInt32} BY top"
# Ties are ordered as in a report by one dimension, where registry numbers are numbers.
_TOP_TIES = f"if(top IN {NUMBERED_DIMENSIONS}, toUInt64OrZero(d0), 0), d0"


class Query(msgspec.Struct, frozen=True):
    """A statement whose rows decode to `reports.answer.rows.ReportRow`."""

    sql: str
    parameters: Parameters
    source: Source
    reads_raw_clicks: bool


def rows_query(
    request: ReportRequest,
    account: Dataset,
    raw_max_seconds: float,
    shape: Shape | None = None,
    *,
    totals: bool = False,
) -> Query:
    """Builds the statement for one page of rows, and one more row if another page follows.

    With `totals` a row with the sum of all precedes them.
    """
    plan = QueryPlan(
        shape or choose_shape(request),
        _fields(request),
        group_by=request.group_by,
        interval=request.interval,
        sort=request.sort,
        limit=request.limit + 1 + totals,
        offset=request.offset,
        with_totals=totals,
        offset_seconds=_offset(request, request.start),
    )
    return _query(request, plan, account, raw_max_seconds)


def comparison_query(
    request: ReportRequest, earlier: ReportRequest, account: Dataset, raw_max_seconds: float
) -> Query:
    """Builds one statement for all rows and totals of a report and an earlier one.

    `can_join_earlier` has to hold.
    """
    plan = QueryPlan(
        choose_shape(request),
        _fields(request),
        group_by=request.group_by,
        interval=request.interval,
        sort=request.sort,
        limit=earlier.limit,
        with_totals=True,
        offset_seconds=_offset(request, earlier.start),
        with_earlier=True,
    )
    query = _query(request, plan, account, raw_max_seconds)
    query.parameters["earlier_start_ms"] = to_milliseconds(earlier.start)
    query.parameters["earlier_end_ms"] = to_milliseconds(earlier.end)
    return query


def can_join_earlier(request: ReportRequest, earlier: ReportRequest) -> bool:
    """Whether one rollup answers both, neither of them from whole days."""
    shapes = {choose_shape(each) for each in (request, earlier)}
    return (
        len(shapes) == 1
        and shapes <= {"minute", "quarter", "dimension"}
        and earlier.end <= request.start
        and all(_days(each) is None for each in (request, earlier))
    )


def totals_query(
    request: ReportRequest, account: Dataset, raw_max_seconds: float, shape: Shape | None = None
) -> Query:
    """Builds the statement for the sum of all rows of a report, whatever the page."""
    return _query(
        request,
        QueryPlan(shape or choose_shape(request), _fields(request)),
        account,
        raw_max_seconds,
    )


def tops_query(
    request: ReportRequest, tops: tuple[str, ...], account: Dataset, raw_max_seconds: float
) -> Query:
    """Builds the statement for the first rows by each of these dimensions, named by `top`.

    They have to be from one element of `tops_per_query`.
    """
    plan = QueryPlan(
        "dimension", _fields(request), tops=tops, sort=request.sort, limit=request.limit
    )
    return _query(request, plan, account, raw_max_seconds)


def tops_per_query(request: ReportRequest) -> list[tuple[str, ...]]:
    """Groups the `tops` of a request by the statement that answers them; others need a report each.

    A row of rollup_dimension has one dimension of its own; the base dimensions are in every row.
    Sparse dimensions are left out as their `empty` rows belong to several, and the verdict as its
    rows count every click. Over whole days each base dimension has rows of its own, whose unique
    clicks are counted.
    """
    sharing = [name for name in request.tops if _can_share_query(request, name)]
    filtered = {chosen.name for chosen in request.filters}
    single = (
        ()
        if filtered & {*SINGLE_DIMENSIONS}
        else tuple(name for name in sharing if name in SINGLE_DIMENSIONS)
    )
    base = tuple(name for name in sharing if name not in single)
    if base and _days(request) is not None:
        return [tops for tops in (single, *((name,) for name in base)) if tops]
    return [tops for tops in (single, base) if tops]


def _can_share_query(request: ReportRequest, name: str) -> bool:
    shape = choose_shape(msgspec.structs.replace(request, group_by=(name,)))
    return shape in ("quarter", "dimension") and name not in SPARSE and name != "verdict"


def _query(
    request: ReportRequest, plan: QueryPlan, account: Dataset, raw_max_seconds: float
) -> Query:
    parameters: Parameters = {
        "account": account,
        "start_ms": to_milliseconds(request.start),
        "end_ms": to_milliseconds(request.end),
        "basis": _BASES[request.time_basis],
        "zone": request.timezone,
        "limit": plan.limit,
        "offset": plan.offset,
    }
    parameters |= filter_parameters(request.filters)
    days = _days(request) if plan.shape in ("quarter", "dimension", "ledger") else None
    if days is not None:
        split = list(days.split)
        parameters |= {"first_day": days.first, "last_day": days.last, "split_days": split}
    if days is not None and can_sum_day_counts(request, plan):
        plan = msgspec.structs.replace(plan, fields=(*plan.fields, DAY_VISITORS))
    source = source_sql(request, plan, days)
    values = {
        "columns": _columns(request, plan, source),
        "source": source.from_clause,
        "group": _group(plan, [*source.keys]),
        "order": _order(plan, [*source.keys]),
        "limit": _LIMIT_BY_TOP if plan.tops else _LIMIT_PAGE,
        "settings": _settings(request, source_of(plan.shape), raw_max_seconds),
    }
    return Query(fill("report", values), parameters, source_of(plan.shape), plan.shape == "raw")


def _fields(request: ReportRequest) -> tuple[str, ...]:
    return metric_fields(
        (*request.metrics, *([request.sort.name] if request.sort.name in METRICS else []))
    )


def _offset(request: ReportRequest, start: datetime) -> int | None:
    """Finds the zone's constant offset, for hours only; the first may begin before `start`."""
    if request.interval != "hour":
        return None
    return steady_offset(start - timedelta(hours=1), request.end, request.timezone)


def _settings(request: ReportRequest, source: Source, raw_max_seconds: float) -> str:
    if source == "raw":
        return _RAW_SETTINGS.format(raw_max_seconds)
    return _SHORT_SETTINGS if request.end - request.start <= _SHORT else ""


def _days(request: ReportRequest) -> WholeDays | None:
    """Finds the days that the day rollup answers."""
    settled = days_settled_until(request.asked_at, request.as_of)
    start = to_milliseconds(request.start) // 1000
    end = to_milliseconds(min(request.end, settled)) // 1000
    return whole_days(start, end, request.interval, request.timezone)


def _columns(request: ReportRequest, plan: QueryPlan, source: SourceSql) -> str:
    texts = [f"{text} AS {key}" for key, text in source.keys.items()]
    texts += [f"grouping({[*source.keys][-1]}) AS total"] if plan.with_totals else []
    sums = sum_expressions(
        plan.fields, source.alias, every_verdict="verdict" in request.used_dimensions
    )
    return ", ".join([*texts, sums])


def _group(plan: QueryPlan, keys: Sequence[str]) -> str:
    names = ", ".join(keys)
    if plan.with_totals:
        return f"GROUP BY GROUPING SETS (({names}), ({'earlier' if plan.with_earlier else ''}))"
    return f"GROUP BY {names}" if keys else ""


def filter_parameters(filters: Sequence[Filter]) -> Parameters:
    """Binds the values of filters as `source_sql.condition` names them."""
    parameters: Parameters = {}
    for index, one in enumerate(filters):
        parameters[f"in{index}"] = _parameter_values(one.name, one.include)
        parameters[f"out{index}"] = _parameter_values(one.name, one.exclude)
    return parameters


def _parameter_values(name: str, values: tuple[str, ...]) -> list[int] | list[str]:
    return [int(value) for value in values] if name in NUMBERED_DIMENSIONS else list(values)


def _order(plan: QueryPlan, keys: Sequence[str]) -> str:
    first = ["total DESC"] if plan.with_totals else []
    if plan.sort is not None:
        name = plan.sort.name
        column = f"d{plan.group_by.index(name)}" if name in plan.group_by else ""
        direction = "DESC" if plan.sort.descending else "ASC"
        if name == "unique_clicks" and DAY_VISITORS in plan.fields:
            name = f"{name} + {DAY_VISITORS}"
        first.append(f"{column or _SORTS.get(name, name)} {direction} NULLS LAST")
    ties = [_TOP_TIES] if plan.tops else keys
    return ", ".join([*first, *ties]) or "1"
