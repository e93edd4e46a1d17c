"""Amounts of a rule pay in another currency only by a dated rate, exactly, which is kept."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from linkjolt.datasets import Account
from linkjolt.money import Commission, Flat, Percentage, Tier, Tiered
from linkjolt.registry.entries import Rate, RuleVersion
from tests.ingest.conftest import Shop, make_key
from tests.ingest.conversions.test_attribution import change_campaign
from tests.ingest.conversions.test_earners import CODE, accepted
from tests.waiting import wait_until

FLAT = Flat(Decimal(5))
CAPPED = Percentage(Decimal(30), cap=Decimal(50))
TIERS = Tiered((Tier(Decimal(0), Decimal(5)), Tier(Decimal(100), Decimal(10))))


@pytest.fixture
async def rated(shop: Shop) -> AsyncIterator[Shop]:
    """A shop in USD whose key may create rates."""
    shop.key = await make_key(shop.registry, ["conversions:write", "rates:write", "reports:read"])
    yield shop


async def add_rate(shop: Shop, **fields: object) -> str:
    """Creates a rate over HTTP, and waits until the edge has heard of it."""
    body = {"from": "JPY", "to": "USD", "rate": "0.0067", "valid_from": "2020-01-01", **fields}
    answer = await shop.post(body, path="/v1/rates")
    assert answer.status_code == 201, answer.text
    stored = await shop.registry.get(Rate, Account(1), int(answer.json()["id"][5:]))
    start_ms = int(stored.valid_from.timestamp() * 1000)

    async def heard() -> bool:
        table = await shop.edge.directory.rates.table(Account(1))
        return f" {stored.rate:f} " in table.find(stored.from_, stored.to, start_ms)

    await wait_until(heard)
    return answer.json()["id"]


def yen(order_id: str, value: object = 1000, **fields: object) -> dict[str, object]:
    return {"order_id": order_id, "order_value": value, "currency": "JPY", **CODE, **fields}


async def read(shop: Shop, answer: dict[str, Any]) -> dict[str, Any]:
    return (await shop.get(f"/v1/conversions/{answer['conversion_id']}")).json()


def rate_of(conversion: dict[str, Any]) -> tuple[float, str, str]:
    return conversion["rate"], conversion["rate_from"], conversion["rate_to"]


@pytest.mark.parametrize("rule", [FLAT, CAPPED, TIERS])
async def test_a_rule_with_amounts_pays_in_the_campaigns_currency_alone(
    shop: Shop, rule: Commission
) -> None:
    await change_campaign(shop, commission=rule)
    for currency, value in (("JPY", 1000), ("KWD", 10), ("EUR", 10)):
        refused = await shop.post({**yen("o1", value), "currency": currency})
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == ["currency"]
    [result] = (await shop.post([yen("o1")])).json()["data"]
    assert (result["status"], result["errors"][0]["field"]) == (422, "currency")
    query = f"tracking_code=tc_ABC123&order_id=o1&payout=10&currency=EUR&key={shop.key}"
    postback = await shop.client.get(f"/postback?{query}")
    assert (postback.status_code, postback.json()["errors"][0]["field"]) == (422, "currency")
    assert await shop.conversions() == []
    assert (await accepted(shop, {**yen("o1"), "currency": "USD"}))["commission_amount"] > 0


async def test_a_percentage_has_no_amounts_and_pays_in_any_currency(shop: Shop) -> None:
    assert (await accepted(shop, yen("o1", 10_000)))["commission_amount"] == 3000


@pytest.mark.parametrize(
    ("rule", "value", "paid"),
    [
        (FLAT, 1000, 746),
        (CAPPED, 10_000, 3000),
        (CAPPED, 100_000, 7462),
        (TIERS, 14_925, 746),
        (TIERS, 14_926, 1492),
    ],
)
async def test_amounts_are_converted_exactly_by_the_accounts_rate(
    rated: Shop, rule: Commission, value: int, paid: int
) -> None:
    await change_campaign(rated, commission=rule)
    await add_rate(rated)
    answer = await accepted(rated, yen("o1", value))
    assert answer["commission_amount"] == paid
    [stored] = await rated.conversions()
    assert stored.rate == "1 JPY = 0.0067 USD"
    assert rate_of(await read(rated, answer)) == (0.0067, "JPY", "USD")


async def test_the_inverse_rate_converts_where_there_is_no_other(rated: Shop) -> None:
    await change_campaign(rated, commission=FLAT)
    await add_rate(rated, **{"from": "USD", "to": "JPY", "rate": "149.25"})
    assert (await accepted(rated, yen("o1")))["commission_amount"] == 746
    await add_rate(rated)
    await add_rate(rated, **{"from": "USD", "to": "JPY", "rate": "100", "valid_from": "2021-01-01"})
    await accepted(rated, yen("o2"))
    kept = [stored.rate for stored in await rated.conversions()]
    assert kept == ["1 USD = 149.25 JPY", "1 JPY = 0.0067 USD"]


async def test_the_rate_is_that_of_the_conversions_time(rated: Shop) -> None:
    await change_campaign(rated, commission=FLAT)
    await add_rate(rated, valid_from="2026-02-01", rate=0.005)
    await add_rate(rated, valid_from="2026-01-01", rate="0.01")
    last = await add_rate(rated, valid_from="2026-03-01T12:00:00+01:00", rate="0.0025")
    cases = {
        "2026-01-01T00:00:00Z": 500,
        "2026-01-31T23:59:59.999Z": 500,
        "2026-02-01T00:00:00Z": 1000,
        "2026-03-01T10:59:59.999Z": 1000,
        "2026-03-01T11:00:00Z": 2000,
    }
    for number, (instant, paid) in enumerate(cases.items()):
        answer = await accepted(rated, yen(f"o{number}", timestamp=instant))
        assert answer["commission_amount"] == paid
    early = await rated.post(yen("early", timestamp="2025-12-31T23:59:59Z"))
    assert early.json()["errors"][0]["field"] == "currency"
    # A deleted rate leaves the one before it valid, and what was converted as it was.
    headers = {"Authorization": f"Bearer {rated.key}"}
    assert (await rated.client.delete(f"/v1/rates/{last}", headers=headers)).status_code == 204

    march_ms = int(datetime(2026, 3, 2, tzinfo=UTC).timestamp() * 1000)

    async def heard() -> bool:
        table = await rated.edge.directory.rates.table(Account(1))
        return table.find("JPY", "USD", march_ms) == "1 JPY = 0.005 USD"

    await wait_until(heard)
    later = await accepted(rated, yen("later", timestamp="2026-03-02T00:00:00Z"))
    assert later["commission_amount"] == 1000
    assert (await rated.conversions())[4].commission_minor == 2000


async def test_adjustments_use_the_rate_that_was_kept(rated: Shop) -> None:
    await change_campaign(rated, commission=TIERS)
    await add_rate(rated)
    answer = await accepted(rated, yen("o1", 20_000))
    await add_rate(rated, rate="0.5", valid_from="2020-01-02")
    path = f"/v1/conversions/{answer['conversion_id']}/adjustments"
    steps = [
        # The tier is that of 20,000, which 134 USD are, until the order is restated.
        ({"kind": "refund", "amount": 10_000}, 1000),
        ({"kind": "restate", "order_value": 14_925}, 246),
        ({"kind": "restate", "order_value": 14_926}, 492),
    ]
    for number, (body, paid) in enumerate(steps):
        adjusted = await rated.post({**body, "adjustment_id": f"a{number}"}, path=path)
        assert adjusted.json()["conversion"]["commission_amount"] == paid


async def test_an_affiliates_own_rule_has_amounts_in_the_campaigns_currency_too(
    rated: Shop,
) -> None:
    own = RuleVersion(
        version=2, starts_at=datetime(2020, 1, 1, tzinfo=UTC), commission=FLAT, affiliate=1
    )
    await change_campaign(rated, rules=(own,))
    assert (await rated.post(yen("o1"))).json()["errors"][0]["field"] == "currency"
    await add_rate(rated)
    assert (await accepted(rated, yen("o1")))["commission_amount"] == 746


async def test_a_conversion_attributed_by_hand_is_paid_by_the_rate_of_its_time(
    rated: Shop,
) -> None:
    await change_campaign(rated, commission=FLAT)
    lost = {"order_id": "o1", "order_value": 1000, "currency": "JPY", "click_id": "forged"}
    answer = await accepted(rated, lost)
    path = f"/v1/conversions/{answer['conversion_id']}/attribute"
    refused = await rated.post({"adjustment_id": "a1", **CODE}, path=path)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "currency"
    await add_rate(rated)
    attributed = await rated.post({"adjustment_id": "a1", **CODE}, path=path)
    assert attributed.json()["conversion"]["commission_amount"] == 746
    assert rate_of(attributed.json()["conversion"]) == (0.0067, "JPY", "USD")
    refund = {"kind": "refund", "amount": 999, "adjustment_id": "a2"}
    path = f"/v1/conversions/{answer['conversion_id']}/adjustments"
    assert (await rated.post(refund, path=path)).json()["conversion"]["commission_amount"] == 746


async def test_a_retry_finds_its_conversion_whatever_became_of_the_rate(rated: Shop) -> None:
    await change_campaign(rated, commission=FLAT)
    await add_rate(rated)
    first = await accepted(rated, yen("o1"))
    await add_rate(rated, rate="0.5", valid_from="2020-01-02")
    again = await rated.post(yen("o1"))
    assert (again.status_code, again.json()) == (200, {**first, "duplicate": True})


async def test_a_key_whose_body_was_refused_takes_the_corrected_one(shop: Shop) -> None:
    await change_campaign(shop, commission=FLAT)
    once = {"Idempotency-Key": "k1"}
    assert (await shop.post(yen("o1"), **once)).status_code == 422
    assert (await shop.post({**yen("o1"), "currency": "USD"}, **once)).status_code == 201
