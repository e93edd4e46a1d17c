"""Builds the FROM clause of a report: a rollup, raw events, or some of each.

A statement has the columns that its metrics need and no others: the engine takes a third of a
millisecond of a core to plan an expression, most of the cost of a report over a short period.

Currency, event and status belong to conversions. A filter by one of them selects conversions and
leaves clicks alone, so that cr and epc keep their meaning; as dimensions they are empty for clicks.
The reason of a verdict belongs to clicks.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from linkjolt.clicks.unique_visitors import HUMAN_VERDICTS_SQL
from linkjolt.dimensions import EMPTY, SPARSE
from reports.query.days import (
    EARLIER,
    IS_EARLIER,
    OTHER_DAYS,
    PERIOD,
    WHOLE_DAYS,
    WholeDays,
    day_dimension,
)
from reports.query.request import Filter, ReportRequest, Sort
from reports.query.sources import Shape
from reports.query.templates import bucket_sql, fill
from reports.vocabulary import (
    CONVERSION_DIMENSIONS,
    NUMBERED_DIMENSIONS,
    REASON_DIMENSION,
    SINGLE_DIMENSIONS,
    Interval,
    TimeBasis,
)

_CONVERSION_TIMES: dict[TimeBasis, str] = {
    "conversion": "r.time",
    "click": "if(toUnixTimestamp(r.click_time) = 0, r.time, r.click_time)",
}
_ROLLUP_VALUE = f"if(r.dimension = '{EMPTY}', '', r.value)"
_ROLLUP_VALUES = dict.fromkeys(SINGLE_DIMENSIONS, _ROLLUP_VALUE) | dict.fromkeys(
    CONVERSION_DIMENSIONS, "''"
)
_CONVERSION_FILTERS = ("currency", *CONVERSION_DIMENSIONS)
# The values of these dimensions for clicks, and of a click's reason for conversions.
_CLICK_VALUES = dict.fromkeys(_CONVERSION_FILTERS, "''") | {REASON_DIMENSION: "r.reason"}
_CONVERSION_VALUES = {REASON_DIMENSION: "''"}
# The field with the unique clicks that the day rollup has counted.
DAY_VISITORS = "day_unique_clicks"
# The fields of `ReportRow` from which a metric is computed; any other metric is a field itself.
_FIELDS: dict[str, tuple[str, ...]] = {
    "revenue": ("revenue_minor", "currencies"),
    "commission": ("commission_minor", "currencies"),
    "cr": ("conversions", "clicks"),
    "epc": ("commission_minor", "clicks", "currencies"),
    "aov": ("revenue_minor", "conversions", "currencies"),
    "approval_rate": ("approved", "rejected"),
    "clawback": ("clawback_minor", "currencies"),
    "unverified_conversions": ("unverified",),
}
# By field: its SQL expression over rows $, and the source column that it sums. Every source has the
# columns verdict and currency too.
_FIELD_SUMS: dict[str, tuple[str, str]] = {
    "clicks": ("sumIf($.clicks, {verdict_condition})", "clicks"),
    "unique_clicks": ("uniqCombined64MergeIf(16)($.visitors, {verdict_condition})", "visitors"),
    "day_unique_clicks": ("sum($.unique_clicks)", "unique_clicks"),
    "bot_clicks": ("sumIf($.clicks, $.verdict = 'bot')", "clicks"),
    "duplicate_clicks": ("sumIf($.clicks, $.verdict = 'duplicate')", "clicks"),
    **{
        name: (f"sum($.{name})", name)
        for name in (
            *("conversions", "pending", "approved", "rejected"),
            *("revenue_minor", "commission_minor", "clawback_minor", "unverified"),
        )
    },
    "currencies": ("arraySort(groupUniqArrayIf(toString($.currency), $.currency != ''))", ""),
}
_PEOPLE_ONLY = f"$.verdict IN {HUMAN_VERDICTS_SQL}"
_SOURCE_COLUMNS = dict.fromkeys(column for _, column in _FIELD_SUMS.values() if column)
_NO_VISITORS = "arrayReduce('uniqCombined64State(16)', emptyArrayUInt64())"
# SQL expressions of the source columns, for each kind of source `r`.
ROLLUP_COLUMNS = {column: f"r.{column}" for column in _SOURCE_COLUMNS} | {
    "unique_clicks": "toInt64(0)"
}
COUNTED_DAY_COLUMNS = ROLLUP_COLUMNS | {
    "visitors": _NO_VISITORS,
    "unique_clicks": "r.unique_clicks",
}
CLICK_COLUMNS = dict.fromkeys(_SOURCE_COLUMNS, "toInt64(0)") | {
    "clicks": "toInt64(count())",
    "visitors": "uniqCombined64State(16)(r.visitor)",
}
CONVERSION_COLUMNS = {column: f"toInt64(sum(r.{column}))" for column in _SOURCE_COLUMNS} | {
    "clicks": "toInt64(0)",
    "visitors": _NO_VISITORS,
    "unique_clicks": "toInt64(0)",
    "revenue_minor": "toInt64(sum(r.order_value_minor))",
}


def metric_fields(metrics: Iterable[str]) -> tuple[str, ...]:
    """Lists the fields of `ReportRow` that these metrics need, each once."""
    fields = (field for metric in metrics for field in _FIELDS.get(metric, (metric,)))
    return tuple(dict.fromkeys(fields))


def source_columns(fields: Iterable[str]) -> list[str]:
    """Lists the source columns that these fields sum, each once."""
    return list(dict.fromkeys(_FIELD_SUMS[field][1] for field in fields if _FIELD_SUMS[field][1]))


def sum_expressions(fields: Iterable[str], row: str, *, every_verdict: bool) -> str:
    """Builds the select list of these fields, summed from rows under the alias `row`.

    Clicks are counted for every verdict, or only for those of people.
    """
    verdict_condition = "1" if every_verdict else _PEOPLE_ONLY
    texts = (
        f"{_FIELD_SUMS[field][0].format(verdict_condition=verdict_condition)} AS {field}"
        for field in fields
    )
    return ", ".join(texts).replace("$", row)


class QueryPlan(msgspec.Struct, frozen=True):
    """How a statement reads, groups (by up to 3 dimensions), sorts and limits its rows.

    `fields`: the fields of `ReportRow` to select. `tops`: dimensions that each get rows of their
    own, instead of `group_by`. `with_totals`: a row with the sum of all precedes the others.
    `offset_seconds`: the zone's offset, if it is constant over the period. `with_earlier`: rows of
    an earlier period as well, grouped apart.
    """

    shape: Shape
    fields: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    tops: tuple[str, ...] = ()
    interval: Interval = "none"
    sort: Sort | None = None
    limit: int = 1
    offset: int = 0
    with_totals: bool = False
    offset_seconds: int | None = None
    with_earlier: bool = False


class SourceSql(msgspec.Struct, frozen=True):
    """The text after FROM, whose rows have this alias.

    `keys` maps the grouping columns (`earlier`, `bucket` or `top`, d0, d1, d2) to their SQL.
    """

    from_clause: str
    alias: Literal["r", "c"]
    keys: dict[str, str]


class _RollupBranch(msgspec.Struct, frozen=True):
    """A selection of rows of a rollup; `counted`: day rows with counts in place of visitors."""

    table: str
    rows: str
    counted: bool = False


def source_sql(request: ReportRequest, plan: QueryPlan, days: WholeDays | None) -> SourceSql:
    """Builds the source of a plan; a single rollup needs no subquery, which is faster to plan."""
    keys = _keys(plan, _ROLLUP_VALUES, "r.time")
    selects: list[str] = []
    if plan.shape == "raw":
        selects.append(_raw_clicks(request, plan))
    else:
        branches = _branches(request, plan, days)
        if len(branches) == 1 and plan.shape != "ledger":
            return SourceSql(_rollup(request, plan, branches[0]), "r", keys)
        selects += [_select_branch(request, plan, branch, keys) for branch in branches]
    if plan.shape in ("raw", "ledger"):
        selects.append(_raw_conversions(request, plan))
    return SourceSql(
        f"({' UNION ALL '.join(selects)}) AS c", "c", {key: f"c.{key}" for key in keys}
    )


def can_sum_day_counts(request: ReportRequest, plan: QueryPlan) -> bool:
    """Whether each row sums one row a day of the day rollup, so that day counts add up.

    For two affiliates together, or a total over rows, a visitor may have come from both.
    """
    used = {*plan.group_by, *plan.tops, *(chosen.name for chosen in request.filters)} - {
        *CONVERSION_DIMENSIONS
    }
    # Day counts are of people; a report with verdicts counts every click, in its totals too.
    if (
        "verdict" in request.used_dimensions
        or {*SPARSE} & used
        or "unique_clicks" not in plan.fields
    ):
        return False
    if plan.with_totals and plan.group_by:
        return False
    # Each of these dimensions has rows of its own unless one is a registry number.
    separate = {*plan.tops[1:]} if {*plan.tops} <= {*SINGLE_DIMENSIONS} else set[str]()
    dimension = day_dimension(used - separate)
    single_valued = {chosen.name for chosen in request.filters if len(chosen.include) == 1}
    return dimension == "total" or dimension in {*plan.group_by, *plan.tops[:1], *single_valued}


def _select_branch(
    request: ReportRequest, plan: QueryPlan, branch: _RollupBranch, keys: Mapping[str, str]
) -> str:
    sums = _sums(plan, COUNTED_DAY_COLUMNS if branch.counted else ROLLUP_COLUMNS)
    columns = f"r.verdict AS verdict, r.currency AS currency, {sums}"
    return f"SELECT {_select(keys)}{columns} FROM {_rollup(request, plan, branch)}"


def _branches(
    request: ReportRequest, plan: QueryPlan, days: WholeDays | None
) -> list[_RollupBranch]:
    """Splits the period into whole days of the day rollup and the rest of a finer one."""
    filtered = {chosen.name for chosen in request.filters}
    used = {*plan.group_by, *plan.tops, *filtered} - {*CONVERSION_DIMENSIONS}
    single = tuple(name for name in SINGLE_DIMENSIONS if name in used)
    finer = "minute" if plan.shape == "minute" else "dimension" if single else "quarter"
    rows = _dimension_rows(single)
    dimension = day_dimension(used - {*single[1:]})
    if days is None or dimension is None:
        period = f"({PERIOD} OR {EARLIER})" if plan.with_earlier else PERIOD
        return [_RollupBranch(f"rollup_{finer}", f"{period} AND {rows}")]
    day_rows = rows if single else f"r.dimension = '{dimension}'"
    return [
        _RollupBranch("rollup_day", f"{WHOLE_DAYS} AND {day_rows}", DAY_VISITORS in plan.fields),
        _RollupBranch(f"rollup_{finer}", f"{OTHER_DAYS} AND {rows}"),
    ]


def _rollup(request: ReportRequest, plan: QueryPlan, branch: _RollupBranch) -> str:
    filters = _conditions(request, _ROLLUP_VALUES, "r.basis IN (0, 3)")
    bases = ["0", *(["3"] if branch.counted else [])]
    bases += ["{basis:UInt8}"] if plan.shape != "ledger" else []
    values = {
        "table": branch.table,
        "join": _array_join(plan.tops),
        "bases": f"({', '.join(bases)})",
        "conditions": f"{branch.rows} AND {filters}",
    }
    return fill("rollup", values)


def _array_join(tops: Sequence[str]) -> str:
    """Repeats a row once for each of these dimensions; one of rollup_dimension has just one."""
    if not tops:
        return ""
    pairs = [f"('{name}', toString({_ROLLUP_VALUES.get(name, f'r.{name}')}))" for name in tops]
    if {*tops} <= {*SINGLE_DIMENSIONS}:
        pairs = ["(toString(r.dimension), r.value)"]
    return f"ARRAY JOIN [{', '.join(pairs)}] AS pair"


def _dimension_rows(names: Sequence[str]) -> str:
    """Selects the rows of these dimensions, and `empty` rows whose bit marks one as empty."""
    if not names:
        return "1"
    if len(names) > 1 or names[0] not in SPARSE:
        return f"r.dimension IN ({', '.join(repr(name) for name in names)})"
    bit = f"bitTest(toUInt64OrZero(r.value), {SPARSE.index(names[0])})"
    return f"r.dimension IN ('{names[0]}', '{EMPTY}') AND (r.dimension != '{EMPTY}' OR {bit})"


def _raw_clicks(request: ReportRequest, plan: QueryPlan) -> str:
    keys = _keys(plan, _CLICK_VALUES, "r.time")
    values = {
        "keys": _select(keys),
        "group": "".join(f"{name}, " for name in keys),
        "sums": _sums(plan, CLICK_COLUMNS),
        "conditions": _conditions(request, _CLICK_VALUES, "1"),
    }
    return fill("raw_clicks", values)


def _raw_conversions(request: ReportRequest, plan: QueryPlan) -> str:
    time = _CONVERSION_TIMES[request.time_basis]
    keys = _keys(plan, _CONVERSION_VALUES, time)
    values = {
        "keys": _select(keys),
        "group": "".join(f"{name}, " for name in keys),
        "sums": _sums(plan, CONVERSION_COLUMNS),
        "time": time,
        "conditions": _conditions(request, _CONVERSION_VALUES, "0"),
    }
    return fill("raw_conversions", values)


def _keys(plan: QueryPlan, values: Mapping[str, str], time: str) -> dict[str, str]:
    if plan.tops:
        return {"top": "pair.1", "d0": "pair.2"}
    keys: dict[str, str] = {"earlier": IS_EARLIER} if plan.with_earlier else {}
    if plan.interval != "none":
        keys["bucket"] = bucket_sql(plan.interval, time, plan.offset_seconds)
    for index, name in enumerate(plan.group_by):
        text = values.get(name, f"r.{name}")
        keys[f"d{index}"] = text if name in NUMBERED_DIMENSIONS else f"toString({text})"
    return keys


def _select(keys: Mapping[str, str]) -> str:
    return "".join(f"{text} AS {name}, " for name, text in keys.items())


def _sums(plan: QueryPlan, source: Mapping[str, str]) -> str:
    return ", ".join(f"{source[name]} AS {name}" for name in source_columns(plan.fields))


def _conditions(request: ReportRequest, values: Mapping[str, str], clicks: str) -> str:
    """Joins all filters; those of conversions pass rows for which the SQL `clicks` is true."""
    texts = ["1"]
    for index, chosen in enumerate(request.filters):
        text = condition(index, chosen, values.get(chosen.name, f"r.{chosen.name}"))
        texts.append(f"({clicks} OR {text})" if chosen.name in _CONVERSION_FILTERS else text)
    return " AND ".join(texts)


def condition(index: int, chosen: Filter, column: str) -> str:
    """Builds the condition of a filter, whose values are bound as `in{index}` and `out{index}`."""
    kind = "Array(UInt32)" if chosen.name in NUMBERED_DIMENSIONS else "Array(String)"
    texts = [f"{column} IN {{in{index}:{kind}}}"] if chosen.include else []
    texts += [f"{column} NOT IN {{out{index}:{kind}}}"] if chosen.exclude else []
    return f"({' AND '.join(texts)})"
