"""Recomputes reports from raw events in plain Python, fast enough for hundreds of them.

It shares no code with the reports: times are cut by the zone's own clock, rows are counted one
event at a time, by columns.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from itertools import compress
from typing import Any
from zoneinfo import ZoneInfo

from aggregator.rows.rows import ClickRow, ConversionRow
from tests.aggregator.rollups.sample import ACCOUNT, Sample

MINOR = {"USD": Decimal("0.01"), "EUR": Decimal("0.01"), "JPY": Decimal(1)}
Key = tuple[Any, ...]
Event = ClickRow | ConversionRow


@dataclass(frozen=True)
class Asked:
    """One report of the grid; `filters` are (dimension, included values, excluded values)."""

    start: datetime
    end: datetime
    zone: str
    interval: str
    group_by: tuple[str, ...]
    filters: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    basis: str


@dataclass
class Sums:
    clicks: int = 0
    unique_clicks: int = 0
    bot_clicks: int = 0
    duplicate_clicks: int = 0
    conversions: int = 0
    pending: int = 0
    approved: int = 0
    rejected: int = 0
    revenue: Counter[str] = field(default_factory=Counter[str])
    commission: Counter[str] = field(default_factory=Counter[str])

    def metrics(self) -> dict[str, Any]:
        """Returns the metrics of an answer; money is None if currencies differ."""
        found: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("clicks", "bot_clicks", "duplicate_clicks", "conversions")
        }
        found |= {name: getattr(self, name) for name in ("pending", "approved", "rejected")}
        revenue, commission = self._major(self.revenue), self._major(self.commission)
        found |= {"revenue": revenue, "commission": commission}
        found["cr"] = ratio(self.conversions, self.clicks)
        found["approval_rate"] = ratio(self.approved, self.approved + self.rejected)
        found["epc"] = None if commission is None else ratio(commission, self.clicks)
        found["aov"] = None if revenue is None else ratio(revenue, self.conversions)
        return found

    def _major(self, minor: Counter[str]) -> Decimal | None:
        if len(minor) > 1:
            return None
        return sum((count * MINOR[code] for code, count in minor.items()), Decimal(0))


def ratio(part: Decimal | int, whole: int) -> float | None:
    return round(float(Decimal(part) / whole), 6) if whole else None


class Events:
    """Events of one kind in columns, ordered by the time at which they count."""

    def __init__(self, rows: Sequence[Event], at: Callable[[Event], float]) -> None:
        self._rows = sorted((row for row in rows if row.account == ACCOUNT), key=at)
        self._seconds = [at(row) for row in self._rows]
        self._columns: dict[str, list[Any]] = {}

    def column(self, name: str) -> list[Any]:
        if name not in self._columns:
            self._columns[name] = [_value(row, name) for row in self._rows]
        return self._columns[name]

    def chosen(self, asked: Asked, spared: Sequence[str] = ()) -> tuple[slice, list[bool]]:
        """Finds the slice of the period, and the events in it that pass the filters."""
        low = bisect_left(self._seconds, asked.start.timestamp())
        part = slice(low, bisect_left(self._seconds, asked.end.timestamp()))
        passing = [True] * (part.stop - part.start)
        for name, wanted, unwanted in asked.filters:
            if name not in spared:
                values = map(str, self.column(name)[part])
                passing = [
                    ok and (not wanted or value in wanted) and value not in unwanted
                    for ok, value in zip(passing, values, strict=True)
                ]
        return part, passing

    def rows(self, part: slice) -> Sequence[Event]:
        return self._rows[part]

    def keys(self, asked: Asked, part: slice) -> Iterator[Key]:
        """Lists the start of the interval and the dimensions' values of each event."""
        step = 60 if asked.interval == "minute" else 900
        start = begun(asked.interval, asked.zone)
        starts = [start[int(second) // step * step] for second in self._seconds[part]]
        return zip(starts, *(self.column(name)[part] for name in asked.group_by), strict=True)


class Oracle:
    """Computes the reports of a sample."""

    def __init__(self, sample: Sample) -> None:
        self._clicks = Events(sample.clicks, lambda row: row.time)
        self._conversions = {
            "conversion": Events(sample.conversions, lambda row: row.time),
            "click": Events(sample.conversions, _clicked),
        }

    def report(self, asked: Asked) -> dict[Key, Sums]:
        sums: dict[Key, Sums] = defaultdict(Sums)
        self._count_clicks(asked, sums)
        events = self._conversions[asked.basis]
        part, passing = events.chosen(asked)
        keyed = zip(events.keys(asked, part), events.rows(part), strict=True)
        for key, row in compress(keyed, passing):
            assert isinstance(row, ConversionRow)
            one = sums[key]
            one.conversions += row.conversions
            one.pending += row.pending
            one.approved += row.approved
            one.rejected += row.rejected
            one.revenue[row.currency] += row.order_value_minor
            one.commission[row.currency] += row.commission_minor
        return dict(sums)

    def _count_clicks(self, asked: Asked, sums: dict[Key, Sums]) -> None:
        events = self._clicks
        part, passing = events.chosen(asked, spared=("currency", "event", "status"))
        keys = list(compress(events.keys(asked, part), passing))
        verdicts = list(compress(events.column("verdict")[part], passing))
        visitors = compress(events.column("visitor")[part], passing)
        every = "verdict" in asked.group_by or any(
            name == "verdict" for name, _, _ in asked.filters
        )
        counted = [every or verdict in ("human", "duplicate") for verdict in verdicts]
        for key in keys:
            _ = sums[key]
        for key, count in Counter(compress(keys, counted)).items():
            sums[key].clicks = count
        for (key, verdict), count in Counter(zip(keys, verdicts, strict=True)).items():
            if verdict in ("bot", "duplicate"):
                setattr(sums[key], f"{verdict}_clicks", count)
        seen = set(compress(zip(keys, visitors, strict=True), counted))
        for key, count in Counter(key for key, _ in seen).items():
            sums[key].unique_clicks = count


def _value(row: Event, name: str) -> Any:
    if name == "verdict_reason":
        return row.reason if isinstance(row, ClickRow) else ""
    return getattr(row, name, "")


def _clicked(row: Event) -> float:
    assert isinstance(row, ConversionRow)
    return row.click_time or row.time


class Begun(dict[int, str]):
    """Computes the start of the interval of a minute or quarter, in the format of answers."""

    def __init__(self, interval: str, zone: str) -> None:
        super().__init__()
        self._interval, self._zone = interval, zone

    def __missing__(self, seconds: int) -> str:
        self[seconds] = found = _begun(seconds, self._interval, self._zone)
        return found


begun = cache(Begun)


def _begun(seconds: int, interval: str, zone: str) -> str:
    here = ZoneInfo(zone)
    local = datetime.fromtimestamp(seconds, here)
    if interval == "none":
        return ""
    if interval in ("minute", "15m"):
        return local.isoformat()
    if interval == "hour":
        return _hour(seconds, here)
    day = local.date()
    if interval == "week":
        day -= timedelta(days=day.weekday())
    if interval == "month":
        day = day.replace(day=1)
    # There and back, for a midnight that the clocks skip.
    return datetime.combine(day, time(), here).astimezone(UTC).astimezone(here).isoformat()


def _hour(seconds: int, zone: ZoneInfo) -> str:
    """Goes back by quarters while clock hour and offset stay the same."""

    def hour(at: int) -> tuple[date, int, timedelta | None]:
        local = datetime.fromtimestamp(at, zone)
        return local.date(), local.hour, local.utcoffset()

    start = seconds
    while hour(start - 900) == hour(seconds):
        start -= 900
    return datetime.fromtimestamp(start, zone).isoformat()
