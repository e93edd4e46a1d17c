"""GET /v1/reports answers, refuses and pages as documented."""

import csv
import io
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt import redis_keys
from linkjolt.datasets import ACCOUNT_DEFAULT
from linkjolt.settings import ReportsSettings as Settings
from linkjolt.storage import redis
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.storage.redis import call
from reports.freshness import data_as_of
from reports.query.request import ReportRequest
from reports.vocabulary import METRICS
from tests.aggregator.rollups.sample import ACCOUNT, Sample, make_sample, store
from tests.reports.conftest import Client, make_secret, open_http
from tests.reports.query.expected import expected

END = datetime(2026, 11, 10, tzinfo=UTC)
START = END - timedelta(days=3)
PERIOD = {"from": "2026-11-07", "to": "2026-11-10"}
REQUEST = ReportRequest(start=START, end=END, asked_at=END, metrics=METRICS)


@pytest.fixture(scope="module")
def sample() -> Sample:
    return make_sample(21, START, END, clicks=800, conversions=120)


async def test_a_report_answers_rows_totals_and_how_it_came_about(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    report = await client.report(**PERIOD, group_by="country", metrics="clicks,conversions")
    wanted = expected(msgspec.structs.replace(REQUEST, group_by=("country",)), sample)
    assert {row["country"]: (row["clicks"], row["conversions"]) for row in report["data"]} == {
        str(values[0]): (sums.clicks, sums.conversions) for (_, values), sums in wanted.items()
    }
    counts = [row["clicks"] for row in report["data"]]
    assert counts == sorted(counts, reverse=True)
    assert report["totals"]["clicks"] == sum(counts)
    meta = report["meta"]
    assert (meta["from"], meta["to"]) == ("2026-11-07T00:00:00Z", "2026-11-10T00:00:00Z")
    assert (meta["source"], meta["timezone"], meta["incomplete"]) == ("rollup", "UTC", False)
    assert report["next_cursor"] is None


async def test_rows_are_named_as_people_know_them(
    client: Client, clickhouse: ClickHouse, sample: Sample, mirror: RegistryMirror
) -> None:
    await store(clickhouse, sample)
    report = await client.report(**PERIOD, group_by="campaign", sort="campaign")
    attributed = [(row["campaign"], row["campaign_name"]) for row in report["data"]]
    assert attributed == [
        (None, None),
        ("cmp_1", "One"),
        ("cmp_2", "Two"),
        ("cmp_3", "Three"),
    ]
    report = await client.report(**PERIOD, group_by="link", metrics="clicks", sort="link")
    # The sixth link is not in the mirror yet.
    assert [row["link"] for row in report["data"]] == [
        None,
        *(f"tc_{number}" for number in range(1, 6)),
        "lnk_6",
    ]


async def test_a_link_is_chosen_by_its_tracking_code(
    client: Client, clickhouse: ClickHouse, sample: Sample, mirror: RegistryMirror
) -> None:
    await store(clickhouse, sample)
    report = await client.report(**PERIOD, link="tc_2,tc_4", group_by="link", sort="link")
    assert [row["link"] for row in report["data"]] == ["tc_2", "tc_4"]
    unknown = await client.get("/v1/reports", link="tc_2,tc_none")
    assert unknown.status_code == 422
    assert unknown.json()["errors"][0]["field"] == "link"


async def test_pages_follow_each_other_without_gap_or_repeat(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    asked: dict[str, str | int] = {"group_by": "sub1,verdict,currency", "interval": "day"}
    whole = (await client.report(**PERIOD, **asked, limit=1000))["data"]
    pages: list[object] = []
    cursor: dict[str, str] = {}
    while True:
        report = await client.report(**PERIOD, **asked, **cursor, limit=17)
        pages += report["data"]
        if report["next_cursor"] is None:
            break
        cursor = {"cursor": report["next_cursor"]}
    assert pages == whole
    assert len(whole) > 40


async def test_every_metric_sorts_both_ways_with_nulls_last(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    metrics = ",".join(METRICS)
    for metric in METRICS:
        for sign in ("", "-"):
            report = await client.report(
                **PERIOD, group_by="link,currency", metrics=metrics, sort=f"{sign}{metric}"
            )
            ratios = metric in ("cr", "epc", "aov", "approval_rate")
            known = [row[metric] for row in report["data"] if row[metric] is not None]
            if metric in ("revenue", "commission", "epc", "aov"):
                continue  # Sorted by minor units, which differ between currencies.
            assert known == sorted(known, reverse=sign == "-"), metric
            nulls = [row[metric] is None for row in report["data"]]
            assert nulls == sorted(nulls)
            assert ratios or not any(nulls)


async def test_money_of_one_currency_is_exact(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    report = await client.report(**PERIOD, currency="USD", metrics="clicks,revenue,epc")
    sums = sum(c.order_value_minor for c in sample.conversions if c.currency == "USD")
    assert report["totals"]["revenue"] == sums / 100
    assert report["totals"]["currency"] == "USD"
    assert report["totals"]["clicks"] == expected(REQUEST, sample)[0, ()].clicks
    mixed = await client.report(**PERIOD)
    assert mixed["totals"]["revenue"] is None
    assert mixed["totals"]["currencies"] == ["EUR", "JPY", "USD"]


async def test_clicks_stand_in_the_row_of_no_currency(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    report = await client.report(**PERIOD, group_by="currency", sort="currency")
    clicks = {row["currency"]: row["clicks"] for row in report["data"]}
    assert clicks == {None: report["totals"]["clicks"], "EUR": 0, "JPY": 0, "USD": 0}


async def test_csv_holds_the_same_rows(
    client: Client, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    asked = {"group_by": "referrer_host", "metrics": "clicks"}
    report = await client.report(**PERIOD, **asked)
    response = await client.get("/v1/reports", **PERIOD, **asked, format="csv")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["referrer_host"].removeprefix("'"), int(row["clicks"])) for row in rows] == [
        (row["referrer_host"], row["clicks"]) for row in report["data"]
    ]
    assert "'=cmd.example" in response.text


async def test_no_account_sees_anothers_events(
    client: Client, redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    stranger = Client(client.http, await make_secret(redis, "reports:read", account=ACCOUNT + 9))
    for extra in ({}, {"group_by": "sub1"}, {"group_by": "sub1,country"}):
        report = await stranger.report(**PERIOD, **extra)
        assert report["totals"]["clicks"] == 0
        assert all(row["clicks"] == 0 for row in report["data"])


async def test_a_report_needs_a_key_with_its_scope(client: Client, redis: Redis) -> None:
    assert (await client.http.get("/v1/reports")).status_code == 401
    other = Client(client.http, await make_secret(redis, "links:read"))
    for path in ("/v1/reports", "/v1/balance"):
        refused = await other.get(path)
        assert refused.status_code == 403
        assert refused.headers["content-type"] == "application/problem+json"


async def test_an_unknown_parameter_is_refused_by_name(client: Client) -> None:
    refused = await client.get("/v1/reports", colour="red")
    assert refused.status_code == 422
    assert refused.json()["code"] == "unknown_field"
    assert refused.json()["errors"][0]["field"] == "colour"
    assert refused.json()["request_id"] == refused.headers["x-request-id"]


async def test_data_as_of_is_the_stream_that_is_furthest_behind(
    client: Client, redis: Redis, clickhouse: ClickHouse
) -> None:
    for stream in redis_keys.streams(2)[:3]:
        await call(redis, "HSET", redis_keys.PROGRESS, stream.number, 1_795_327_569_038)
    assert (await client.report())["meta"]["data_as_of"] is None
    await call(redis, "HSET", redis_keys.PROGRESS, 3, 1_795_327_569_037)
    assert (await client.report())["meta"]["data_as_of"] == "2026-11-22T06:06:09.037000Z"


async def test_data_as_of_without_redis_comes_from_the_rollups(
    clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    gone = redis.connect("redis://127.0.0.1:1")
    as_of = await data_as_of(gone, clickhouse, 2)
    last = min(max(row.pos for row in rows) >> 20 for rows in (sample.clicks, sample.conversions))
    assert as_of == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=last)
    await gone.aclose()


async def test_raw_events_that_take_too_long_leave_the_report_incomplete(
    redis: Redis, clickhouse: ClickHouse, sample: Sample
) -> None:
    await store(clickhouse, sample)
    hasty = Settings(shards=2, report_raw_max_seconds=0.000_001)
    async with open_http(redis, clickhouse, hasty) as http:
        client = Client(http, await make_secret(redis, "reports:read"))
        report = await client.report(**PERIOD, group_by="sub1,country")
        assert (report["meta"]["source"], report["meta"]["incomplete"]) == ("raw", True)
        assert (await client.report(**PERIOD))["meta"]["incomplete"] is False


async def test_a_warehouse_that_cannot_answer_is_said_so(
    client: Client, clickhouse: ClickHouse
) -> None:
    await clickhouse.execute("DROP TABLE rollup_quarter SYNC")
    refused = await client.get("/v1/reports")
    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
    assert "rollup_quarter" not in refused.text


async def test_the_listener_shows_balance_health_metrics_and_the_registry(
    client: Client, redis: Redis
) -> None:
    assert (await client.get("/v1/balance")).status_code == 403
    secret = await make_secret(redis, "reports:read", account=ACCOUNT_DEFAULT)
    balance = (await Client(client.http, secret).get("/v1/balance")).json()
    assert [stream["stream"] for stream in balance["streams"]][:2] == ["clicks/0", "conversions/0"]
    for path in ("/healthz", "/readyz", "/v1/me"):
        assert (await client.get(path)).status_code == 200, path
    text = (await client.get("/metrics")).text
    assert "linkjolt_report_seconds" in text
    assert 'linkjolt_balance_events{state="difference",stream="clicks/0"} 0.0' in text
