"""Reads names of registry numbers from the mirror in the warehouse, and resolves tracking codes."""

import time
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Link
from linkjolt.registry.reads import read_entry, read_pointer
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.rows import NamedEntry, Names
from reports.query.request import Filter, ReportRequest

_CACHED_SECONDS = 5.0
_FOLDER = Path(__file__).parent / "sql"
_NAMES = (_FOLDER / "read_names.sql").read_text(encoding="utf-8")


class NameCache:
    """Caches the names of the mirror for a few seconds, as every answer needs them."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._names: dict[int, dict[tuple[str, int], NamedEntry]] = {}
        self._cleared_at = 0.0

    async def read(self, account: Account, numbers: Mapping[str, Set[int]]) -> Names:
        """Returns the names of these numbers, and of others. Raises ClickHouseFailed."""
        if time.monotonic() - self._cleared_at > _CACHED_SECONDS:
            self._names = {}
            self._cleared_at = time.monotonic()
        names = self._names.setdefault(account, {})
        missing = {
            kind: {number for number in kind_numbers if (kind, number) not in names}
            for kind, kind_numbers in numbers.items()
        }
        names |= await read_names(self._clickhouse, account, missing)
        return names


async def read_names(
    clickhouse: ClickHouse, account: Account, numbers: Mapping[str, Set[int]]
) -> Names:
    """Reads the names of these numbers; those that the mirror lacks so far are absent."""
    numbers_by_kind = {
        kind: sorted(numbers.get(kind, ())) for kind in ("campaign", "affiliate", "link")
    }
    if not any(numbers_by_kind.values()):
        return {}
    rows = await clickhouse.read(_NAMES, NamedEntry, {"account": account, **numbers_by_kind})
    return {(row.kind, row.number): row for row in rows}


async def resolve_links(redis: Redis, account: Account, request: ReportRequest) -> ReportRequest:
    """Replaces tracking codes in a request by link numbers; Rejected for an unknown code.

    Reads the registry itself, as a link can be reported on as soon as it is created.
    """
    filters = await resolve_link_filters(redis, account, request.filters)
    return msgspec.structs.replace(request, filters=filters)


async def resolve_link_filters(
    redis: Redis, account: Account, filters: Sequence[Filter]
) -> tuple[Filter, ...]:
    """Replaces tracking codes in filters by link numbers; Rejected for an unknown code."""
    chosen = [each for each in filters if each.name == "link"]
    codes = {code for each in chosen for code in (*each.include, *each.exclude)}
    numbers = {code: str(await find_link_number(redis, account, code)) for code in sorted(codes)}
    return tuple(_with_numbers(each, numbers) for each in filters)


async def find_link_number(redis: Redis, account: Account, code: str) -> int:
    """Finds the number of the account's link with this tracking code; Rejected if there is none."""
    number = await read_pointer(redis, redis_keys.tracking_code(code))
    link = None if number is None else await read_entry(redis, Link, number)
    if link is None or link.account != account:
        message = f"{code[:64]!r} is no tracking code of this account"
        raise Rejected(Reason.invalid_field, message, field="link")
    return link.number


def _with_numbers(chosen: Filter, numbers: Mapping[str, str]) -> Filter:
    if chosen.name != "link":
        return chosen
    include = tuple(numbers[code] for code in chosen.include)
    return Filter("link", include, tuple(numbers[code] for code in chosen.exclude))
