"""From the rows of the raw tables to the records of the event log."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from linkjolt.events import Attributed
from linkjolt.money import to_major
from linkjolt.registry.entries import Kind, public_id
from linkjolt.verdict_reasons import SENTENCES, VerdictReason
from reports.answer.rows import Names


class ClickFound(msgspec.Struct, frozen=True):
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


class FactFound(msgspec.Struct, frozen=True):
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
    attribution: Attributed
    reason: str
    commission_reason: str
    click_id: str
    given_click_id: str
    click_time_ms: int
    verdict: str
    customer_id: str
    coupon_code: str
    items: str
    metadata: str
    author: str
    note: str
    recorded: list[tuple[str, str]]


Found = ClickFound | FactFound


class Whose(msgspec.Struct, frozen=True):
    """Under whom an event counts; null where nobody is known."""

    tracking_code: str | None
    campaign_id: str | None
    campaign_name: str | None
    affiliate_id: str | None
    affiliate_name: str | None


class Judged(msgspec.Struct, frozen=True):
    """The verdict, by which ruleset, and why."""

    verdict: str
    reason: str | None
    sentence: str
    ruleset: int


class LoggedClick(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="click"):
    """A recorded request. `parameters` are those of its URL; `ip` is truncated."""

    time: datetime
    click_id: str
    of: Whose
    judged: Judged
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


class LoggedFact(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="conversion"):
    """A conversion (`kind` created) or an adjustment of it; amounts are signed changes."""

    time: datetime
    conversion_id: str
    kind: str
    adjustment_id: str | None
    of: Whose
    event: str
    order_id: str | None
    status: str
    order_value: Decimal
    commission_amount: Decimal
    currency: str
    attribution: Attributed
    attribution_reason: str | None
    commission_reason: str | None
    click_id: str | None
    given_click_id: str | None
    click_time: datetime | None
    click_verdict: str | None
    customer_id: str | None
    coupon_code: str | None
    items: Any
    metadata: Any
    author: str | None
    note: str | None
    parameters: dict[str, str]


Logged = LoggedClick | LoggedFact


def logged(found: Found, names: Names) -> Logged:
    """The record of a row, with the names that are known."""
    return _click(found, names) if isinstance(found, ClickFound) else _fact(found, names)


def numbers_in(rows: Sequence[Found]) -> dict[str, set[int]]:
    """The registry numbers to be named, by kind."""
    return {
        "campaign": {row.campaign for row in rows} - {0},
        "affiliate": {row.affiliate for row in rows} - {0},
        "link": {row.link for row in rows} - {0},
    }


def _click(row: ClickFound, names: Names) -> LoggedClick:
    further: dict[str, str] = msgspec.json.decode(row.params) if row.params else {}
    known = row.reason in VerdictReason.__members__.values()
    return LoggedClick(
        time=_at(row.time_ms),
        click_id=row.id,
        of=_whose(row, names),
        judged=Judged(
            row.verdict,
            row.reason or None,
            SENTENCES[VerdictReason(row.reason)] if known else "",
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
        parameters=dict(row.recorded) | further,
    )


def _fact(row: FactFound, names: Names) -> LoggedFact:
    return LoggedFact(
        time=_at(row.time_ms),
        conversion_id=row.conversion_id,
        kind=row.kind,
        adjustment_id=row.adjustment_id or None,
        of=_whose(row, names),
        event=row.event,
        order_id=row.order_id or None,
        status=row.status,
        order_value=to_major(row.order_value_minor, row.currency),
        commission_amount=to_major(row.commission_minor, row.currency),
        currency=row.currency,
        attribution=row.attribution,
        attribution_reason=row.reason or None,
        commission_reason=row.commission_reason or None,
        click_id=row.click_id or None,
        given_click_id=row.given_click_id or None,
        click_time=_at(row.click_time_ms) if row.click_time_ms else None,
        click_verdict=row.verdict or None,
        customer_id=row.customer_id or None,
        coupon_code=row.coupon_code or None,
        items=_json(row.items),
        metadata=_json(row.metadata),
        author=row.author or None,
        note=row.note or None,
        parameters=dict(row.recorded),
    )


def _whose(row: Found, names: Names) -> Whose:
    link = names.get(("link", row.link))
    campaign = names.get(("campaign", row.campaign))
    affiliate = names.get(("affiliate", row.affiliate))
    return Whose(
        tracking_code=link.code if link else None,
        campaign_id=_id("campaign", row.campaign),
        campaign_name=campaign.name if campaign else None,
        affiliate_id=_id("affiliate", row.affiliate),
        affiliate_name=affiliate.name if affiliate else None,
    )


def _id(kind: Kind, number: int) -> str | None:
    return public_id(kind, number) if number else None


def _json(text: str) -> Any:
    return msgspec.json.decode(text) if text else None


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
