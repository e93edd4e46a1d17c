"""Finds, empties and exports the rows of a customer in the warehouse."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from linkjolt.datasets import Account, dataset_of_tests, live_dataset
from linkjolt.money import to_major
from linkjolt.privacy.jobs import ExportedConversion, PrivacyJob
from linkjolt.storage.clickhouse import ClickHouse

_IDS_AT_ONCE = 5_000


def _statement(name: str) -> str:
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_text(encoding="utf-8")


_FIND = _statement("customer_conversions")
_ERASE = _statement("erase_conversions")
_COUNT_REJECTS = _statement("customer_rejects")
_ERASE_REJECTS = _statement("erase_rejects")
_EXPORT = _statement("export_conversions")


class _FoundConversion(msgspec.Struct, frozen=True):
    conversion_id: str


class _RejectCount(msgspec.Struct, frozen=True):
    n: int


class _ExportRow(msgspec.Struct, frozen=True):
    """A row of `export_conversions.sql`."""

    conversion_id: str
    time: datetime
    event: str
    order_id: str
    order_value_minor: int
    currency: str
    customer_id: str
    coupon_code: str
    items: str
    metadata: str
    advs: list[str]
    click_id: str
    country: str
    language: str
    device: str
    os: str
    browser: str
    referrer_host: str


def datasets_of(account: Account) -> list[int]:
    """Returns the datasets of an account: of its live and its test events."""
    return [live_dataset(account), dataset_of_tests(account)]


async def erase(clickhouse: ClickHouse, job: PrivacyJob) -> tuple[int, int]:
    """Empties a customer's rows; returns how many conversions and rejects there were.

    It may be repeated: what is erased is not found again.
    """
    accounts = datasets_of(job.account)
    ids = await _find(clickhouse, job)
    for part in _parts(ids):
        await clickhouse.execute(_ERASE, {"accounts": accounts, "ids": part})
    customer = _customer(job)
    [rejects] = await clickhouse.read(_COUNT_REJECTS, _RejectCount, customer)
    if rejects.n:
        await clickhouse.execute(_ERASE_REJECTS, customer)
    return len(ids), rejects.n


async def export(clickhouse: ClickHouse, job: PrivacyJob) -> list[ExportedConversion]:
    """Reads a customer's conversions, the oldest first."""
    accounts, found = datasets_of(job.account), list[ExportedConversion]()
    for part in _parts(await _find(clickhouse, job)):
        rows = await clickhouse.read(_EXPORT, _ExportRow, {"accounts": accounts, "ids": part})
        found += [_exported(row) for row in rows]
    return found


def _exported(row: _ExportRow) -> ExportedConversion:
    fields = msgspec.structs.asdict(row)
    value = to_major(fields.pop("order_value_minor"), row.currency)
    return ExportedConversion(order_value=value, **fields)


async def _find(clickhouse: ClickHouse, job: PrivacyJob) -> list[str]:
    rows = await clickhouse.read(_FIND, _FoundConversion, _customer(job))
    return sorted(row.conversion_id for row in rows)


def _customer(job: PrivacyJob) -> dict[str, object]:
    accounts = datasets_of(job.account)
    return {"accounts": accounts, "customer_id": job.customer_id, "customer": job.customer}


def _parts(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
