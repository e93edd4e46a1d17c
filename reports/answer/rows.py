"""Turns sums of the warehouse into the rows of an answer: names, times, money, ratios.

A ratio with a divisor of 0 is null. Money over several currencies is null, with the field
`currencies`; over one, the field is `currency`. Absent ids and currencies (of an unattributed
conversion, of a click) are null; a dimension without a value is ''.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from linkjolt.clicks.unique_visitors import correct_estimate
from linkjolt.money import to_major
from linkjolt.registry.entries import EntryKind, public_id
from reports.query.request import ReportRequest
from reports.vocabulary import MONEY_METRICS, NUMBERED_DIMENSIONS

Value = str | int | float | Decimal | None | list[str]
# `previous` has the values of the row in the period compared with.
AnswerRow = dict[str, "Value | dict[str, Value]"]

_KINDS: dict[str, EntryKind] = {"campaign": "campaign", "affiliate": "affiliate", "link": "link"}


class ReportRow(msgspec.Struct, frozen=True):
    """A row of a report's SQL: `bucket` in UTC seconds, d0 to d2 the values of `group_by`.

    Columns that were not selected keep their default. `total` is 1 for the sum of all rows,
    `earlier` is 1 for a row of the period compared with, `top` is the dimension of a row of
    `tops`. `unique_clicks` is an estimate of those that `day_unique_clicks` does not count.
    """

    bucket: int = 0
    d0: str | int = ""
    d1: str | int = ""
    d2: str | int = ""
    clicks: int = 0
    unique_clicks: int = 0
    day_unique_clicks: int = 0
    bot_clicks: int = 0
    duplicate_clicks: int = 0
    conversions: int = 0
    pending: int = 0
    approved: int = 0
    rejected: int = 0
    revenue_minor: int = 0
    commission_minor: int = 0
    clawback_minor: int = 0
    unverified: int = 0
    currencies: list[str] = []
    total: int = 0
    earlier: int = 0
    top: str = ""

    @property
    def unique_visitors(self) -> int:
        """Unique clicks as reported."""
        return correct_estimate(self.unique_clicks) + self.day_unique_clicks

    @property
    def values(self) -> tuple[str | int, str | int, str | int]:
        return self.d0, self.d1, self.d2


EMPTY_ROW = ReportRow()


class NamedEntry(msgspec.Struct, frozen=True):
    """Code and name of a registry entry, from the mirror in the warehouse."""

    kind: str
    number: int
    code: str
    name: str


Names = Mapping[tuple[str, int], NamedEntry]


def registry_numbers(request: ReportRequest, rows: Sequence[ReportRow]) -> dict[str, set[int]]:
    """Collects the registry numbers of a page whose names are needed, by kind."""
    return {
        name: {int(row.values[index]) for row in rows} - {0}
        for index, name in enumerate(request.group_by)
        if name in NUMBERED_DIMENSIONS
    }


def answer_row(request: ReportRequest, row: ReportRow, names: Names) -> AnswerRow:
    """Builds one row of `data`."""
    answer: AnswerRow = {}
    if request.interval != "none":
        answer["time"] = bucket_time(row.bucket, request.timezone)
    for name, value in zip(request.group_by, row.values, strict=False):
        answer |= _dimension(name, value, names)
    return answer | answer_metrics(request, row)


def bucket_time(bucket: int, zone: str) -> str:
    """Formats the start of an interval in its zone, RFC 3339 with offset."""
    return datetime.fromtimestamp(bucket, ZoneInfo(zone)).isoformat()


def _dimension(name: str, value: str | int, names: Names) -> dict[str, Value]:
    if name == "currency":
        return {name: str(value) or None}
    if name not in _KINDS:
        return {name: value}
    number = int(value)
    entry = names.get((name, number))
    # An entry has no name while the mirror lags behind.
    entry_id = public_id(_KINDS[name], number) if number else None
    if name == "link":
        return {name: entry.code if entry else entry_id}
    return {name: entry_id, f"{name}_name": entry.name if entry else None}


def answer_metrics(request: ReportRequest, row: ReportRow) -> dict[str, Value]:
    """Computes the metrics of a request, and the currency of those that are money."""
    values = _counts(row) | _money(row)
    answer = {name: values[name] for name in request.metrics}
    return answer | _currency(request.metrics, row.currencies)


def csv_columns(request: ReportRequest) -> list[str]:
    """Lists the header of a report's CSV."""
    columns = ["time"] if request.interval != "none" else []
    for name in request.group_by:
        columns += [name, f"{name}_name"] if name in ("campaign", "affiliate") else [name]
    metric_columns = [*request.metrics]
    if any(name in MONEY_METRICS for name in request.metrics):
        metric_columns += [name for name in ("currency", "currencies") if name not in columns]
    columns += metric_columns
    if request.compare != "none":
        columns += [f"previous_{name}" for name in metric_columns]
    return columns


def csv_row(request: ReportRequest, row: AnswerRow) -> list[Value]:
    """Lists the values of a row in the order of `csv_columns`."""
    previous = row.get("previous")
    flat: dict[str, Value] = {k: v for k, v in row.items() if not isinstance(v, dict)}
    if isinstance(previous, dict):
        flat |= {f"previous_{name}": value for name, value in previous.items()}
    return [flat.get(column) for column in csv_columns(request)]


def _currency(metrics: Sequence[str], currencies: list[str]) -> dict[str, Value]:
    if not any(name in MONEY_METRICS for name in metrics):
        return {}
    if len(currencies) > 1:
        return {"currency": None, "currencies": list(currencies)}
    return {"currency": currencies[0] if currencies else None}


def _counts(row: ReportRow) -> dict[str, Value]:
    decided = row.approved + row.rejected
    return {
        "clicks": row.clicks,
        "unique_clicks": row.unique_visitors,
        "bot_clicks": row.bot_clicks,
        "duplicate_clicks": row.duplicate_clicks,
        "conversions": row.conversions,
        "pending": row.pending,
        "approved": row.approved,
        "rejected": row.rejected,
        "unverified_conversions": row.unverified,
        "cr": _ratio(row.conversions, row.clicks),
        "approval_rate": _ratio(row.approved, decided),
    }


def _money(row: ReportRow) -> dict[str, Value]:
    if len(row.currencies) > 1:
        return dict.fromkeys(MONEY_METRICS)
    revenue = commission = clawback = Decimal(0)
    if row.currencies:
        revenue = to_major(row.revenue_minor, row.currencies[0])
        commission = to_major(row.commission_minor, row.currencies[0])
        clawback = to_major(row.clawback_minor, row.currencies[0])
    return {
        "clawback": clawback,
        "revenue": revenue,
        "commission": commission,
        "epc": _ratio(commission, row.clicks),
        "aov": _ratio(revenue, row.conversions),
    }


def _ratio(part: Decimal | int, whole: int) -> float | None:
    return round(float(Decimal(part) / whole), 6) if whole else None
