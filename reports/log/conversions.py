"""`GET /v1/conversions`: a list of conversions as they stand, the newest first."""

from collections.abc import AsyncGenerator, Sequence, Set
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import msgspec
from redis.asyncio import Redis
from starlette.responses import Response

from linkjolt import redis_keys
from linkjolt.money import to_major
from linkjolt.registry.entries import Kind, public_id
from linkjolt.settings import Reports as Settings
from linkjolt.storage.clickhouse import ClickHouse
from linkjolt.web import requests
from reports import csv
from reports.answer.rows import Named, Names
from reports.freshness import data_as_of
from reports.log.conversion_request import FILTERS, Wanted
from reports.log.listing import LIMIT_MAX, cursor_after
from reports.names import read_names
from reports.period import milliseconds

_SQL = (Path(__file__).parents[1] / "sql" / "list_conversions.sql").read_text(encoding="utf-8")


class Found(msgspec.Struct, frozen=True):
    """A row of the list's SQL."""

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
    order_value_minor: int
    commission_minor: int
    adjustments: int


class Attribution(msgspec.Struct, frozen=True):
    method: str
    reason: str | None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A conversion as it stands; amounts as reports count them: net of refunds, 0 if rejected."""

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
    order_value: Decimal
    commission_amount: Decimal
    currency: str
    attribution: Attribution
    commission_rule: int | None
    commission_reason: str | None
    customer_id: str | None
    coupon_code: str | None
    adjustments: int
    timestamp: datetime


_COLUMNS = (
    *(name for name in Listed.__struct_fields__ if name != "attribution"),
    *Attribution.__struct_fields__,
)


class Meta(msgspec.Struct, frozen=True):
    data_as_of: datetime | None


class Page(msgspec.Struct, frozen=True):
    data: list[Listed]
    next_cursor: str | None
    meta: Meta


class ConversionList:
    """The list of the conversions kept under `books`. What it calls raises ClickHouseFailed."""

    def __init__(
        self, books: int, redis: Redis, clickhouse: ClickHouse, settings: Settings
    ) -> None:
        self._books = books
        self._redis = redis
        self._clickhouse = clickhouse
        self._settings = settings

    async def answer(self, wanted: Wanted) -> Response:
        """The page as JSON or CSV; the whole list as CSV, where no page of it is asked for."""
        if wanted.whole:
            return await csv.stream(self.csv(wanted), "conversions")
        as_of = await data_as_of(self._redis, self._clickhouse, self._settings.shards)
        rows, more = await self._find(wanted)
        listed = await self._named(rows)
        cursor = cursor_after(rows[-1].time_ms, rows[-1].conversion_id) if more else None
        if wanted.format == "json":
            return requests.json_response(Page(listed, cursor, Meta(as_of)))
        return csv.page([_COLUMNS, *map(_csv_row, listed)], "conversions", cursor)

    async def csv(self, wanted: Wanted) -> AsyncGenerator[str]:
        """The header and every conversion, page by page."""
        wanted = msgspec.structs.replace(wanted, limit=LIMIT_MAX)
        yield csv.csv_text([_COLUMNS])
        more = True
        while more:
            rows, more = await self._find(wanted)
            yield csv.csv_text(map(_csv_row, await self._named(rows)))
            if rows:
                last = rows[-1].time_ms, rows[-1].conversion_id
                wanted = msgspec.structs.replace(wanted, before=last)

    async def _find(self, wanted: Wanted) -> tuple[list[Found], bool]:
        """The rows of a page, and whether there are more."""
        parameters = {
            "account": self._books,
            "start_ms": milliseconds(wanted.start),
            "end_ms": milliseconds(wanted.end),
            "before_ms": wanted.before[0],
            "before_id": wanted.before[1],
            "limit": wanted.limit + 1,
            "raw_max_seconds": self._settings.report_raw_max_seconds,
            **{name: getattr(wanted, name) for name in FILTERS},
        }
        rows = await self._clickhouse.read(_SQL, Found, parameters)
        return rows[: wanted.limit], len(rows) > wanted.limit

    async def _named(self, rows: Sequence[Found]) -> list[Listed]:
        account = redis_keys.owner(self._books)
        found = await read_names(self._clickhouse, account, _numbers(rows))
        return [_listed(row, found) for row in rows]


def _csv_row(one: Listed) -> list[csv.Value]:
    """The values of a conversion under _COLUMNS."""
    flat = {**msgspec.structs.asdict(one), **msgspec.structs.asdict(one.attribution)}
    return [flat[column] for column in _COLUMNS]


def _numbers(rows: Sequence[Found]) -> dict[str, Set[int]]:
    return {
        "campaign": {row.last_campaign for row in rows} - {0},
        "affiliate": {row.last_affiliate for row in rows} - {0},
        "link": {row.last_link for row in rows} - {0},
    }


def _listed(row: Found, found: Names) -> Listed:
    campaign = _named(found, "campaign", row.last_campaign)
    affiliate = _named(found, "affiliate", row.last_affiliate)
    link = _named(found, "link", row.last_link)
    return Listed(
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
        order_value=to_major(row.order_value_minor, row.currency),
        commission_amount=to_major(row.commission_minor, row.currency),
        currency=row.currency,
        attribution=Attribution(row.last_attribution, row.first_reason or None),
        commission_rule=row.last_rule or None,
        commission_reason=row.commission_reason or None,
        customer_id=row.customer_id or None,
        coupon_code=row.coupon_code or None,
        adjustments=row.adjustments,
        timestamp=datetime.fromtimestamp(row.time_ms / 1000, UTC),
    )


def _named(found: Names, kind: Kind, number: int) -> Named | None:
    return found.get((kind, number))


def _id(kind: Kind, number: int) -> str | None:
    return public_id(kind, number) if number else None
