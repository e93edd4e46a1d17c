"""The first rows by several dimensions at once are those of the reports by each alone."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.clickhouse import ClickHouse
from reports.query.query import tops_per_query
from reports.query.request import parse_tops
from reports.vocabulary import DIMENSIONS, METRICS
from tests.aggregator.rollups.sample import Sample, make_sample, store
from tests.reports.conftest import Client

END = datetime(2026, 11, 10, tzinfo=UTC)
OVERVIEW = ("link", "affiliate", "campaign", "country", "referrer_host", "device")
_FILTERS: tuple[dict[str, str], ...] = (
    {},
    {"country": "US"},
    {"affiliate": "aff_11"},
    {"sub1": "-a", "verdict": "human,duplicate"},
    {"currency": "USD", "campaign": "-cmp_2"},
    {"status": "approved"},
)
_PERIODS = (
    {"from": "2026-11-09T05:15:00Z", "to": "2026-11-10"},
    {"from": "2026-11-05", "to": "2026-11-10", "timezone": "Asia/Kathmandu"},
    {"from": "2026-11-07T00:07:00Z", "to": "2026-11-08"},
)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(81, END - timedelta(days=6), END, clicks=900, conversions=200)


async def by_each(client: Client, names: list[str], **wanted: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in names:
        report = await client.report(group_by=name, **wanted)
        found[name] = report["data"]
    return found


@pytest.mark.parametrize(
    "periods",
    [
        pytest.param(_PERIODS, marks=pytest.mark.long, id="all"),
        pytest.param(_PERIODS[1:2], id="one"),
    ],
)
async def test_they_are_the_rows_of_the_reports_by_each(
    client: Client,
    clickhouse: ClickHouse,
    mirror: RegistryMirror,
    sample: Sample,
    periods: Sequence[dict[str, str]],
) -> None:
    await store(clickhouse, sample)
    rng = random.Random(82)
    rows = 0
    for period in periods:
        for filters in _FILTERS:
            names = rng.sample(DIMENSIONS, k=8)
            wanted = {
                **period,
                **filters,
                "metrics": ",".join(rng.sample(METRICS, k=4)),
                "sort": f"-{rng.choice(('clicks', 'revenue', 'epc'))}",
                "time_basis": rng.choice(("click", "conversion")),
                "limit": "4",
            }
            answer = await client.get("/v1/reports/top", dimensions=",".join(names), **wanted)
            assert answer.status_code == 200, answer.text
            assert answer.json()["data"] == await by_each(client, names, **wanted), wanted
            rows += sum(len(part) for part in answer.json()["data"].values())
    assert rows > 100 * len(periods)


def test_what_an_overview_shows_is_two_queries() -> None:
    wanted = [("from", "24h"), ("dimensions", ",".join((*OVERVIEW, "verdict", "sub1")))]
    assert tops_per_query(parse_tops(wanted, END)) == [
        ("country", "referrer_host", "device"),
        ("link", "affiliate", "campaign"),
    ]
    narrowed = parse_tops([*wanted, ("country", "US")], END)
    assert tops_per_query(narrowed) == [("link", "affiliate", "campaign", "country")]
    assert tops_per_query(parse_tops([*wanted, ("status", "approved")], END)) == []


async def test_it_tells_how_fresh_it_is_and_is_not_sent_again(
    client: Client, clickhouse: ClickHouse, mirror: RegistryMirror, sample: Sample, redis: Redis
) -> None:
    await store(clickhouse, sample)
    wanted = {"dimensions": "link,country", "from": "2026-11-09", "to": "2026-11-10"}
    first = await client.get("/v1/reports/top", **wanted)
    assert first.json()["meta"]["source"] == "rollup"
    assert [*first.json()["data"]] == ["link", "country"]
    headers = {"Authorization": f"Bearer {client.secret}", "If-None-Match": first.headers["ETag"]}
    again = await client.http.get("/v1/reports/top", params=wanted, headers=headers)
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    ("wanted", "field"),
    [
        ([], "dimensions"),
        ([("dimensions", "")], "dimensions"),
        ([("dimensions", "link"), ("dimensions", "country")], "dimensions"),
        ([("dimensions", "link,link")], "dimensions"),
        ([("dimensions", "planet")], "dimensions"),
        ([("dimensions", ",".join(DIMENSIONS[:13]))], "dimensions"),
        ([("dimensions", "link"), ("limit", "101")], "limit"),
        ([("dimensions", "link"), ("sort", "link")], "sort"),
        ([("dimensions", "link"), ("interval", "day")], "interval"),
        ([("dimensions", "link"), ("group_by", "link")], "group_by"),
        ([("dimensions", "link"), ("compare", "year")], "compare"),
    ],
)
def test_what_it_does_not_know_is_refused_by_name(
    wanted: list[tuple[str, str]], field: str
) -> None:
    with pytest.raises(Rejected) as refused:
        parse_tops(wanted, END)
    assert refused.value.field == field
    assert refused.value.reason in (Reason.invalid_field, Reason.unknown_field)
