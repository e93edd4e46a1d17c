"""The SQL of reports: filled from constants only, every value bound."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from linkjolt.dimensions import SPARSE
from reports.period import milliseconds
from reports.query.cells import DAY_VISITORS, Cells, Plan, cells, tells_days
from reports.query.columns import fields_of, summed
from reports.query.days import Days, settled_until, whole_days
from reports.query.intervals import steady_offset
from reports.query.request import ReportRequest
from reports.query.sources import Shape, Source, choose_shape, source_of
from reports.query.templates import fill
from reports.vocabulary import FURTHER, METRICS, NUMBERED, TimeBasis

Parameters = dict[str, object]

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


_PAGE = "LIMIT {limit:UInt32} OFFSET {offset:UInt32}"
_BY_TOP = "LIMIT {limit:UInt32} BY top"
# As rows of one dimension are: registry numbers are numbers.
_TOP_TIES = f"if(top IN {NUMBERED}, toUInt64OrZero(d0), 0), d0"


class Query(msgspec.Struct, frozen=True):
    """A statement whose rows decode to `reports.answer.rows.Cell`."""

    sql: str
    parameters: Parameters
    source: Source


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
        _fields(request),
        group_by=request.group_by,
        interval=request.interval,
        sort=request.sort,
        limit=request.limit + 1 + totals,
        offset=request.offset,
        totals=totals,
        offset_seconds=_offset(request, request.start),
    )
    return _query(request, plan, account, raw_max_seconds)


def both_query(
    request: ReportRequest, earlier: ReportRequest, account: int, raw_max_seconds: float
) -> Query:
    """All rows and totals of a report and of an earlier one which `joins_earlier`."""
    plan = Plan(
        choose_shape(request),
        _fields(request),
        group_by=request.group_by,
        interval=request.interval,
        sort=request.sort,
        limit=earlier.limit,
        totals=True,
        offset_seconds=_offset(request, earlier.start),
        earlier=True,
    )
    query = _query(request, plan, account, raw_max_seconds)
    query.parameters["earlier_start_ms"] = milliseconds(earlier.start)
    query.parameters["earlier_end_ms"] = milliseconds(earlier.end)
    return query


def joins_earlier(request: ReportRequest, earlier: ReportRequest) -> bool:
    """Whether one rollup tells both, none of them from whole days."""
    shapes = {choose_shape(one) for one in (request, earlier)}
    return (
        len(shapes) == 1
        and shapes <= {"minute", "quarter", "dimension"}
        and earlier.end <= request.start
        and all(_days(one) is None for one in (request, earlier))
    )


def totals_query(
    request: ReportRequest, account: int, raw_max_seconds: float, shape: Shape | None = None
) -> Query:
    """One row over all that the report's rows sum, whatever the page."""
    return _query(
        request, Plan(shape or choose_shape(request), _fields(request)), account, raw_max_seconds
    )


def tops_query(
    request: ReportRequest, tops: tuple[str, ...], account: int, raw_max_seconds: float
) -> Query:
    """The first rows by each of `tops_together`; `Cell.top` says which."""
    plan = Plan("dimension", _fields(request), tops=tops, sort=request.sort, limit=request.limit)
    return _query(request, plan, account, raw_max_seconds)


def tops_together(request: ReportRequest) -> list[tuple[str, ...]]:
    """The `tops` of a request that one query each can tell; what is left out needs a report.

    Of a rollup of dimensions each row has one; the others stand in every row. The `empty` rows of
    sparse ones stand for several dimensions, and rows by verdict count more. Of whole days each
    of the others has rows of its own, whose unique clicks are counted.
    """
    joined = [name for name in request.tops if _joins(request, name)]
    filtered = {one.name for one in request.filters}
    own = () if filtered & {*FURTHER} else tuple(name for name in joined if name in FURTHER)
    others = tuple(name for name in joined if name not in own)
    if others and _days(request) is not None:
        return [tops for tops in (own, *((name,) for name in others)) if tops]
    return [tops for tops in (own, others) if tops]


def _joins(request: ReportRequest, name: str) -> bool:
    together = choose_shape(msgspec.structs.replace(request, group_by=(name,)))
    return together in ("quarter", "dimension") and name not in SPARSE and name != "verdict"


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
    days = _days(request) if plan.shape in ("quarter", "dimension", "ledger") else None
    if days is not None:
        split = list(days.split)
        parameters |= {"first_day": days.first, "last_day": days.last, "split_days": split}
    if days is not None and tells_days(request, plan):
        plan = msgspec.structs.replace(plan, fields=(*plan.fields, DAY_VISITORS))
    source = cells(request, plan, days)
    values = {
        "columns": _columns(request, plan, source),
        "source": source.source,
        "group": _group(plan, [*source.keys]),
        "order": _order(plan, [*source.keys]),
        "limit": _BY_TOP if plan.tops else _PAGE,
        "settings": _settings(request, source_of(plan.shape), raw_max_seconds),
    }
    return Query(fill("report", values), parameters, source_of(plan.shape))


def _fields(request: ReportRequest) -> tuple[str, ...]:
    return fields_of(
        (*request.metrics, *([request.sort.name] if request.sort.name in METRICS else []))
    )


def _offset(request: ReportRequest, start: datetime) -> int | None:
    """The zone's offset where hours need one and it never changes; the first may begin before."""
    if request.interval != "hour":
        return None
    return steady_offset(start - timedelta(hours=1), request.end, request.timezone)


def _settings(request: ReportRequest, source: Source, raw_max_seconds: float) -> str:
    if source == "raw":
        return _RAW_SETTINGS.format(raw_max_seconds)
    return _SHORT_SETTINGS if request.end - request.start <= _SHORT else ""


def _days(request: ReportRequest) -> Days | None:
    """The days that the day rollup may answer for."""
    settled = settled_until(request.asked_at, request.as_of)
    start = milliseconds(request.start) // 1000
    end = milliseconds(min(request.end, settled)) // 1000
    return whole_days(start, end, request.interval, request.timezone)


def _columns(request: ReportRequest, plan: Plan, source: Cells) -> str:
    texts = [f"{text} AS {key}" for key, text in source.keys.items()]
    texts += [f"grouping({[*source.keys][-1]}) AS total"] if plan.totals else []
    sums = summed(plan.fields, source.row, every_verdict="verdict" in request.used)
    return ", ".join([*texts, sums])


def _group(plan: Plan, keys: Sequence[str]) -> str:
    names = ", ".join(keys)
    if plan.totals:
        return f"GROUP BY GROUPING SETS (({names}), ({'earlier' if plan.earlier else ''}))"
    return f"GROUP BY {names}" if keys else ""


def _bound(name: str, values: tuple[str, ...]) -> list[int] | list[str]:
    return [int(value) for value in values] if name in NUMBERED else list(values)


def _order(plan: Plan, keys: Sequence[str]) -> str:
    first = ["total DESC"] if plan.totals else []
    if plan.sort is not None:
        name = plan.sort.name
        slot = f"d{plan.group_by.index(name)}" if name in plan.group_by else ""
        way = "DESC" if plan.sort.descending else "ASC"
        if name == "unique_clicks" and DAY_VISITORS in plan.fields:
            name = f"{name} + {DAY_VISITORS}"
        first.append(f"{slot or _SORTS.get(name, name)} {way} NULLS LAST")
    ties = [_TOP_TIES] if plan.tops else keys
    return ", ".join([*first, *ties]) or "1"
