"""Rollup, raw events and plain Python agree on every report, in every zone."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from linkjolt.dimensions import DENSE, SPARSE
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.rows import ReportRow
from reports.query.query import rows_query, totals_query
from reports.query.request import Filter, ReportRequest
from reports.query.sources import Shape, choose_shape
from reports.vocabulary import BASE_DIMENSIONS, INTERVALS, METRICS, SINGLE_DIMENSIONS
from tests.aggregator.rollups.sample import ACCOUNT, Sample, make_sample, store
from tests.reports.query.expected import Key, Sums, expected

# Samples over clock changes: New York falls back on 1 November, Lord Howe springs ahead by half an
# hour on 4 October.
PERIODS = {
    "new york": (datetime(2026, 10, 30, 12, tzinfo=UTC), datetime(2026, 11, 3, 6, tzinfo=UTC)),
    "lord howe": (datetime(2026, 10, 2, 12, tzinfo=UTC), datetime(2026, 10, 6, 6, tzinfo=UTC)),
}
ZONES = ("UTC", "Asia/Kolkata", "Asia/Kathmandu", "Australia/Lord_Howe", "America/New_York")


async def read(
    clickhouse: ClickHouse, request: ReportRequest, shape: Shape | None = None
) -> dict[Key, Sums]:
    query = rows_query(request, ACCOUNT, 60, shape)
    cells = await clickhouse.read(query.sql, ReportRow, query.parameters)
    groups = len(request.group_by)
    return {(_started(request, cell), cell.values[:groups]): _sums(cell) for cell in cells}


def _started(request: ReportRequest, cell: ReportRow) -> int:
    if request.interval == "none":
        return 0
    return cell.bucket


def _sums(cell: ReportRow) -> Sums:
    sums = msgspec.convert(cell, Sums, from_attributes=True)
    return msgspec.structs.replace(sums, unique_clicks=cell.unique_visitors)


def request_of(period: str, **changes: object) -> ReportRequest:
    start, end = PERIODS[period]
    request = ReportRequest(
        start=start, end=end, asked_at=end, metrics=METRICS, limit=1_000_000, offset=0
    )
    return msgspec.structs.replace(request, **changes)


@pytest.fixture(
    scope="module", params=["new york", pytest.param("lord howe", marks=pytest.mark.long)]
)
def period(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def sample(period: str) -> Sample:
    start, end = PERIODS[period]
    margin = timedelta(hours=5)
    return make_sample(11, start - margin, end + margin)


@pytest.mark.long
async def test_every_interval_is_exact_in_every_zone(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    await store(clickhouse, sample)
    for zone in ZONES:
        for interval in INTERVALS:
            request = request_of(period, timezone=zone, interval=interval)
            wanted = expected(request, sample)
            shapes: tuple[Shape, ...] = ("raw",) if interval == "minute" else ("quarter", "raw")
            for shape in shapes:
                assert await read(clickhouse, request, shape) == wanted, (zone, interval, shape)


def _random_filters(rng: random.Random, sample: Sample, names: tuple[str, ...]) -> list[Filter]:
    filters: list[Filter] = []
    for name in names:
        rows = sample.conversions if name == "currency" else sample.clicks
        values = tuple(sorted({str(getattr(row, name)) for row in rows}))
        some = tuple(rng.sample(values, k=min(len(values), rng.randint(1, 2))))
        one = Filter(name, include=some) if rng.random() < 0.6 else Filter(name, exclude=some)
        filters.append(one)
    return filters


def _random_requests(period: str, sample: Sample, cross: bool) -> Iterator[ReportRequest]:
    """Draws every single dimension as group or filter, with random base dimensions."""
    rng = random.Random(5)
    for name in SINGLE_DIMENSIONS:
        other = rng.choice([one for one in SINGLE_DIMENSIONS if one != name]) if cross else name
        groups = [name, *rng.sample(BASE_DIMENSIONS, k=rng.randint(0, 2))]
        rng.shuffle(groups)
        filtered = (other, *rng.sample(BASE_DIMENSIONS, k=rng.randint(0, 2)))
        second = other if cross else "verdict"
        group_by, filters = rng.choice(
            (
                (tuple(groups), _random_filters(rng, sample, filtered)),
                (
                    tuple(rng.sample(BASE_DIMENSIONS, k=2)),
                    _random_filters(rng, sample, (name, second)),
                ),
            )
        )
        yield request_of(
            period,
            group_by=group_by,
            filters=tuple(filters),
            time_basis=rng.choice(("conversion", "click")),
            interval=rng.choice(("none", "day")),
            timezone=rng.choice(ZONES),
        )


async def test_every_dimension_is_the_same_from_its_rollup_and_from_raw(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    await store(clickhouse, sample)
    found_rows = 0
    for request in _random_requests(period, sample, cross=False):
        assert choose_shape(request) == "dimension", request
        wanted = expected(request, sample)
        assert await read(clickhouse, request) == wanted, request
        assert await read(clickhouse, request, "raw") == wanted, request
        found_rows += len(wanted)
    assert found_rows > 300


async def test_crossed_dimensions_are_answered_from_raw(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    await store(clickhouse, sample)
    crossed = 0
    for request in _random_requests(period, sample, cross=True):
        if len(set(request.used_dimensions) & set(SINGLE_DIMENSIONS)) > 1:
            assert choose_shape(request) == "raw", request
            assert await read(clickhouse, request) == expected(request, sample), request
            crossed += 1
    assert crossed >= len(DENSE) + len(SPARSE)


async def test_base_dimensions_are_answered_from_the_smallest_rollup(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    await store(clickhouse, sample)
    rng = random.Random(6)
    for _ in range(25):
        request = request_of(
            period,
            group_by=tuple(rng.sample(BASE_DIMENSIONS, k=rng.randint(0, 3))),
            filters=tuple(_random_filters(rng, sample, tuple(rng.sample(BASE_DIMENSIONS, k=2)))),
            time_basis=rng.choice(("conversion", "click")),
        )
        assert choose_shape(request) == "quarter", request
        wanted = expected(request, sample)
        found = await read(clickhouse, request)
        if not request.group_by and not wanted:
            wanted = {(0, ()): Sums()}
        assert found == wanted, request
        assert await read(clickhouse, request, "raw") == wanted, request


async def test_totals_sum_what_the_pages_show(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    await store(clickhouse, sample)
    request = request_of(period, group_by=("sub1", "verdict"), limit=3)
    whole = expected(msgspec.structs.replace(request, limit=1_000_000), sample)
    query = totals_query(request, ACCOUNT, 60)
    totals = (await clickhouse.read(query.sql, ReportRow, query.parameters))[0]
    assert totals.clicks == sum(sums.clicks for sums in whole.values()) > 0
    assert totals.revenue_minor == sum(sums.revenue_minor for sums in whole.values())
    assert totals.currencies == ["EUR", "JPY", "USD"]


async def test_edges_off_the_quarter_hour_are_answered_exactly_from_raw(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    await store(clickhouse, sample)
    start, end = PERIODS[period]
    odd = request_of(
        period,
        start=start + timedelta(minutes=7, seconds=3, microseconds=250),
        end=end - timedelta(seconds=1),
        interval="hour",
    )
    assert choose_shape(odd) == "raw"
    assert await read(clickhouse, odd) == expected(odd, sample)


@pytest.mark.long
async def test_many_visitors_are_estimated_alike_from_rollup_and_raw(
    clickhouse: ClickHouse, sample: Sample, period: str
) -> None:
    rng = random.Random(7)
    clicks = [
        msgspec.structs.replace(click, visitor=rng.getrandbits(64), verdict="human")
        for click in sample.clicks
    ]
    await store(clickhouse, Sample(clicks, sample.conversions))
    request = request_of(period, interval="hour")
    assert await read(clickhouse, request) == await read(clickhouse, request, "raw")
    for shape in (None, "raw"):
        [sums] = (await read(clickhouse, request_of(period), shape)).values()
        assert abs(sums.unique_clicks - sums.clicks) < 0.02 * sums.clicks


async def test_an_hour_that_half_repeats_is_told_apart(clickhouse: ClickHouse) -> None:
    """On Lord Howe Island clocks fell back from 2:00 to 1:30 on 5 April."""
    start, end = datetime(2026, 4, 4, 12, tzinfo=UTC), datetime(2026, 4, 5, 6, tzinfo=UTC)
    sample = make_sample(13, start, end, clicks=500, conversions=50)
    await store(clickhouse, sample)
    request = ReportRequest(
        start=start,
        end=end,
        asked_at=end,
        timezone="Australia/Lord_Howe",
        interval="hour",
        metrics=METRICS,
    )
    wanted = expected(request, sample)
    assert len(wanted) == 19
    assert await read(clickhouse, request, "quarter") == wanted
    assert await read(clickhouse, request, "raw") == wanted


@pytest.mark.parametrize(
    "zone", [*(pytest.param(zone, marks=pytest.mark.long) for zone in ZONES[:-1]), ZONES[-1]]
)
async def test_minutes_of_the_last_two_days_are_answered_from_their_rollup(
    clickhouse: ClickHouse, zone: str
) -> None:
    now = datetime.now(UTC)
    end = now.replace(second=0, microsecond=0)
    start = end - timedelta(hours=20)
    recent = make_sample(12, start, end, clicks=600, conversions=80)
    await store(clickhouse, recent)
    request = ReportRequest(
        start=start,
        end=end,
        asked_at=now,
        timezone=zone,
        interval="minute",
        group_by=("link",),
        metrics=METRICS,
        limit=1_000_000,
    )
    assert choose_shape(request) == "minute"
    assert await read(clickhouse, request) == expected(request, recent)
