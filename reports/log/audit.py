"""Answers `GET /v1/audit`: who changed what, the newest first."""

from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from starlette.responses import Response

from linkjolt.datasets import Account
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import requests
from reports import csv
from reports.csv import csv_text
from reports.log.listing import (
    LIMIT_MAX,
    check_choices,
    check_texts,
    parse_format,
    parse_limit,
    unique_parameters,
)
from reports.period import check_zone, parse_period, to_milliseconds
from reports.query.templates import fill
from reports.vocabulary import FORMATS, Format

SCOPE = "audit:read"
_TEXTS = ("actor", "operation", "object")
PARAMETERS = (*_TEXTS, "from", "to", "timezone", "limit", "cursor", "format")
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_TOLERANCE = timedelta(minutes=10)
_NEWEST = 1 << 62
_CURSOR_DIGITS_MAX = 18


class AuditLogQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query of rows below `before` in [start, end); '' matches all."""

    start: datetime
    end: datetime
    actor: str
    operation: str
    object: str
    limit: int
    before: int
    format: Format
    every_row: bool


class AuditChangeAnswer(msgspec.Struct, frozen=True):
    """The values of one field before and after; `[hidden]` for those that are not recorded."""

    before: Any
    after: Any


class AuditRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A write, or `count` refused authentications of a minute.

    `seq` numbers the records of the account without a gap. `actor` is a key's id, `cli`, `system`,
    or null where nobody was authenticated. `hash` is of this record and of the one before.
    """

    seq: int
    at: datetime
    actor: str | None
    actor_name: str | None
    operation: str
    object: str | None
    changes: dict[str, AuditChangeAnswer]
    status: int | None
    request_id: str | None
    address: str | None
    key_hint: str | None
    count: int
    hash: str


class AuditLogPage(msgspec.Struct, frozen=True):
    """One page of the audit log; `next_cursor` is null on the last one."""

    data: list[AuditRecord]
    next_cursor: str | None


class _AuditLogRow(msgspec.Struct, frozen=True, kw_only=True):
    seq: int
    time_ms: int
    actor: str
    actor_name: str
    operation: str
    object: str
    changes: str
    status: int
    request_id: str
    address: str
    key_hint: str
    count: int
    hash: str


_COLUMNS = AuditRecord.__struct_fields__


def parse_audit_query(parameters: Sequence[tuple[str, str]], now: datetime) -> AuditLogQuery:
    """Parses the parameters; Rejected names the one that does not fit. Default: all time."""
    values = unique_parameters(parameters, PARAMETERS)
    check_choices(values, {"format": FORMATS})
    check_texts(values, _TEXTS)
    zone = check_zone(values.get("timezone", "UTC"))
    start, end = _EARLIEST, now + _TOLERANCE
    if "from" in values:
        period = parse_period(values["from"], values.get("to"), zone, now)
        start, end = period.start, period.end
    elif "to" in values:
        raise Rejected(Reason.missing_field, "is required with `to`", field="from")
    output_format, every_row = parse_format(values)
    return AuditLogQuery(
        start=start,
        end=end,
        actor=values.get("actor", ""),
        operation=values.get("operation", ""),
        object=values.get("object", ""),
        limit=parse_limit(values),
        before=_parse_cursor(values.get("cursor")),
        format=output_format,
        every_row=every_row,
    )


def _parse_cursor(text: str | None) -> int:
    if text is None:
        return _NEWEST
    seq = parse_whole_number(text, _CURSOR_DIGITS_MAX)
    if seq is None:
        message = "is not a cursor that this list answered"
        raise Rejected(Reason.invalid_field, message, field="cursor")
    return seq


class AuditLogReader:
    """Reads the audit log of one account. Its methods raise ClickHouseFailed."""

    def __init__(self, account: Account, clickhouse: ClickHouse) -> None:
        self._account = account
        self._clickhouse = clickhouse

    async def answer(self, query: AuditLogQuery, download: csv.Download) -> Response:
        """Answers a page as JSON or CSV, or the whole log as CSV if the query has no page."""
        if query.every_row:
            return await csv.stream_response(self.csv(query), "audit", download)
        rows, cursor = await self._read(query)
        if query.format == "json":
            return requests.json_response(AuditLogPage([*map(_record, rows)], cursor))
        return csv.page_response([_COLUMNS, *map(_cells, rows)], "audit", cursor)

    async def csv(self, query: AuditLogQuery) -> AsyncGenerator[str]:
        """Yields the header and every record as CSV, page by page."""
        query = msgspec.structs.replace(query, limit=LIMIT_MAX)
        yield csv_text([_COLUMNS])
        cursor: str | None = ""
        while cursor is not None:
            rows, cursor = await self._read(query)
            yield csv_text(map(_cells, rows))
            if rows:
                query = msgspec.structs.replace(query, before=rows[-1].seq)

    async def _read(self, query: AuditLogQuery) -> tuple[list[_AuditLogRow], str | None]:
        """Reads the rows of a page, and the cursor of the next one."""
        parameters: dict[str, object] = {
            "account": self._account,
            "before": query.before,
            "start_ms": to_milliseconds(query.start),
            "end_ms": to_milliseconds(query.end),
            "limit": query.limit + 1,
            **{name: getattr(query, name) for name in _TEXTS},
        }
        rows = await self._clickhouse.read(fill("audit_log", {}), _AuditLogRow, parameters)
        page = rows[: query.limit]
        return page, str(page[-1].seq) if len(rows) > query.limit else None


def _record(row: _AuditLogRow) -> AuditRecord:
    return AuditRecord(
        seq=row.seq,
        at=datetime.fromtimestamp(row.time_ms / 1000, UTC),
        actor=row.actor or None,
        actor_name=row.actor_name or None,
        operation=row.operation,
        object=row.object or None,
        changes=msgspec.json.decode(row.changes, type=dict[str, AuditChangeAnswer]),
        status=row.status or None,
        request_id=row.request_id or None,
        address=row.address or None,
        key_hint=row.key_hint or None,
        count=row.count,
        hash=row.hash,
    )


def _cells(row: _AuditLogRow) -> list[csv.Value]:
    at = datetime.fromtimestamp(row.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return [
        *(row.seq, at.replace("+00:00", "Z"), row.actor, row.actor_name, row.operation, row.object),
        *(row.changes, row.status or "", row.request_id, row.address, row.key_hint, row.count),
        row.hash,
    ]
