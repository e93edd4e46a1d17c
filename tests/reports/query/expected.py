"""Computes reports event by event in plain Python."""

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import msgspec

from aggregator.rows.rows import ClickRow, ConversionRow
from reports.query.request import Filter, ReportRequest
from reports.vocabulary import CONVERSION_DIMENSIONS
from tests.aggregator.rollups.sample import ACCOUNT, Sample

Key = tuple[int, tuple[str | int, ...]]
Row = ClickRow | ConversionRow


class Sums(msgspec.Struct):
    clicks: int = 0
    unique_clicks: int = 0
    bot_clicks: int = 0
    duplicate_clicks: int = 0
    conversions: int = 0
    pending: int = 0
    approved: int = 0
    rejected: int = 0
    revenue_minor: int = 0
    commission_minor: int = 0
    currencies: list[str] = []


def expected(request: ReportRequest, sample: Sample) -> dict[Key, Sums]:
    """Sums every row of a report, by bucket (UTC seconds) and dimension values."""
    sums: dict[Key, Sums] = defaultdict(Sums)
    visitors: dict[Key, set[int]] = defaultdict(set)
    for click in sample.clicks:
        if _wanted(request, click, click.time):
            key = _key(request, click, click.time)
            _count(request, sums[key], visitors[key], click)
            sums[key].unique_clicks = len(visitors[key])
    for conversion in sample.conversions:
        late = request.time_basis == "click" and conversion.click_time
        at = conversion.click_time if late else conversion.time
        if _wanted(request, conversion, at):
            _convert(sums[_key(request, conversion, at)], conversion)
    return dict(sums)


def _count(request: ReportRequest, sums: Sums, visitors: set[int], click: ClickRow) -> None:
    sums.bot_clicks += click.verdict == "bot"
    sums.duplicate_clicks += click.verdict == "duplicate"
    by_verdict = "verdict" in request.group_by or any(f.name == "verdict" for f in request.filters)
    if by_verdict or click.verdict in ("human", "duplicate"):
        sums.clicks += 1
        visitors.add(click.visitor)


def _convert(sums: Sums, row: ConversionRow) -> None:
    sums.conversions += row.conversions
    sums.pending += row.pending
    sums.approved += row.approved
    sums.rejected += row.rejected
    sums.revenue_minor += row.order_value_minor
    sums.commission_minor += row.commission_minor
    sums.currencies = sorted({*sums.currencies, row.currency})


def _wanted(request: ReportRequest, row: Row, at: float) -> bool:
    instant = datetime.fromtimestamp(at, UTC)
    inside = row.account == ACCOUNT and request.start <= instant < request.end
    return inside and all(_passes(one, row) for one in request.filters)


def _passes(one: Filter, row: Row) -> bool:
    if one.name in ("currency", *CONVERSION_DIMENSIONS) and isinstance(row, ClickRow):
        return True
    value = _value(row, one.name)
    return (not one.include or str(value) in one.include) and str(value) not in one.exclude


def _value(row: Row, name: str) -> str | int:
    if name == "verdict_reason":
        return row.reason if isinstance(row, ClickRow) else ""
    return getattr(row, name, "")


def _key(request: ReportRequest, row: Row, at: float) -> Key:
    values = tuple(_value(row, name) for name in request.group_by)
    return _bucket(request, at), values


def _bucket(request: ReportRequest, at: float) -> int:
    zone = ZoneInfo(request.timezone)
    day = datetime.fromtimestamp(at, zone).date()
    starts = {
        "none": 0,
        "minute": int(at) // 60 * 60,
        "15m": int(at) // 900 * 900,
        "hour": _hour_start(int(at), zone),
        "day": _midnight(day, zone),
        "week": _midnight(day - timedelta(days=day.weekday()), zone),
        "month": _midnight(day.replace(day=1), zone),
    }
    return starts[request.interval]


def _hour_start(at: int, zone: ZoneInfo) -> int:
    """Goes back by quarters while clock hour and offset stay the same."""

    def hour(seconds: int) -> tuple[date, int, timedelta | None]:
        here = datetime.fromtimestamp(seconds, zone)
        return here.date(), here.hour, here.utcoffset()

    start = at // 900 * 900
    while hour(start - 900) == hour(at):
        start -= 900
    return start


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp())
