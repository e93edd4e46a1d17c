"""Names and tracking codes of registry numbers, from the warehouse's mirror of the registry."""

from collections.abc import Mapping, Set
from pathlib import Path

import msgspec

from linkjolt.clickhouse import ClickHouse
from linkjolt.errors import Reason, Rejected
from reports.request import Filter, ReportRequest
from reports.rows import Named, Names

_FOLDER = Path(__file__).parent / "sql"
_NAMES = (_FOLDER / "read_names.sql").read_text(encoding="utf-8")
_CODES = (_FOLDER / "read_codes.sql").read_text(encoding="utf-8")


class _Code(msgspec.Struct, frozen=True):
    code: str
    number: int


async def read_names(
    clickhouse: ClickHouse, account: int, numbers: Mapping[str, Set[int]]
) -> Names:
    """What the mirror knows of these numbers; those it does not know yet are absent."""
    wanted = {kind: sorted(numbers.get(kind, ())) for kind in ("campaign", "affiliate", "link")}
    if not any(wanted.values()):
        return {}
    rows = await clickhouse.read(_NAMES, Named, {"account": account, **wanted})
    return {(row.kind, row.number): row for row in rows}


async def resolve_links(
    clickhouse: ClickHouse, account: int, request: ReportRequest
) -> ReportRequest:
    """The request with link numbers for tracking codes; Rejected for a code that is not known."""
    codes = [
        code
        for one in request.filters
        if one.name == "link"
        for code in (*one.include, *one.exclude)
    ]
    if not codes:
        return request
    rows = await clickhouse.read(_CODES, _Code, {"account": account, "codes": codes})
    numbers: dict[str, list[str]] = {}
    for row in rows:
        numbers.setdefault(row.code, []).append(str(row.number))
    for code in codes:
        if code not in numbers:
            message = f"no link has the tracking code {code[:64]!r}"
            raise Rejected(Reason.invalid_field, message, field="link")
    filters = tuple(_numbered(one, numbers) for one in request.filters)
    return msgspec.structs.replace(request, filters=filters)


def _numbered(one: Filter, numbers: Mapping[str, list[str]]) -> Filter:
    if one.name != "link":
        return one
    include = (number for code in one.include for number in numbers[code])
    exclude = (number for code in one.exclude for number in numbers[code])
    return Filter("link", tuple(include), tuple(exclude))
