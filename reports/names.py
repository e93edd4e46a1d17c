"""Names of registry numbers, from the warehouse's mirror; numbers of tracking codes."""

import time
from collections.abc import Mapping, Set
from pathlib import Path

import msgspec
from redis.asyncio import Redis

from linkjolt import redis_keys
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import Link
from linkjolt.registry.reads import read_entry, read_pointer
from linkjolt.storage.clickhouse import ClickHouse
from reports.answer.rows import Named, Names
from reports.query.request import Filter, ReportRequest

_NAMED_SECONDS = 5.0
_FOLDER = Path(__file__).parent / "sql"
_NAMES = (_FOLDER / "read_names.sql").read_text(encoding="utf-8")


class NameCache:
    """Names as the mirror had them a few seconds ago at most: they are asked for all the time."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        self._clickhouse = clickhouse
        self._known: dict[int, dict[tuple[str, int], Named]] = {}
        self._since = 0.0

    async def read(self, account: int, numbers: Mapping[str, Set[int]]) -> Names:
        """What the mirror knows of these numbers, and of others. Raises ClickHouseFailed."""
        if time.monotonic() - self._since > _NAMED_SECONDS:
            self._known = {}
            self._since = time.monotonic()
        known = self._known.setdefault(account, {})
        missing = {
            kind: {number for number in some if (kind, number) not in known}
            for kind, some in numbers.items()
        }
        known |= await read_names(self._clickhouse, account, missing)
        return known


async def read_names(
    clickhouse: ClickHouse, account: int, numbers: Mapping[str, Set[int]]
) -> Names:
    """What the mirror knows of these numbers; those it does not know yet are absent."""
    wanted = {kind: sorted(numbers.get(kind, ())) for kind in ("campaign", "affiliate", "link")}
    if not any(wanted.values()):
        return {}
    rows = await clickhouse.read(_NAMES, Named, {"account": account, **wanted})
    return {(row.kind, row.number): row for row in rows}


async def resolve_links(redis: Redis, account: int, request: ReportRequest) -> ReportRequest:
    """The request with link numbers for tracking codes; Rejected for a code that is not known.

    Asked of the registry itself, for a link can be reported on as soon as it is made.
    """
    chosen = [one for one in request.filters if one.name == "link"]
    codes = {code for one in chosen for code in (*one.include, *one.exclude)}
    numbers = {code: str(await find_link(redis, account, code)) for code in sorted(codes)}
    filters = tuple(_numbered(one, numbers) for one in request.filters)
    return msgspec.structs.replace(request, filters=filters)


async def find_link(redis: Redis, account: int, code: str) -> int:
    """The number of the account's link of this tracking code; Rejected where there is none."""
    number = await read_pointer(redis, redis_keys.tracking_code(code))
    link = None if number is None else await read_entry(redis, Link, number)
    if link is None or link.account != account:
        message = f"no link has the tracking code {code[:64]!r}"
        raise Rejected(Reason.invalid_field, message, field="link")
    return link.number


def _numbered(one: Filter, numbers: Mapping[str, str]) -> Filter:
    if one.name != "link":
        return one
    include = tuple(numbers[code] for code in one.include)
    return Filter("link", include, tuple(numbers[code] for code in one.exclude))
