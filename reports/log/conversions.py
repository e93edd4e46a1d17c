"""Answers `GET /v1/conversions`: conversions in their current state, searched, filtered, sorted."""

import asyncio
from collections.abc import AsyncGenerator, Sequence, Set
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
from redis.asyncio import Redis
from starlette.responses import Response

from linkjolt import datasets
from linkjolt.api.csv_cells import Value
from linkjolt.datasets import Dataset
from linkjolt.money import exchange_rate_fields, to_major
from linkjolt.registry.entries import EntryKind, public_id
from linkjolt.settings import ReportsSettings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import requests
from reports import csv
from reports.answer.rows import NamedEntry, Names
from reports.freshness import data_as_of
from reports.log.conversion_request import ConversionListQuery
from reports.log.conversion_sql import count_statement, page_statement
from reports.log.listing import LIMIT_MAX
from reports.names import read_names, resolve_link_filters


class _Total(msgspec.Struct, frozen=True):
    total: int


class ConversionListRow(msgspec.Struct, frozen=True):
    """A row of `conversions/now.sql`."""

    conversion_id: str
    time_ms: int
    event: str
    order_id: str
    click_id: str
    currency: str
    customer_id: str
    coupon_code: str
    first_reason: str
    commission_reason: str
    last_status: str
    last_attribution: str
    last_campaign: int
    last_affiliate: int
    last_link: int
    last_payout: str
    last_rule: int
    last_unverified: bool
    customer: str
    notes: str
    items: str
    metadata: str
    last_rate: str
    advs: list[str]
    order_value_minor: int
    net_value_minor: int
    commission_minor: int
    clawback_minor: int
    adjustments: int


class ListedAttribution(msgspec.Struct, frozen=True):
    """The method of attribution, and the reason for it."""

    method: str
    reason: str | None


class ListedConversion(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion in its current state; `order_value` is before refunds, `net_value` after them.

    Of a rejected or unverified one net value and commission are 0. `clawback` is the part of a paid
    commission that is owed back. The commission's amounts were converted by `rate`: 1 of
    `rate_from` is that much of `rate_to`. `customer` is a keyed hash of the e-mail address.
    """

    conversion_id: str
    status: str
    payout: str
    event: str
    order_id: str | None
    affiliate_id: str | None
    affiliate_name: str | None
    campaign_id: str | None
    campaign_name: str | None
    tracking_code: str | None
    click_id: str | None
    verified: bool
    order_value: Decimal
    net_value: Decimal
    commission_amount: Decimal
    clawback: Decimal
    currency: str
    attribution: ListedAttribution
    commission_rule: int | None
    commission_reason: str | None
    rate: Decimal | None
    rate_from: str | None
    rate_to: str | None
    customer: str | None
    customer_id: str | None
    coupon_code: str | None
    adv1: str | None
    adv2: str | None
    adv3: str | None
    adv4: str | None
    adv5: str | None
    items: Any
    metadata: Any
    notes: list[str]
    adjustments: int
    timestamp: datetime


_ADV_NAMES = ("adv1", "adv2", "adv3", "adv4", "adv5")
_COLUMNS = (
    *(name for name in ListedConversion.__struct_fields__ if name != "attribution"),
    *ListedAttribution.__struct_fields__,
)


class ConversionListMeta(msgspec.Struct, frozen=True):
    """Freshness of the list."""

    data_as_of: datetime | None


class ConversionListPage(msgspec.Struct, frozen=True):
    """One page of conversions; `total` counts those of all pages."""

    data: list[ListedConversion]
    total: int
    next_cursor: str | None
    meta: ConversionListMeta


class ConversionList:
    """Lists the conversions of one dataset. Its methods raise ClickHouseFailed."""

    def __init__(
        self, dataset: Dataset, redis: Redis, clickhouse: ClickHouse, settings: ReportsSettings
    ) -> None:
        self._dataset = dataset
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings

    async def answer(self, query: ConversionListQuery, download: csv.Download) -> Response:
        """Answers a page as JSON or CSV, or the whole list as CSV if the query has no page."""
        query = await self._with_link_numbers(query)
        if query.every_row:
            return await csv.stream_response(self.csv(query), "conversions", download)
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        if query.format == "csv":
            rows, cursor = await self._read_rows(query)
            lines = [_COLUMNS, *map(_csv_row, await self._list(rows))]
            return csv.page_response(lines, "conversions", cursor)
        (rows, cursor), total = await asyncio.gather(self._read_rows(query), self._count(query))
        page = ConversionListPage(await self._list(rows), total, cursor, ConversionListMeta(as_of))
        return requests.json_response(page)

    async def csv(self, query: ConversionListQuery) -> AsyncGenerator[str]:
        """Yields the header and every conversion as CSV, page by page."""
        query = msgspec.structs.replace(query, limit=LIMIT_MAX)
        yield csv.csv_text([_COLUMNS])
        cursor: str | None = ""
        while cursor is not None:
            rows, cursor = await self._read_rows(query)
            yield csv.csv_text(map(_csv_row, await self._list(rows)))
            if rows:
                query = msgspec.structs.replace(query, after=_place(query, rows[-1]))

    async def _read_rows(
        self, query: ConversionListQuery
    ) -> tuple[list[ConversionListRow], str | None]:
        """Reads the rows of a page, and the cursor of the next one if there is one."""
        statement = page_statement(query, self._dataset, self._settings.report_raw_max_seconds)
        rows = await self._clickhouse.read(statement.sql, ConversionListRow, statement.parameters)
        if len(rows) <= query.limit:
            return rows, None
        page = rows[: query.limit]
        return page, query.cursor_at(*_place(query, page[-1]))

    async def _count(self, query: ConversionListQuery) -> int:
        statement = count_statement(query, self._dataset, self._settings.report_raw_max_seconds)
        [found] = await self._clickhouse.read(statement.sql, _Total, statement.parameters)
        return found.total

    async def _with_link_numbers(self, query: ConversionListQuery) -> ConversionListQuery:
        account = datasets.account_of(self._dataset)
        filters = await resolve_link_filters(self._redis, account, query.filters)
        return msgspec.structs.replace(query, filters=filters)

    async def _list(self, rows: Sequence[ConversionListRow]) -> list[ListedConversion]:
        account = datasets.account_of(self._dataset)
        names = await read_names(self._clickhouse, account, _registry_numbers(rows))
        return [_listed(row, names) for row in rows]


def _place(query: ConversionListQuery, row: ConversionListRow) -> tuple[int, str]:
    values = {
        "time": row.time_ms,
        "order_value": row.order_value_minor,
        "net_value": row.net_value_minor,
        "commission_amount": row.commission_minor,
    }
    return values[query.sort], row.conversion_id


def _csv_row(conversion: ListedConversion) -> list[Value]:
    """Lists the values of a conversion in the order of _COLUMNS."""
    flat = {**msgspec.structs.asdict(conversion), **msgspec.structs.asdict(conversion.attribution)}
    for column in ("items", "metadata"):
        flat[column] = msgspec.json.encode(flat[column]).decode() if flat[column] else None
    return [flat[column] for column in _COLUMNS]


def _registry_numbers(rows: Sequence[ConversionListRow]) -> dict[str, Set[int]]:
    return {
        "campaign": {row.last_campaign for row in rows} - {0},
        "affiliate": {row.last_affiliate for row in rows} - {0},
        "link": {row.last_link for row in rows} - {0},
    }


def _listed(row: ConversionListRow, names: Names) -> ListedConversion:
    campaign = _name_entry(names, "campaign", row.last_campaign)
    affiliate = _name_entry(names, "affiliate", row.last_affiliate)
    link = _name_entry(names, "link", row.last_link)
    rate, rate_from, rate_to = exchange_rate_fields(row.last_rate)
    advs = dict(zip(_ADV_NAMES, (text or None for text in row.advs or [""] * 5), strict=True))
    return ListedConversion(
        conversion_id=row.conversion_id,
        status=row.last_status,
        payout=row.last_payout or "unpaid",
        event=row.event,
        order_id=row.order_id or None,
        affiliate_id=_id("affiliate", row.last_affiliate),
        affiliate_name=affiliate and affiliate.name,
        campaign_id=_id("campaign", row.last_campaign),
        campaign_name=campaign and campaign.name,
        tracking_code=link and link.code,
        click_id=row.click_id or None,
        verified=not row.last_unverified,
        order_value=to_major(row.order_value_minor, row.currency),
        net_value=to_major(row.net_value_minor, row.currency),
        commission_amount=to_major(row.commission_minor, row.currency),
        clawback=to_major(row.clawback_minor, row.currency),
        currency=row.currency,
        attribution=ListedAttribution(row.last_attribution, row.first_reason or None),
        commission_rule=row.last_rule or None,
        commission_reason=row.commission_reason or None,
        rate=rate,
        rate_from=rate_from,
        rate_to=rate_to,
        customer=row.customer or None,
        customer_id=row.customer_id or None,
        coupon_code=row.coupon_code or None,
        items=msgspec.json.decode(row.items) if row.items else None,
        metadata=msgspec.json.decode(row.metadata) if row.metadata else None,
        notes=row.notes.split(",") if row.notes else [],
        adjustments=row.adjustments,
        timestamp=datetime.fromtimestamp(row.time_ms / 1000, UTC),
        **advs,
    )


def _name_entry(names: Names, kind: EntryKind, number: int) -> NamedEntry | None:
    return names.get((kind, number))


def _id(kind: EntryKind, number: int) -> str | None:
    return public_id(kind, number) if number else None
