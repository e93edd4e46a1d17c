"""Reports over random events equal those of plain Python: 300 over 200,000, or some of both."""

import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple

import pytest
from redis.asyncio import Redis

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.storage.clickhouse import ClickHouse
from reports.vocabulary import DIMENSIONS, INTERVALS, METRICS, SINGLE_DIMENSIONS
from tests.aggregator.rollups.sample import Sample, make_sample, store
from tests.reports.conftest import Client
from tests.reports.query.oracle import Asked, Key, Oracle, Sums

# Clocks move on 27 September (Chatham), 4 October (Lord Howe), 25 October (London) and
# 1 November (St John's, New York, Havana).
START, END = datetime(2026, 9, 24, tzinfo=UTC), datetime(2026, 11, 12, tzinfo=UTC)
CHANGES = tuple(
    datetime(2026, month, day, hour, tzinfo=UTC)
    for month, day, hour in ((9, 26, 14), (10, 3, 15), (10, 25, 1), (11, 1, 5))
)
ZONES = (
    *("UTC", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"),
    *("America/New_York", "Europe/London", "Pacific/Chatham", "Pacific/Marquesas"),
    *("America/Sao_Paulo", "Asia/Tokyo", "America/Havana"),
)
REPORTS = 300


class Size(NamedTuple):
    """How many events there are, which of the reports are compared, and the rows they exceed."""

    clicks: int
    conversions: int
    every: int
    rows: int


WHOLE = Size(180_000, 20_000, 1, 20_000)
# Each seventh has every zone, interval and number of groups, too.
SMALL = Size(9_000, 1_000, 7, 2_000)
# How long a report of an interval is, around a change of clocks.
_LENGTHS = {
    "minute": timedelta(hours=5),
    "15m": timedelta(hours=20),
    "hour": timedelta(days=2),
    "day": timedelta(days=12),
    "week": timedelta(days=25),
    "month": END - START,
    "none": timedelta(days=10),
}
_NUMBERED = {"campaign": "cmp", "affiliate": "aff"}


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(WHOLE, marks=pytest.mark.long, id="whole"),
        pytest.param(SMALL, id="small"),
    ],
)
def size(request: pytest.FixtureRequest) -> Size:
    return request.param


@pytest.fixture(scope="module")
def sample(size: Size) -> Sample:
    found = make_sample(31, START, END, size.clicks, size.conversions)
    rng = random.Random(32)
    hashes: dict[tuple[int, int], int] = defaultdict(lambda: rng.getrandbits(64))
    for click in found.clicks:
        # A visitor's hash is another every UTC day.
        click.visitor = hashes[int(click.time) // 86_400, rng.randrange(4_000)]
    return found


@pytest.fixture
async def filled(
    client: Client, redis: Redis, clickhouse: ClickHouse, mirror: RegistryMirror, sample: Sample
) -> AsyncIterator[Client]:
    await store(clickhouse, sample)
    yield client


def grid() -> Iterator[Asked]:
    """Lists every zone with every interval, every dimension alone and with others, and filters."""
    rng = random.Random(33)
    for index in range(REPORTS):
        zone, interval = ZONES[index % 12], INTERVALS[index // 12 % 7]
        length = _LENGTHS[interval]
        start = max(START, rng.choice(CHANGES) - length / 2)
        first = DIMENSIONS[index % len(DIMENSIONS)]
        others = rng.sample([name for name in DIMENSIONS if name != first], k=2)
        group_by = (first, *others)[: rng.choice((0, 1, 1, 1, 2, 3))]
        filtered = rng.sample(DIMENSIONS, k=rng.choice((0, 0, 1, 1, 2)))
        yield Asked(
            start,
            start + length,
            zone,
            interval,
            group_by,
            tuple(_filter(rng, name) for name in filtered),
            rng.choice(("conversion", "click")),
        )


_VALUES = {
    "campaign": ("1", "2", "3"),
    "affiliate": ("11", "12"),
    "link": ("1", "2", "3", "4", "5"),
    "verdict": ("human", "duplicate", "bot", "prefetch"),
    "currency": ("USD", "EUR", "JPY"),
    "country": ("US", "BR", "IN", ""),
    "language": ("en", "pt", "hi"),
    "device": ("mobile", "desktop"),
    "os": ("Android", "iOS", "Windows"),
    "browser": ("Chrome", "Safari"),
    "referrer_host": ("", "blog.example"),
    "event": ("sale", "lead"),
    "status": ("pending", "approved"),
    "verdict_reason": ("", "crawler_list"),
}


def _filter(rng: random.Random, name: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    values = rng.sample(_VALUES.get(name, ("a", "é", "")), k=rng.choice((1, 1, 2)))
    return (name, tuple(values), ()) if rng.random() < 0.6 else (name, (), tuple(values))


def _shown(name: str, value: str) -> str:
    """Formats a value for a filter."""
    if name == "link":
        return f"tc_{value}"
    return f"{_NUMBERED[name]}_{value}" if name in _NUMBERED else value


def parameters(asked: Asked) -> dict[str, str | int]:
    found: dict[str, str | int] = {
        "from": asked.start.isoformat(),
        "to": asked.end.isoformat(),
        "timezone": asked.zone,
        "interval": asked.interval,
        "time_basis": asked.basis,
        "metrics": ",".join(METRICS),
        "limit": 1000,
    }
    if asked.group_by:
        found["group_by"] = ",".join(asked.group_by)
    for name, wanted, unwanted in asked.filters:
        texts = [_shown(name, value) for value in wanted]
        found[name] = ",".join([*texts, *(f"-{_shown(name, value)}" for value in unwanted)])
    return found


async def answer(client: Client, asked: Asked) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Reads all rows, page by page, and the totals."""
    rows: list[dict[str, Any]] = []
    wanted = parameters(asked)
    while True:
        response = await client.get("/v1/reports", **wanted)
        assert response.status_code == 200, (asked, response.text)
        report = json.loads(response.content, parse_float=Decimal)
        rows += report["data"]
        if not report["next_cursor"]:
            return rows, report["totals"]
        wanted["cursor"] = report["next_cursor"]


def key_of(asked: Asked, row: dict[str, Any]) -> Key:
    values = [_raw(name, row[name]) for name in asked.group_by]
    return (row.get("time", ""), *values)


def _raw(name: str, value: Any) -> Any:
    """Converts a value of a row to that of an event."""
    if name == "currency":
        return value or ""
    if name in ("campaign", "affiliate", "link"):
        return int(value.partition("_")[2]) if value else 0
    return value


def off(asked: Asked, said: dict[str, Any], sums: Sums) -> float:
    """Computes the error of unique clicks as a ratio; every other metric must be exact."""
    wanted = sums.metrics()
    found = {name: said[name] for name in wanted}
    for name in ("cr", "epc", "aov", "approval_rate"):
        found[name] = None if found[name] is None else float(found[name])
    assert found == wanted, asked
    return abs(said["unique_clicks"] - sums.unique_clicks) / max(1, sums.unique_clicks)


@pytest.mark.timeout(600)
async def test_every_report_of_the_grid_equals_a_count_of_the_events(
    filled: Client, sample: Sample, size: Size
) -> None:
    oracle = Oracle(sample)
    sources = set[str]()
    rows_off: list[float] = []
    totals_off: list[float] = []
    for asked in islice(grid(), 0, None, size.every):
        wanted = oracle.report(asked)
        rows, totals = await answer(filled, asked)
        found = {key_of(asked, row): row for row in rows}
        assert len(found) == len(rows), asked
        if not asked.group_by:
            # A series has the intervals without events, too.
            wanted |= {key: Sums() for key in found if key not in wanted}
        assert found.keys() == wanted.keys(), asked
        for key, row in found.items():
            rows_off.append(off(asked, row, wanted[key]))
        whole = Asked(asked.start, asked.end, asked.zone, "none", (), asked.filters, asked.basis)
        if "verdict" not in asked.group_by:
            totals_off.append(off(whole, totals, oracle.report(whole).get(("",), Sums())))
        further = {*asked.group_by, *(name for name, _, _ in asked.filters)} & {*SINGLE_DIMENSIONS}
        sources.add("raw" if len(further) > 1 else "rollup")
    assert sources == {"raw", "rollup"}
    assert len(rows_off) > size.rows
    # Estimates (`docs/decisions/visitors.md`).
    assert max(*rows_off, *totals_off) <= 0.02
