"""From the warehouse's sums to the rows of an answer: names, times, money, ratios.

A ratio without anything to divide by is null. Money over several currencies is null, with
`currencies` beside it; over one, `currency` is beside it. Ids and currencies that are absent
(an unattributed conversion, a click) are null; a dimension without a value is ''.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import msgspec

from linkjolt.clicks.unique_visitors import unbiased
from linkjolt.money import to_major
from linkjolt.registry.entries import Kind, public_id
from reports.query.request import ReportRequest
from reports.vocabulary import MONEY, NUMBERED

Value = str | int | float | Decimal | None | list[str]
# Under `previous`, what the row was in the period compared with.
Row = dict[str, "Value | dict[str, Value]"]

_KINDS: dict[str, Kind] = {"campaign": "campaign", "affiliate": "affiliate", "link": "link"}


class Cell(msgspec.Struct, frozen=True):
    """One row of a report's SQL: `bucket` in UTC seconds, d0 to d2 the values of `group_by`.

    What was not asked for is as if nothing was there. `total` is 1 for the sum of all rows,
    `earlier` for a row of the period compared with;
    `top` is the dimension of a row among those of several. `unique_clicks` is an estimate of those
    that are not in `day_unique_clicks`.
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
    currencies: list[str] = []
    total: int = 0
    earlier: int = 0
    top: str = ""

    @property
    def visitors(self) -> int:
        """Unique clicks as they are told."""
        return unbiased(self.unique_clicks) + self.day_unique_clicks

    @property
    def values(self) -> tuple[str | int, str | int, str | int]:
        return self.d0, self.d1, self.d2


EMPTY_CELL = Cell()


class Named(msgspec.Struct, frozen=True):
    """A registry entry in the warehouse's mirror."""

    kind: str
    number: int
    code: str
    name: str


Names = Mapping[tuple[str, int], Named]


def numbers_in(request: ReportRequest, cells: Sequence[Cell]) -> dict[str, set[int]]:
    """The registry numbers to be named on a page, by kind."""
    return {
        name: {int(cell.values[index]) for cell in cells} - {0}
        for index, name in enumerate(request.group_by)
        if name in NUMBERED
    }


def make_row(request: ReportRequest, cell: Cell, names: Names) -> Row:
    """One row of `data`."""
    row: Row = {}
    if request.interval != "none":
        row["time"] = bucket_time(cell.bucket, request.timezone)
    for name, value in zip(request.group_by, cell.values, strict=False):
        row |= _dimension(name, value, names)
    return row | measure(request, cell)


def bucket_time(bucket: int, zone: str) -> str:
    """The start of an interval in its zone, RFC 3339 with offset."""
    return datetime.fromtimestamp(bucket, ZoneInfo(zone)).isoformat()


def _dimension(name: str, value: str | int, names: Names) -> dict[str, Value]:
    if name == "currency":
        return {name: str(value) or None}
    if name not in _KINDS:
        return {name: value}
    number = int(value)
    named = names.get((name, number))
    # A mirror that lags behind leaves an entry without a name.
    identity = public_id(_KINDS[name], number) if number else None
    if name == "link":
        return {name: named.code if named else identity}
    return {name: identity, f"{name}_name": named.name if named else None}


def measure(request: ReportRequest, cell: Cell) -> dict[str, Value]:
    """The metrics asked for, and the currency of those that are money."""
    found = _counts(cell) | _money(cell)
    row = {name: found[name] for name in request.metrics}
    return row | _currency(request.metrics, cell.currencies)


def csv_columns(request: ReportRequest) -> list[str]:
    """The header of a report's CSV."""
    columns = ["time"] if request.interval != "none" else []
    for name in request.group_by:
        columns += [name, f"{name}_name"] if name in ("campaign", "affiliate") else [name]
    measured = [*request.metrics]
    if any(name in MONEY for name in request.metrics):
        measured += [name for name in ("currency", "currencies") if name not in columns]
    columns += measured
    if request.compare != "none":
        columns += [f"previous_{name}" for name in measured]
    return columns


def csv_row(request: ReportRequest, row: Row) -> list[Value]:
    """The values of a row under `csv_columns`."""
    before = row.get("previous")
    flat: dict[str, Value] = {k: v for k, v in row.items() if not isinstance(v, dict)}
    if isinstance(before, dict):
        flat |= {f"previous_{name}": value for name, value in before.items()}
    return [flat.get(column) for column in csv_columns(request)]


def _currency(metrics: Sequence[str], currencies: list[str]) -> dict[str, Value]:
    if not any(name in MONEY for name in metrics):
        return {}
    if len(currencies) > 1:
        return {"currency": None, "currencies": list(currencies)}
    return {"currency": currencies[0] if currencies else None}


def _counts(cell: Cell) -> dict[str, Value]:
    decided = cell.approved + cell.rejected
    return {
        "clicks": cell.clicks,
        "unique_clicks": cell.visitors,
        "bot_clicks": cell.bot_clicks,
        "duplicate_clicks": cell.duplicate_clicks,
        "conversions": cell.conversions,
        "pending": cell.pending,
        "approved": cell.approved,
        "rejected": cell.rejected,
        "cr": _ratio(cell.conversions, cell.clicks),
        "approval_rate": _ratio(cell.approved, decided),
    }


def _money(cell: Cell) -> dict[str, Value]:
    if len(cell.currencies) > 1:
        return dict.fromkeys(MONEY)
    revenue = commission = Decimal(0)
    if cell.currencies:
        revenue = to_major(cell.revenue_minor, cell.currencies[0])
        commission = to_major(cell.commission_minor, cell.currencies[0])
    return {
        "revenue": revenue,
        "commission": commission,
        "epc": _ratio(commission, cell.clicks),
        "aov": _ratio(revenue, cell.conversions),
    }


def _ratio(part: Decimal | int, whole: int) -> float | None:
    return round(float(Decimal(part) / whole), 6) if whole else None
