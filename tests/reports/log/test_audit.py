"""The audit log is read by its account alone: filtered, page by page, as JSON and as CSV."""

import csv
import io
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from aggregator.audit_log.store import AuditLogStore
from linkjolt.audit_log.entries import AuditSource
from linkjolt.datasets import Account
from linkjolt.registry import api_key_secrets
from linkjolt.registry.entries import Affiliate
from linkjolt.registry.store import Registry
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from tests.linkjolt.registry import samples
from tests.reports.conftest import Client, make_secret, open_http

_OWN, _OTHER = Account(5), Account(6)


def _source(actor: str, operation: str) -> AuditSource:
    return AuditSource(actor=actor, operation=operation, status=201, address="203.0.113.0")


@pytest.fixture
async def auditor(redis: Redis, clickhouse: ClickHouse) -> AsyncIterator[Client]:
    """A client whose account created three affiliates and renamed one; another's is beside them."""
    registry = Registry(redis, source=_source("key_90", "createAffiliate"))
    names = ("Ann", "Bea", "=Cid")
    created = [await registry.create(samples.affiliate(name, _OWN)) for name in names]
    await registry.create(samples.affiliate("Foreign", _OTHER))
    renaming = registry.written_by(_source("key_91", "updateAffiliate"))
    await renaming.patch(
        Affiliate, _OWN, created[0].number, lambda one: msgspec.structs.replace(one, name="Anna")
    )
    # Its own creation is of another source.
    secret = await make_secret(redis, "audit:read", account=_OWN)
    await AuditLogStore(redis, clickhouse, 1).step()
    async with open_http(redis, clickhouse, ReportsSettings()) as http:
        yield Client(http, secret)


async def test_it_lists_the_own_accounts_writes_the_newest_first(auditor: Client) -> None:
    response = await auditor.get("/v1/audit")
    data = response.json()["data"]
    assert [record["seq"] for record in data] == [5, 4, 3, 2, 1]
    assert "Foreign" not in response.text
    renamed = data[1]
    assert (renamed["actor"], renamed["operation"]) == ("key_91", "updateAffiliate")
    assert renamed["object"] == "aff_1"
    assert renamed["changes"] == {"name": {"before": "Ann", "after": "Anna"}}
    assert (renamed["status"], renamed["address"], renamed["count"]) == (201, "203.0.113.0", 1)
    assert (data[0]["actor"], data[0]["status"]) == ("system", None)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({"actor": "key_90"}, [3, 2, 1]),
        ({"operation": "updateAffiliate"}, [4]),
        ({"object": "aff_1"}, [4, 1]),
        ({"object": "aff_1", "actor": "key_90"}, [1]),
        ({"from": "2000-01-01", "to": "2001-01-01"}, []),
        ({"from": "2000-01-01"}, [5, 4, 3, 2, 1]),
    ],
)
async def test_filters_narrow_it(
    auditor: Client, filters: dict[str, str], found: list[int]
) -> None:
    data = (await auditor.get("/v1/audit", **filters)).json()["data"]
    assert [record["seq"] for record in data] == found


async def test_pages_follow_each_other_by_cursor(auditor: Client) -> None:
    seen: list[int] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await auditor.get("/v1/audit", limit=2, **cursor)).json()
        seen += [record["seq"] for record in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert seen == [5, 4, 3, 2, 1]


async def test_csv_has_every_row_and_no_formula(auditor: Client) -> None:
    response = await auditor.get("/v1/audit", format="csv")
    assert response.headers["content-type"].startswith("text/csv")
    rows = [*csv.DictReader(io.StringIO(response.text))]
    assert [row["seq"] for row in rows] == ["5", "4", "3", "2", "1"]
    assert not [cell for row in rows for cell in row.values() if cell.startswith("=")]
    page = await auditor.get("/v1/audit", format="csv", limit=2)
    assert page.headers["x-next-cursor"] == "4"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("cursor", "x"),
        ("limit", "1001"),
        ("who", "key_1"),
        ("actor", ""),
        ("format", "xml"),
        ("from", "yesteryear"),
    ],
)
async def test_bad_parameters_are_named(auditor: Client, parameter: str, value: str) -> None:
    response = await auditor.get("/v1/audit", **{parameter: value})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == parameter


async def test_other_scopes_and_test_keys_read_nothing(auditor: Client, redis: Redis) -> None:
    for scopes, is_test in ((("reports:read",), False), (("audit:read",), True)):
        secret = api_key_secrets.make_secret(test=is_test)
        key = samples.key(secret, *scopes)
        await Registry(redis).create(msgspec.structs.replace(key, account=_OWN, test=is_test))
        response = await Client(auditor.http, secret).get("/v1/audit")
        assert response.status_code == 403
