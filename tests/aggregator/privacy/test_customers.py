"""A marked customer is erased: no file, key or row holds the marks, and the sums stay."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from linkjolt.storage import clickhouse
from tests.money.conftest import PATIENT, running
from tests.money.shop import Api, Shop
from tests.system.conftest import wait_for

MARK, KEPT = "MarkedCustomer", "KeptCustomer"
EMAIL = f"{MARK}@shop.example"


class _Column(msgspec.Struct, frozen=True):
    table: str
    name: str


class _Count(msgspec.Struct, frozen=True):
    n: int


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    """Runs an installation whose streams hold nothing that is stored."""
    settings = {"LINKJOLT_STREAM_RETENTION_HOURS": "0", "LINKJOLT_LOG_LEVEL": "info"}
    with running(tmp_path, **settings, **PATIENT) as one:
        yield one


def marked(word: str) -> dict[str, Any]:
    return {
        "customer_id": word,
        "customer_email": f"{word}@shop.example",
        "metadata": {"name": word},
        "items": [{"sku": word}],
        "adv1": word,
    }


def ask(api: Api, kind: str, **customer: str) -> str:
    answer = api.send("POST", f"/v1/privacy/{kind}", json=customer)
    assert answer.status_code == 202, answer.text
    assert MARK not in answer.text
    return answer.json()["id"]


def wait_done(api: Api, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def is_done() -> bool:
        # The other listener answers the same.
        answer = api.send("GET", f"{api.reports}/v1/privacy/jobs/{identity}")
        found.update(answer.json())
        return found["state"] == "done"

    wait_for("the job is done", is_done, 60)
    return found


def listed(api: Api, order_id: str) -> dict[str, Any]:
    url = f"{api.reports}/v1/conversions"
    [conversion] = api.send("GET", url, params={"order_id": order_id}).json()["data"]
    return conversion


def holding(folder: Path, mark: bytes) -> list[str]:
    """Lists the files that hold a text, but parts of the warehouse, which are read as tables."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in files if mark in path.read_bytes()]


async def rows_with(folder: Path, mark: str) -> list[str]:
    """Lists the columns of the warehouse in which a text is."""
    engine = clickhouse.embedded(str(folder / "clickhouse"), clients=1)
    try:
        columns = await engine.read(
            "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
            " AND type LIKE '%String%'",
            _Column,
        )
        found: list[str] = []
        for column in columns:
            sql = (
                f"SELECT count() AS n FROM {column.table}"
                f" WHERE position(toString({column.name}), {{mark:String}}) > 0"
            )
            [count] = await engine.read(sql, _Count, {"mark": mark})
            if count.n:
                found.append(f"{column.table}.{column.name}")
        return found
    finally:
        await engine.close()


@pytest.mark.parametrize(
    "by", ["customer_id", pytest.param("customer_email", marks=pytest.mark.long)]
)
def test_an_erased_customer_is_in_no_file_key_or_row(api: Api, by: str) -> None:
    shop = Shop(api, lifetime=True)
    for number in range(3):
        shop.sale(50, order_id=f"marked-{number}", **marked(MARK))
        shop.sale(50, order_id=f"kept-{number}", **marked(KEPT))
    before = api.fresh("/v1/reports", metrics="conversions,revenue,commission")["totals"]
    assert listed(api, "marked-1")["customer_id"] == MARK
    identity = ask(api, "erasures", **{by: EMAIL if by == "customer_email" else MARK})
    done = wait_done(api, identity)
    assert done["report"]["conversions"] == 3
    assert done["report"]["claims"] >= 1
    erased, kept = listed(api, "marked-1"), listed(api, "kept-1")
    fields = ("customer_id", "customer", "metadata", "items", "adv1")
    assert [erased.get(name) or None for name in fields] == [None] * 5
    assert [kept["customer_id"], kept["metadata"]] == [KEPT, {"name": KEPT}]
    assert api.fresh("/v1/reports", metrics="conversions,revenue,commission")["totals"] == before
    assert api.instance.linkjolt("audit").returncode == 0
    data = api.instance.data
    # Redis writes its log in the background.
    wait_for(
        "its log is written anew",
        lambda: not holding(data / "redis", MARK.encode()),
        30,
    )
    api.instance.stop()
    assert not [path for path in holding(data, MARK.encode()) if "/clickhouse/" not in path]
    assert MARK not in api.instance.printed + api.instance.log
    assert asyncio.run(rows_with(data, MARK)) == []
    assert asyncio.run(rows_with(data, KEPT)) != []


def test_an_export_has_what_is_stored_of_a_customer_and_of_no_other(api: Api) -> None:
    shop = Shop(api)
    shop.sale(50, order_id="marked", **marked(MARK))
    shop.sale(70, order_id="kept", **marked(KEPT))
    identity = ask(api, "exports", customer_email=EMAIL.upper())
    assert wait_done(api, identity)["report"]["conversions"] == 1
    answer = api.send("GET", f"/v1/privacy/jobs/{identity}/data")
    [conversion] = answer.json()["data"]
    assert (conversion["order_id"], conversion["order_value"]) == ("marked", 50)
    assert (conversion["customer_id"], conversion["advs"][0]) == (MARK, MARK)
    assert KEPT not in answer.text
    listed = api.send("GET", "/v1/privacy/jobs").json()["data"]
    assert [(job["id"], job["kind"]) for job in listed] == [(identity, "export")]


def test_a_bad_request_names_its_field_and_starts_nothing(api: Api) -> None:
    bodies: list[tuple[dict[str, Any], str]] = [
        ({}, "customer_email"),
        ({"customer_email": "  "}, "customer_email"),
        ({"customer_id": " "}, "customer_email"),
        ({"customer_id": 7}, "customer_id"),
        ({"customer": "x"}, "customer"),
        ({"customer_id": "x" * 129}, "customer_id"),
    ]
    for body, field in bodies:
        answer = api.send("POST", "/v1/privacy/erasures", json=body)
        assert answer.status_code == 422, body
        assert answer.json()["errors"][0]["field"] == field
    assert api.send("GET", "/v1/privacy/jobs").json()["data"] == []
    assert api.send("GET", "/v1/privacy/jobs/prv_1").status_code == 404
