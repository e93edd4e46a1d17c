"""The list has conversions in their current state, page by page, and adds up to the reports."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.rollups.pull import catch_up
from aggregator.rows.fact_rows import adjustment_rows, conversion_row
from aggregator.rows.rows import ConversionRow
from aggregator.warehouse import migrate
from aggregator.warehouse.migrate import statements
from aggregator.warehouse.writer import Warehouse, encode_rows
from ingest.conversions.decision import initial_state
from linkjolt.conversions.adjustment_kinds import AdjustmentRequest as Step
from linkjolt.conversions.ledger import apply_adjustment
from linkjolt.datasets import account_of, dataset_of_tests
from linkjolt.events import AdjustmentKind, Conversion, ConversionState
from linkjolt.money import Percentage
from linkjolt.reasons import Reason, Rejected
from linkjolt.storage.clickhouse import ClickHouse
from reports.log.conversion_request import parse_list_query
from tests.aggregator.rollups.sample import ACCOUNT
from tests.reports.conftest import Client, make_secret

NOW = datetime.now(UTC)
RULE = Percentage(rate=Decimal(30))
S = 1


class Ledger:
    """Stores conversions and their adjustments in the order of the calls."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._pos = int(NOW.timestamp() * 1000) << 20
        self._first: dict[str, ConversionRow] = {}
        self._states: dict[str, ConversionState] = {}

    async def convert(self, number: int, minutes_ago: int = 60, **fields: Any) -> str:
        known: dict[str, Any] = {
            "conversion_id": f"conv_{number:026}",
            "account": ACCOUNT,
            "event": "sale",
            "time_ms": int((NOW - timedelta(minutes=minutes_ago)).timestamp() * 1000),
            "currency": "USD",
            "order_value_minor": 10_000,
            "commission_minor": 3_000,
            "status": "pending",
            "attribution": "tracking_code",
            "order_id": f"order_{number}",
            "campaign": 1,
            "affiliate": 1 + number % 3,
            "link": 1,
            "rule": 1,
        }
        conversion = msgspec.convert(known | fields, Conversion)
        self._pos += 1
        row = conversion_row(conversion, None, stream_number=S, pos=self._pos, click_late=False)
        self._first[conversion.conversion_id] = row
        self._states[conversion.conversion_id] = initial_state(conversion)
        await self._store([row])
        return conversion.conversion_id

    async def adjust(self, conversion_id: str, kind: AdjustmentKind, **fields: Any) -> None:
        self._pos += 1
        known = {"adjustment_id": f"a{self._pos}", "kind": kind, "author": "key_1", "reason": "r"}
        step = msgspec.convert(known | fields, Step)
        state, fact = apply_adjustment(self._states[conversion_id], step, RULE, 0)
        self._states[conversion_id] = state
        await self._store(
            adjustment_rows(fact, self._first[conversion_id], stream_number=S, pos=self._pos)
        )

    async def _store(self, rows: list[ConversionRow]) -> None:
        await Warehouse(self._clickhouse).insert_conversions(encode_rows(rows), S, self._pos)

    async def roll_up(self) -> None:
        await catch_up(self._clickhouse, "conversions", S, self._pos)


def read_migration(name: str) -> str:
    path = Path(migrate.__file__).parent / "migrations" / f"{name}.sql"
    return path.read_text(encoding="utf-8")


@pytest.fixture
def ledger(clickhouse: ClickHouse) -> Ledger:
    return Ledger(clickhouse)


async def listed(client: Client, **parameters: str | int) -> list[dict[str, Any]]:
    answer = await client.get("/v1/conversions", **parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def test_a_conversion_is_listed_as_it_stands(client: Client, ledger: Ledger) -> None:
    made = await ledger.convert(1, click_id="38G6DGCQM00000400G029SGT1X", customer_id="c1")
    await ledger.adjust(made, "approved")
    await ledger.adjust(made, "refunded", amount_minor=2_500)
    await ledger.adjust(made, "paid")
    [one] = await listed(client, order_id="order_1")
    assert (one["conversion_id"], one["status"], one["payout"]) == (made, "approved", "paid")
    amounts = ("order_value", "net_value", "commission_amount", "clawback")
    assert [one[name] for name in amounts] == [100, 75, 22.5, 0]
    assert (one["affiliate_id"], one["campaign_id"], one["adjustments"]) == ("aff_2", "cmp_1", 3)
    assert (one["customer_id"], one["currency"], one["commission_rule"]) == ("c1", "USD", 1)
    assert await listed(client, click_id="38G6DGCQM00000400G029SGT1X") == [one]
    assert await listed(client, order_id=" order_1\u200b") == [one]
    assert await listed(client, order_id="order_2") == []


async def test_what_was_paid_and_is_no_longer_earned_is_owed_back(
    client: Client, ledger: Ledger
) -> None:
    made = await ledger.convert(1, status="approved")
    await ledger.adjust(made, "paid")
    await ledger.adjust(made, "refunded", amount_minor=2_500)
    await ledger.roll_up()
    [one] = await listed(client, order_id="order_1")
    assert (one["commission_amount"], one["clawback"]) == (22.5, 7.5)
    report = await client.report(metrics="commission,clawback")
    assert report["totals"] == {"commission": 22.5, "clawback": 7.5, "currency": "USD"}
    await ledger.adjust(made, "reinstated")
    [one] = await listed(client, order_id="order_1")
    assert (one["commission_amount"], one["clawback"]) == (30, 0)


async def test_an_unverified_conversion_is_in_no_sum_but_its_own(
    client: Client, ledger: Ledger, redis: Redis
) -> None:
    made = await ledger.convert(1, verified=False, hand="pixel", commission_minor=0, adv1="a")
    await ledger.roll_up()
    [one] = await listed(client, verified="false")
    assert [one[name] for name in ("order_value", "net_value", "commission_amount")] == [100, 0, 0]
    assert (one["verified"], one["adv1"], one["adv2"]) == (False, "a", None)
    metrics = "conversions,pending,revenue,commission,unverified_conversions"
    report = await client.report(metrics=metrics)
    assert [report["totals"][name] for name in metrics.split(",")] == [0, 0, 0, 0, 1]
    log_reader = Client(client.http, await make_secret(redis, "events:read"))
    [logged] = (await log_reader.get("/v1/events")).json()["data"]
    assert (logged["verified"], logged["order_value"], logged["adv"]) == (False, 0, {"adv1": "a"})
    await ledger.adjust(made, "approved")
    await ledger.roll_up()
    assert await listed(client, verified="false") == []
    [one] = await listed(client, verified="true")
    assert [one[name] for name in ("order_value", "net_value", "commission_amount")] == [
        *(100, 100, 30),
    ]
    report = await client.report(metrics=metrics)
    assert [report["totals"][name] for name in metrics.split(",")] == [1, 0, 100, 30, 0]


async def test_the_order_value_of_rows_of_the_release_before(
    client: Client, ledger: Ledger, clickhouse: ClickHouse
) -> None:
    made = await ledger.convert(1)
    await ledger.adjust(made, "restated", order_value_minor=8_000)
    await ledger.adjust(made, "refunded", amount_minor=1_000)
    await clickhouse.execute("ALTER TABLE conversions DROP COLUMN gross_change_minor")
    migration = read_migration("017_conversion_authority")
    await clickhouse.execute(statements(migration.replace("{on_cluster}", ""))[0])
    [one] = await listed(client)
    assert [one[name] for name in ("order_value", "net_value")] == [80, 70]


async def test_filters_are_of_what_it_is_now(client: Client, ledger: Ledger) -> None:
    made = [await ledger.convert(number) for number in range(4)]
    await ledger.adjust(made[0], "approved")
    await ledger.adjust(made[1], "rejected")
    await ledger.adjust(made[2], "rejected")
    await ledger.adjust(made[2], "approved")

    async def ids(**parameters: str | int) -> set[str]:
        return {one["conversion_id"] for one in await listed(client, **parameters)}

    assert await ids(status="approved") == {made[0], made[2]}
    assert await ids(status="rejected") == {made[1]}
    assert await ids(status="pending") == {made[3]}
    assert await ids(affiliate_id="aff_1") == {made[0], made[3]}
    assert await ids(campaign_id="cmp_9") == set()
    assert await ids(event="lead") == set()
    assert await ids(payout="unpaid", event="sale") == set(made)


async def test_the_rate_that_converted_a_commissions_amounts_is_listed(
    client: Client, ledger: Ledger, redis: Redis
) -> None:
    rated = await ledger.convert(1, rate="1 JPY = 0.0067 USD")
    await ledger.adjust(rated, "approved")
    given = await ledger.convert(2, attribution="none", affiliate=0, rule=0)
    payee = {"campaign": 1, "affiliate": 1, "rule": 1, "exchange_rate": "1 USD = 150 JPY"}
    await ledger.adjust(given, "attributed", payee=payee)
    await ledger.convert(3, attribution="order")
    rates = {
        one["conversion_id"]: [one[name] for name in ("rate", "rate_from", "rate_to")]
        for one in await listed(client)
    }
    assert rates.pop(rated) == [0.0067, "JPY", "USD"]
    assert rates.pop(given) == [150, "USD", "JPY"]
    assert [*rates.values()] == [[None, None, None]]
    assert len(await listed(client, attribution="order")) == 1
    log_reader = Client(client.http, await make_secret(redis, "events:read"))
    logged = (await log_reader.get("/v1/events")).json()["data"]
    assert sorted(str(one["rate"]) for one in logged) == ["0.0067", "None", "None"]


async def test_the_inbox_loses_what_is_given_to_somebody(client: Client, ledger: Ledger) -> None:
    lost: dict[str, Any] = {
        "attribution": "none",
        "affiliate": 0,
        "link": 0,
        "rule": 0,
        "commission_minor": 0,
    }
    made = await ledger.convert(1, reason="click_too_old", **lost)
    [one] = await listed(client, attribution="none")
    assert (one["affiliate_id"], one["attribution"]["reason"]) == (None, "click_too_old")
    await ledger.adjust(made, "attributed", payee={"campaign": 1, "affiliate": 2, "rule": 1})
    assert await listed(client, attribution="none") == []
    [one] = await listed(client, attribution="manual", affiliate_id="aff_2")
    assert (one["order_value"], one["commission_amount"]) == (100.0, 30.0)


async def test_pages_show_each_conversion_once_while_new_ones_come(
    client: Client, ledger: Ledger
) -> None:
    made = {await ledger.convert(number, minutes_ago=60 + number // 3) for number in range(11)}
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        more = {"cursor": cursor} if cursor else {}
        answer = (await client.get("/v1/conversions", limit=3, **more)).json()
        seen += [one["conversion_id"] for one in answer["data"]]
        cursor = answer["next_cursor"]
        await ledger.convert(100 + len(seen), minutes_ago=1)
    assert len(seen) == len(made)
    assert set(seen) == made


async def test_the_list_adds_up_to_the_report(client: Client, ledger: Ledger) -> None:
    for number in range(24):
        currency = ("USD", "EUR")[number % 2]
        made = await ledger.convert(number, order_value_minor=9_999 + number, currency=currency)
        if number % 3 == 0:
            await ledger.adjust(made, "refunded", amount_minor=number * 100 + 1)
        if number % 4 == 0:
            await ledger.adjust(made, "rejected")
        if number % 8 == 0:
            await ledger.adjust(made, "approved")
    await ledger.roll_up()
    sums = Counter[tuple[str, str, str]]()
    for one in await listed(client, limit=1_000):
        key = one["affiliate_id"], one["currency"]
        sums[(*key, "revenue")] += round(one["net_value"] * 100)
        sums[(*key, "commission")] += round(one["commission_amount"] * 100)
        sums[(*key, "conversions")] += one["status"] != "rejected"
    report = await client.report(
        group_by="affiliate,currency", metrics="revenue,commission,conversions"
    )
    found = Counter[tuple[str, str, str]]()
    for row in report["data"]:
        key = row["affiliate"], row["currency"]
        found[(*key, "revenue")] += round(row["revenue"] * 100)
        found[(*key, "commission")] += round(row["commission"] * 100)
        found[(*key, "conversions")] += row["conversions"]
    assert +found == +sums
    assert len(report["data"]) == 6


async def test_nobody_sees_anothers_conversions_or_tests_by_a_live_key(
    client: Client, ledger: Ledger, redis: Redis
) -> None:
    await ledger.convert(1)
    trial = await ledger.convert(2, account=dataset_of_tests(account_of(ACCOUNT)))
    assert len(await listed(client)) == 1
    other = Client(client.http, await make_secret(redis, "reports:read", account=ACCOUNT + 1))
    assert await listed(other) == []
    assert trial not in {one["conversion_id"] for one in await listed(client)}
    wrong = Client(client.http, await make_secret(redis, "links:read"))
    assert (await wrong.get("/v1/conversions")).status_code == 403


REFUSED: list[tuple[str, str, Reason]] = [
    ("status", "paid", Reason.invalid_field),
    ("attribution", "luck", Reason.invalid_field),
    ("payout", "x", Reason.invalid_field),
    ("order_id", "", Reason.invalid_field),
    ("order_id", "\u200b ", Reason.invalid_field),
    ("campaign_id", "aff_1", Reason.invalid_field),
    ("limit", "0", Reason.invalid_field),
    ("limit", "1001", Reason.invalid_field),
    ("cursor", "x", Reason.invalid_field),
    ("from", "yesteryear", Reason.invalid_field),
    ("to", "x", Reason.invalid_field),
    ("sort", "x", Reason.invalid_field),
]


@pytest.mark.parametrize(("name", "value", "reason"), REFUSED)
def test_a_bad_parameter_is_refused_by_its_name(name: str, value: str, reason: Reason) -> None:
    with pytest.raises(Rejected) as refused:
        parse_list_query([(name, value)], NOW)
    assert (refused.value.reason, refused.value.field) == (reason, name)


def test_a_parameter_given_twice_is_refused() -> None:
    with pytest.raises(Rejected, match="twice"):
        parse_list_query([("status", "pending"), ("status", "approved")], NOW)


async def test_conversions_are_found_by_part_of_an_id(client: Client, ledger: Ledger) -> None:
    click = "38G6DGCQM00000400G029SGT1X"
    made = await ledger.convert(1, order_id="ORD-10001", click_id=click, customer_id="c-77")
    other = await ledger.convert(2, order_id="ORD-20002", coupon_code="SPRING")
    await ledger.adjust(made, "refunded", amount_minor=100)

    async def ids(q: str) -> list[str]:
        return [one["conversion_id"] for one in await listed(client, q=q)]

    assert await ids("ord-1000") == [made]
    assert await ids("C-77") == [made]
    assert await ids(click[3:20].lower()) == [made]
    assert await ids(other[-6:]) == [other]
    assert await ids("spring") == [other]
    assert await ids("%") == []
    assert [one["net_value"] for one in await listed(client, q="ORD-1")] == [99]


async def test_the_filters_of_reports_filter_the_list(
    client: Client, ledger: Ledger, redis: Redis
) -> None:
    made = [
        await ledger.convert(number, currency=currency, sub1=sub1, event=event)
        for number, (currency, sub1, event) in enumerate(
            [("USD", "a", "sale"), ("EUR", "b", "lead"), ("USD", "", "sale")]
        )
    ]
    await ledger.adjust(made[0], "approved")

    async def numbers(**parameters: str | int) -> list[int]:
        return sorted(
            made.index(one["conversion_id"]) for one in await listed(client, **parameters)
        )

    assert await numbers(currency="USD") == [0, 2]
    assert await numbers(event="lead,signup") == [1]
    assert await numbers(event="-lead") == [0, 2]
    assert await numbers(status="-approved") == [1, 2]
    assert await numbers(status="approved", affiliate_id="aff_1") == [0]
    assert await numbers(affiliate="aff_1,aff_2") == [0, 1]
    assert await numbers(affiliate="aff_1,aff_2", affiliate_id="aff_2") == [1]
    answer = await client.get("/v1/conversions", status="done")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "status")
    answer = await client.get("/v1/conversions", link="nowhere")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "link")


@pytest.mark.parametrize(
    "sort", ["time", "-time", "order_value", "-net_value", "commission_amount"]
)
async def test_sorted_pages_join_to_the_list_and_count_it(
    client: Client, ledger: Ledger, sort: str
) -> None:
    for number in range(11):
        made = await ledger.convert(
            number, minutes_ago=60 + number // 3, order_value_minor=number % 4 * 1_000
        )
        if number % 5 == 0:
            await ledger.adjust(made, "rejected")
    everything = await listed(client)
    seen: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        more = {"cursor": cursor} if cursor else {}
        answer = (await client.get("/v1/conversions", limit=3, sort=sort, **more)).json()
        assert answer["total"] == 11
        seen += answer["data"]
        cursor = answer["next_cursor"]
    name = {"time": "timestamp"}.get(sort.removeprefix("-"), sort.removeprefix("-"))
    expected = sorted(
        everything, key=lambda one: (one[name], one["conversion_id"]), reverse=sort[0] == "-"
    )
    assert [one["conversion_id"] for one in seen] == [one["conversion_id"] for one in expected]
    answer = await client.get("/v1/conversions", limit=3, sort="order_value", cursor="dGltZToxOmE")
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "cursor")
    text = (await client.get("/v1/conversions", sort=sort, format="csv")).text
    lines = [line.split(",")[0].strip('"') for line in text.splitlines()[1:]]
    assert lines == [one["conversion_id"] for one in expected]
