"""Turns rows of the raw tables into records of the event log, as JSON or CSV."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from linkjolt.api.csv_cells import Value
from linkjolt.events import RECORDED_PARAMETERS, AttributionMethod
from linkjolt.money import exchange_rate_fields, to_major
from linkjolt.registry.entries import EntryKind, public_id
from linkjolt.verdict_reasons import SENTENCES, VerdictReason
from reports.answer.rows import Names


class LoggedClickRow(msgspec.Struct, frozen=True):
    """A row of `log_clicks.sql`."""

    id: str
    time_ms: int
    campaign: int
    affiliate: int
    link: int
    verdict: str
    reason: str
    ruleset: int
    ip: str
    country: str
    region: str
    language: str
    device: str
    os: str
    browser: str
    user_agent: str
    referrer: str
    recorded: list[tuple[str, str]]
    params: str


class LoggedConversionRow(msgspec.Struct, frozen=True):
    """A row of `log_conversions.sql`."""

    id: str
    time_ms: int
    conversion_id: str
    kind: str
    adjustment_id: str
    campaign: int
    affiliate: int
    link: int
    event: str
    order_id: str
    status: str
    currency: str
    order_value_minor: int
    commission_minor: int
    attribution: AttributionMethod
    reason: str
    commission_reason: str
    click_id: str
    given_click_id: str
    click_time_ms: int
    verdict: str
    customer_id: str
    coupon_code: str
    verified: bool
    clawback_minor: int
    rate: str
    notes: str
    customer: str
    advs: list[str]
    items: str
    metadata: str
    author: str
    note: str
    recorded: list[tuple[str, str]]


LoggedRow = LoggedClickRow | LoggedConversionRow


class AttributionTarget(msgspec.Struct, frozen=True):
    """The link, campaign and affiliate an event counts for; null where there is none."""

    tracking_code: str | None
    campaign_id: str | None
    campaign_name: str | None
    affiliate_id: str | None
    affiliate_name: str | None


class LoggedVerdict(msgspec.Struct, frozen=True):
    """The verdict on a click, its reason, and the ruleset that gave it."""

    verdict: str
    reason: str | None
    sentence: str
    ruleset: int


class LoggedClick(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="click"):
    """A recorded request, with the parameters of its URL; `ip` is truncated."""

    time: datetime
    click_id: str
    of: AttributionTarget
    judged: LoggedVerdict
    ip: str
    country: str
    region: str
    language: str
    device: str
    os: str
    browser: str
    user_agent: str
    referrer: str
    parameters: dict[str, str]


class LoggedConversion(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="conversion"
):
    """A conversion (`kind` is `created`) or an adjustment of one; amounts are signed changes.

    An unverified conversion changes nothing until it is verified.
    """

    time: datetime
    conversion_id: str
    kind: str
    adjustment_id: str | None
    of: AttributionTarget
    event: str
    order_id: str | None
    status: str
    verified: bool
    order_value: Decimal
    commission_amount: Decimal
    clawback: Decimal
    currency: str
    attribution: AttributionMethod
    attribution_reason: str | None
    commission_reason: str | None
    rate: Decimal | None
    rate_from: str | None
    rate_to: str | None
    notes: list[str]
    click_id: str | None
    given_click_id: str | None
    click_time: datetime | None
    click_verdict: str | None
    customer: str | None
    customer_id: str | None
    coupon_code: str | None
    adv: dict[str, str]
    items: Any
    metadata: Any
    author: str | None
    note: str | None
    parameters: dict[str, str]


LogRecord = LoggedClick | LoggedConversion


_ID_COLUMNS = ("type", "time", "click_id", "conversion_id", "kind", "adjustment_id")
_TARGET_COLUMNS = AttributionTarget.__struct_fields__
_VERDICT_COLUMNS = ("verdict", "reason")
_FIELD_COLUMNS = (
    *("event", "order_id", "status", "verified", "order_value", "commission_amount", "clawback"),
    *("currency", "attribution", "attribution_reason", "commission_reason"),
    *("rate", "rate_from", "rate_to", "notes"),
    *("customer", "customer_id", "given_click_id", "author", "note"),
    *("ip", "country", "region", "language", "device", "os", "browser", "user_agent", "referrer"),
)
_ADV_COLUMNS = ("adv1", "adv2", "adv3", "adv4", "adv5")
COLUMNS = (
    *(*_ID_COLUMNS, *_TARGET_COLUMNS, *_VERDICT_COLUMNS, *_FIELD_COLUMNS, *_ADV_COLUMNS),
    *RECORDED_PARAMETERS,
)


def log_record(row: LoggedRow, names: Names) -> LogRecord:
    """Builds the record of a row, with the names known so far."""
    return (
        _click_record(row, names)
        if isinstance(row, LoggedClickRow)
        else _conversion_record(row, names)
    )


def registry_numbers(rows: Sequence[LoggedRow]) -> dict[str, set[int]]:
    """Collects the registry numbers whose names are needed, by kind."""
    return {
        "campaign": {row.campaign for row in rows} - {0},
        "affiliate": {row.affiliate for row in rows} - {0},
        "link": {row.link for row in rows} - {0},
    }


def _click_record(row: LoggedClickRow, names: Names) -> LoggedClick:
    other_parameters: dict[str, str] = msgspec.json.decode(row.params) if row.params else {}
    has_sentence = row.reason in VerdictReason.__members__.values()
    return LoggedClick(
        time=_at(row.time_ms),
        click_id=row.id,
        of=_target(row, names),
        judged=LoggedVerdict(
            row.verdict,
            row.reason or None,
            SENTENCES[VerdictReason(row.reason)] if has_sentence else "",
            row.ruleset,
        ),
        ip=row.ip,
        country=row.country,
        region=row.region,
        language=row.language,
        device=row.device,
        os=row.os,
        browser=row.browser,
        user_agent=row.user_agent,
        referrer=row.referrer,
        parameters=dict(row.recorded) | other_parameters,
    )


def _conversion_record(row: LoggedConversionRow, names: Names) -> LoggedConversion:
    rate, rate_from, rate_to = exchange_rate_fields(row.rate)
    return LoggedConversion(
        time=_at(row.time_ms),
        conversion_id=row.conversion_id,
        kind=row.kind,
        adjustment_id=row.adjustment_id or None,
        of=_target(row, names),
        event=row.event,
        order_id=row.order_id or None,
        status=row.status,
        verified=row.verified,
        order_value=to_major(row.order_value_minor, row.currency),
        commission_amount=to_major(row.commission_minor, row.currency),
        clawback=to_major(row.clawback_minor, row.currency),
        currency=row.currency,
        attribution=row.attribution,
        attribution_reason=row.reason or None,
        commission_reason=row.commission_reason or None,
        rate=rate,
        rate_from=rate_from,
        rate_to=rate_to,
        notes=row.notes.split(",") if row.notes else [],
        click_id=row.click_id or None,
        given_click_id=row.given_click_id or None,
        click_time=_at(row.click_time_ms) if row.click_time_ms else None,
        click_verdict=row.verdict or None,
        customer=row.customer or None,
        customer_id=row.customer_id or None,
        coupon_code=row.coupon_code or None,
        adv={n: text for n, text in zip(_ADV_COLUMNS, row.advs, strict=True) if text},
        items=_json(row.items),
        metadata=_json(row.metadata),
        author=row.author or None,
        note=row.note or None,
        parameters=dict(row.recorded),
    )


def _target(row: LoggedRow, names: Names) -> AttributionTarget:
    link = names.get(("link", row.link))
    campaign = names.get(("campaign", row.campaign))
    affiliate = names.get(("affiliate", row.affiliate))
    return AttributionTarget(
        tracking_code=link.code if link else None,
        campaign_id=_id("campaign", row.campaign),
        campaign_name=campaign.name if campaign else None,
        affiliate_id=_id("affiliate", row.affiliate),
        affiliate_name=affiliate.name if affiliate else None,
    )


def _id(kind: EntryKind, number: int) -> str | None:
    return public_id(kind, number) if number else None


def _json(text: str) -> Any:
    return msgspec.json.decode(text) if text else None


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def csv_row(record: LogRecord) -> list[Value]:
    """Lists the values of a record in the order of COLUMNS."""
    verdict, reason = _verdict(record)
    recorded: list[Value] = [record.parameters.get(name) for name in RECORDED_PARAMETERS]
    kind = "click" if isinstance(record, LoggedClick) else "conversion"
    return [
        kind,
        *(getattr(record, name, None) for name in _ID_COLUMNS[1:]),
        *(getattr(record.of, name) for name in _TARGET_COLUMNS),
        *(verdict, reason),
        *(getattr(record, name, None) for name in _FIELD_COLUMNS),
        *(getattr(record, "adv", {}).get(name) for name in _ADV_COLUMNS),
        *recorded,
    ]


def _verdict(record: LogRecord) -> tuple[str | None, str | None]:
    match record:
        case LoggedClick():
            return record.judged.verdict, record.judged.reason
        case LoggedConversion():
            return record.click_verdict, None
