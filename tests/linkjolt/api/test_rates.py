"""Rates are created, listed and deleted, never changed; edges hold them and hear of changes."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal
from random import Random

import msgspec
import pytest
from redis.asyncio import Redis

from linkjolt.api import rates
from linkjolt.datasets import Account
from linkjolt.directory.directory import Directory
from linkjolt.registry.entries import Rate
from linkjolt.registry.rates import RateTable
from linkjolt.registry.store import Registry
from tests.linkjolt.api.client import Api, serving
from tests.linkjolt.directory.feeds import following
from tests.waiting import wait_until

RATE = {"from": "JPY", "to": "USD", "rate": "0.0067", "valid_from": "2026-01-01"}
JUNE_MS = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
async def api(redis: Redis) -> AsyncIterator[Api]:
    async with serving(redis) as api:
        yield api


def a_rate(number: int, valid_from: datetime, rate: str = "2", **fields: object) -> Rate:
    known = Rate(
        number=number,
        account=Account(1),
        from_="JPY",
        to="USD",
        rate=Decimal(rate),
        valid_from=valid_from,
        created_at=valid_from,
    )
    return msgspec.structs.replace(known, **fields)


async def test_a_rate_is_created_read_and_deleted_and_cannot_be_changed(api: Api) -> None:
    made = await api.post("/v1/rates", RATE)
    assert made.pop("created_at").endswith("Z")
    assert made == {**RATE, "id": "rate_1", "rate": 0.0067, "valid_from": "2026-01-01T00:00:00Z"}
    one = await api.get("/v1/rates/rate_1")
    assert (await api.get("/v1/rates"))["data"] == [one]
    assert (await api.send("PATCH", "/v1/rates/rate_1", {"rate": "1"})).status_code == 405
    assert (await api.send("DELETE", "/v1/rates/rate_1")).status_code == 204
    assert (await api.get("/v1/rates"))["data"] == []
    assert (await api.send("GET", "/v1/rates/rate_1")).status_code == 404


async def test_a_rate_is_valid_from_now_on_unless_it_says_when(api: Api) -> None:
    before = datetime.now(UTC)
    made = await api.post("/v1/rates", {"from": "jpy", "to": "Usd", "rate": 0.0067})
    assert (made["from"], made["to"]) == ("JPY", "USD")
    assert before <= datetime.fromisoformat(made["valid_from"]) <= datetime.now(UTC)
    for text, instant in (
        ("2026-02-03", "2026-02-03T00:00:00Z"),
        ("2026-02-03T04:05:06+01:00", "2026-02-03T03:05:06Z"),
    ):
        made = await api.post("/v1/rates", RATE | {"valid_from": text})
        assert made["valid_from"] == instant


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"from": "XXX"}, "from"),
        ({"from": "US"}, "from"),
        ({"to": "usdt"}, "to"),
        ({"to": "JPY"}, "to"),
        ({"rate": 0}, "rate"),
        ({"rate": -1}, "rate"),
        ({"rate": "NaN"}, "rate"),
        ({"rate": "Infinity"}, "rate"),
        ({"rate": "1e-13"}, "rate"),
        ({"rate": "1e13"}, "rate"),
        ({"rate": "1." + "0" * 19 + "1"}, "rate"),
        ({"rate": "1,5"}, "rate"),
        ({"valid_from": "tomorrow"}, "valid_from"),
        ({"valid_from": "2026-02-30"}, "valid_from"),
        ({"valid_from": "2026-W01"}, "valid_from"),
        ({"valid_from": "2026-01-01T00:00:00"}, "valid_from"),
        ({"valid_from": "1999-12-31"}, "valid_from"),
        ({"valid_from": 1767225600}, "valid_from"),
        ({"until": "2027-01-01"}, "until"),
    ],
)
async def test_a_bad_rate_is_refused_by_its_field(
    api: Api, fields: dict[str, object], field: str
) -> None:
    assert (await api.refused("POST", "/v1/rates", RATE | fields))[::2] == (422, [field])
    assert (await api.get("/v1/rates"))["data"] == []


@pytest.mark.parametrize("missing", ["from", "to", "rate"])
async def test_a_rate_without_a_field_is_refused(api: Api, missing: str) -> None:
    body = {name: value for name, value in RATE.items() if name != missing}
    assert await api.refused("POST", "/v1/rates", body) == (422, "missing_field", [missing])


async def test_who_may_read_rates_and_who_may_write_them(api: Api) -> None:
    await api.post("/v1/rates", RATE)
    for scope in ("links:read", "reports:read"):
        await api.use_key(scope)
        assert len((await api.get("/v1/rates"))["data"]) == 1
        status, code, _ = await api.refused("POST", "/v1/rates", RATE)
        assert (status, code) == (403, "forbidden")
        assert (await api.send("DELETE", "/v1/rates/rate_1")).status_code == 403
    await api.use_key("rates:write")
    assert (await api.send("GET", "/v1/rates")).status_code == 403
    assert (await api.post("/v1/rates", RATE))["id"] == "rate_2"
    assert (await api.send("DELETE", "/v1/rates/rate_1")).status_code == 204


async def test_an_account_has_a_bounded_number_of_rates(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rates, "RATES_MAX", 2)
    for _ in range(2):
        await api.post("/v1/rates", RATE)
    assert await api.refused("POST", "/v1/rates", RATE) == (409, "conflict", [])
    await api.send("DELETE", "/v1/rates/rate_1")
    await api.post("/v1/rates", RATE)


def test_the_rate_found_is_the_last_one_that_started() -> None:
    chance = Random(7)
    starts = [datetime.fromtimestamp(1_700_000_000 + chance.randrange(40), UTC) for _ in range(60)]
    made = [a_rate(number, start, str(number + 1)) for number, start in enumerate(starts)]
    table = RateTable(chance.sample(made, len(made)))
    deleted = set(chance.sample(range(60), 20))
    for rate in made:
        if rate.number in deleted:
            gone = a_rate(rate.number, rate.valid_from, str(rate.rate), deleted_at=rate.valid_from)
            table.put(gone)
            table.put(gone)
        else:
            table.put(rate)
    for at_ms in range(1_699_999_999_000, 1_700_000_041_000, 500):
        valid = [
            (rate.valid_from, rate.number, rate.rate)
            for rate in made
            if rate.number not in deleted and rate.valid_from.timestamp() * 1000 <= at_ms
        ]
        expected = f"1 JPY = {max(valid)[2]} USD" if valid else ""
        assert table.find("JPY", "USD", at_ms) == expected
        # The inverse, where there is no other.
        assert table.find("USD", "JPY", at_ms) == expected


async def test_a_directory_hears_of_new_and_deleted_rates(
    redis: Redis, registry: Registry, directory: Directory
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    async with following(directory, registry):
        table = await directory.rates.table(Account(1))
        assert table.find("JPY", "USD", JUNE_MS) == ""
        made = await registry.create(a_rate(0, now))
        await registry.create(a_rate(0, now, "3", account=Account(2)))
        await wait_until(lambda: table.find("JPY", "USD", JUNE_MS) == "1 JPY = 2 USD")
        # Changes are applied to the same table: nothing is read again.
        assert await directory.rates.table(Account(1)) is table
        await registry.delete(Rate, Account(1), made.number, now)
        await wait_until(lambda: table.find("JPY", "USD", JUNE_MS) == "")
    other = await directory.rates.table(Account(2))
    assert other.find("JPY", "USD", JUNE_MS) == "1 JPY = 3 USD"


async def test_a_directory_loads_all_rates_of_an_account(
    redis: Redis, registry: Registry, directory: Directory
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    made = [a_rate(0, now, "2", from_=code) for code in ("EUR", "CHF") for _ in range(600)]
    assert len(await registry.create_many(made)) == 1200
    table = await directory.rates.table(Account(1))
    assert table.find("EUR", "USD", JUNE_MS) == "1 EUR = 2 USD"
    assert table.find("CHF", "USD", JUNE_MS) == "1 CHF = 2 USD"
