"""GET /v1/events finds every event behind a doubted number."""

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.rows.rows import ConversionRow
from aggregator.warehouse.registry_mirror import RegistryMirror
from linkjolt.click_ids import ClickIdGenerator
from linkjolt.storage.clickhouse import ClickHouse
from tests.aggregator.rollups.sample import ACCOUNT, Sample, make_sample, pos_at, store
from tests.reports.conftest import Client, make_secret

END = datetime(2026, 11, 10, tzinfo=UTC)
START = END - timedelta(days=2)
PERIOD = {"from": "2026-11-08", "to": "2026-11-10"}
MOMENT_MS = int(END.timestamp() * 1000) - 5_000
CLICK_ID = ClickIdGenerator(3, b"k" * 32, lambda: MOMENT_MS * 1_000_000).make(2)


SALE = ConversionRow(
    account=ACCOUNT,
    campaign=2,
    affiliate=11,
    link=2,
    time=(MOMENT_MS + 1_000) / 1000,
    click_time=MOMENT_MS / 1000,
    conversion_id="conv_known",
    kind="created",
    event="sale",
    order_id="order_known",
    status="pending",
    attribution="click",
    currency="USD",
    order_value_minor=9_999,
    commission_minor=2_999,
    conversions=1,
    pending=1,
    click_id=CLICK_ID,
    items='[{"sku":"a"}]',
    verdict="human",
    sub1="spring",
    s=1,
    pos=pos_at(MOMENT_MS + 2_000),
)


def facts() -> list[ConversionRow]:
    """Builds a conversion of the known click, and its refund a day later."""
    refund = msgspec.structs.replace(
        SALE,
        kind="refunded",
        adjustment_id="adj_1",
        adjusted=(MOMENT_MS + 3_000) / 1000,
        order_value_minor=-9_999,
        commission_minor=-2_999,
        conversions=0,
        pending=0,
        items="",
        author="key_1",
        note="came back",
        pos=pos_at(MOMENT_MS + 4_000),
    )
    return [SALE, refund, msgspec.structs.replace(refund, kind="detached")]


@pytest.fixture(scope="module")
def sample() -> Sample:
    found = make_sample(51, START, END, clicks=600, conversions=60)
    found.clicks[0] = msgspec.structs.replace(
        found.clicks[0],
        account=ACCOUNT,
        link=2,
        campaign=2,
        affiliate=11,
        time=MOMENT_MS / 1000,
        click_id=CLICK_ID,
        verdict="bot",
        reason="http_library",
        ruleset=1,
        user_agent="curl/8",
        ip="203.0.113.0",
        sub1="spring",
        params='{"odd":"=1+1"}',
        pos=pos_at(MOMENT_MS),
    )
    for number, row in enumerate(found.conversions):
        row.kind, row.order_id, row.attribution = "created", f"order_{number}", "click"
    return Sample(found.clicks, [*found.conversions, *facts()])


@pytest.fixture
async def log(
    client: Client, redis: Redis, clickhouse: ClickHouse, mirror: RegistryMirror, sample: Sample
) -> AsyncIterator[Client]:
    await store(clickhouse, sample)
    yield Client(client.http, await make_secret(redis, "events:read"))


async def find(client: Client, **parameters: str | int) -> list[dict[str, Any]]:
    answer = await client.get("/v1/events", **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_click_is_found_by_its_id_with_all_that_came_of_it(log: Client) -> None:
    refund, sale, click = await find(log, click_id=CLICK_ID.lower())
    assert (click["type"], click["click_id"]) == ("click", CLICK_ID)
    assert click["judged"] == {
        "verdict": "bot",
        "reason": "http_library",
        "sentence": "The user agent is an HTTP library's own.",
        "ruleset": 1,
    }
    assert click["of"]["tracking_code"] == "tc_2"
    assert (click["of"]["campaign_id"], click["of"]["campaign_name"]) == ("cmp_2", "Two")
    assert (click["ip"], click["user_agent"]) == ("203.0.113.0", "curl/8")
    assert click["parameters"]["sub1"] == "spring"
    assert click["parameters"]["odd"] == "=1+1"
    assert (sale["conversion_id"], sale["kind"]) == ("conv_known", "created")
    assert (sale["order_value"], sale["commission_amount"]) == (99.99, 29.99)
    assert sale["items"] == [{"sku": "a"}]
    assert (refund["kind"], refund["note"], refund["author"]) == ("refunded", "came back", "key_1")
    assert refund["order_value"] == -99.99


@pytest.mark.parametrize("by", [{"order_id": "order_known"}, {"conversion_id": "conv_known"}])
async def test_an_order_shows_its_conversion_and_adjustments(
    log: Client, by: dict[str, str]
) -> None:
    found = await find(log, **by)
    assert [one["kind"] for one in found] == ["refunded", "created"]


async def test_events_are_filtered_and_the_newest_come_first(log: Client, sample: Sample) -> None:
    ours = [row for row in sample.clicks if row.account == ACCOUNT]
    clicks = await find(log, **PERIOD, kind="click", verdict="bot", link="tc_2", limit=1000)
    wanted = [row for row in ours if row.verdict == "bot" and row.link == 2]
    assert sorted(one["click_id"] for one in clicks) == sorted(row.click_id for row in wanted)
    times = [one["time"] for one in clicks]
    assert times == sorted(times, reverse=True)
    of_affiliate = await find(log, **PERIOD, affiliate_id="aff_12", limit=1000)
    assert {one["of"]["affiliate_id"] for one in of_affiliate} == {"aff_12"}
    assert {one["type"] for one in of_affiliate} == {"click", "conversion"}


async def test_pages_hold_every_event_once(log: Client, sample: Sample) -> None:
    wanted: dict[str, str | int] = {**PERIOD, "limit": 100}
    found: list[dict[str, Any]] = []
    while True:
        page = (await log.get("/v1/events", **wanted)).json()
        found += page["data"]
        if page["next_cursor"] is None:
            break
        wanted["cursor"] = page["next_cursor"]
    clicks = {row.click_id for row in sample.clicks if row.account == ACCOUNT}
    assert {one["click_id"] for one in found if one["type"] == "click"} == clicks
    facts = [one for one in found if one["type"] == "conversion"]
    assert len(facts) == len([row for row in sample.conversions if row.kind != "detached"])
    assert len(found) == len(clicks) + len(facts)


async def test_the_whole_log_can_be_saved_and_runs_no_formula(log: Client, sample: Sample) -> None:
    answer = await log.get("/v1/events", **PERIOD, format="csv", link="tc_2")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    found = [row for row in sample.clicks if row.account == ACCOUNT and row.link == 2]
    assert len([row for row in rows if row["type"] == "click"]) == len(found)
    one = next(row for row in rows if row["click_id"] == CLICK_ID and row["type"] == "click")
    assert (one["verdict"], one["reason"], one["sub1"]) == ("bot", "http_library", "spring")
    page = await log.get("/v1/events", **PERIOD, format="csv", limit=5)
    assert len(page.text.splitlines()) == 6
    assert page.headers["x-next-cursor"]


async def test_the_log_is_for_keys_that_may_read_events(log: Client, client: Client) -> None:
    assert (await client.get("/v1/events")).status_code == 403
    stranger = await find(log, **PERIOD, limit=1000)
    assert stranger
    assert (await client.http.get("/v1/events")).status_code == 401


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"verdict": "robot"}, "verdict"),
        ({"kind": "view"}, "kind"),
        ({"affiliate_id": "cmp_1"}, "affiliate_id"),
        ({"link": "tc_none"}, "link"),
        ({"limit": "0"}, "limit"),
        ({"cursor": "?"}, "cursor"),
        ({"to": "2026-11-10"}, "from"),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    log: Client, parameters: dict[str, str], field: str
) -> None:
    refused = await log.get("/v1/events", **parameters)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == field
