"""What the live feed sends: events as they are stored, counters, and how it is written (SSE)."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from linkjolt.events import Attributed
from linkjolt.money import to_major
from linkjolt.position import SEQUENCE_BITS
from linkjolt.registry.entries import Kind, public_id
from linkjolt.web import requests
from reports.answer.rows import Names

Positions = Mapping[int, int]
_STREAMS_MAX = 4_096


class LiveClickFound(msgspec.Struct, frozen=True):
    """A row of `live_clicks.sql`."""

    account: int
    pos: int
    id: str
    time_ms: int
    campaign: int
    affiliate: int
    link: int
    verdict: str
    reason: str
    country: str
    device: str
    os: str
    browser: str
    referrer_host: str


class LiveFactFound(msgspec.Struct, frozen=True):
    """A row of `live_conversions.sql`."""

    account: int
    pos: int
    id: str
    kind: str
    time_ms: int
    campaign: int
    affiliate: int
    link: int
    event: str
    order_id: str
    status: str
    attribution: Attributed
    currency: str
    order_value_minor: int
    commission_minor: int
    country: str


LiveFound = LiveClickFound | LiveFactFound


class LiveClick(msgspec.Struct, frozen=True, kw_only=True):
    """`event: click`."""

    time: datetime
    click_id: str
    link: str | None
    campaign: str | None
    campaign_name: str | None
    affiliate: str | None
    affiliate_name: str | None
    verdict: str
    reason: str | None
    country: str
    device: str
    os: str
    browser: str
    referrer_host: str


class LiveFact(msgspec.Struct, frozen=True, kw_only=True):
    """`event: conversion`; `kind` is `created` or that of an adjustment, amounts its change."""

    time: datetime
    conversion_id: str
    kind: str
    link: str | None
    campaign: str | None
    campaign_name: str | None
    affiliate: str | None
    affiliate_name: str | None
    event: str
    order_id: str | None
    status: str
    attribution: Attributed
    order_value: Decimal
    commission_amount: Decimal
    currency: str
    country: str


class Second(msgspec.Struct, frozen=True, array_like=True):
    """Events by the second (UTC) of their time: an array of four numbers."""

    second: int
    clicks: int
    others: int
    conversions: int

    def __add__(self, other: "Second") -> "Second":
        return Second(
            self.second,
            self.clicks + other.clicks,
            self.others + other.others,
            self.conversions + other.conversions,
        )


def merge(into: dict[int, Second], seconds: Iterable[Second]) -> None:
    """Adds what is told of each second to what was told of it before."""
    for one in seconds:
        had = into.get(one.second)
        into[one.second] = had + one if had else one


class Tick(msgspec.Struct, frozen=True):
    """`event: tick` and the first, `hello`: seconds to be added up.

    `stored` events came since the last tick, `shown` of them as events of their own.
    """

    data_as_of: datetime | None
    now: datetime
    seconds: list[Second]
    stored: int
    shown: int


def live_event(row: LiveFound, names: Names) -> bytes:
    """The text of one stored event."""
    if isinstance(row, LiveClickFound):
        return sse("click", _click(row, names))
    return sse("conversion", _fact(row, names))


def sse(event: str, data: object, identity: str = "") -> bytes:
    """One event of a stream (HTML standard, server-sent events); JSON has no line breaks."""
    known = f"id: {identity}\n" if identity else ""
    return f"event: {event}\n{known}data: ".encode() + requests.encode(data) + b"\n\n"


def token(positions: Positions) -> str:
    """The id under which the feed is resumed: how far each stream had been sent."""
    return ",".join(f"{s}-{positions[s]:x}" for s in sorted(positions))


def read_token(text: str) -> dict[int, int] | None:
    """The positions in an id of ours; None for any other text."""
    found: dict[int, int] = {}
    parts = text.split(",")
    try:
        for part in parts[:_STREAMS_MAX]:
            stream, _, pos = part.partition("-")
            found[int(stream)] = int(pos, 16)
    except ValueError:
        return None
    return found if all(0 <= pos < 1 << 64 for pos in found.values()) else None


def not_before(positions: Positions, time_ms: int) -> dict[int, int]:
    """The positions, none of them older than this instant."""
    least = time_ms << SEQUENCE_BITS
    return {s: max(pos, least) for s, pos in positions.items()}


def numbers_in(rows: Iterable[LiveFound]) -> dict[str, set[int]]:
    """The registry numbers to be named, by kind."""
    rows = list(rows)
    return {
        "campaign": {row.campaign for row in rows} - {0},
        "affiliate": {row.affiliate for row in rows} - {0},
        "link": {row.link for row in rows} - {0},
    }


def _click(row: LiveClickFound, names: Names) -> LiveClick:
    return LiveClick(
        time=_at(row.time_ms),
        click_id=row.id,
        link=_code(names, row.link),
        campaign=_id("campaign", row.campaign),
        campaign_name=_name(names, "campaign", row.campaign),
        affiliate=_id("affiliate", row.affiliate),
        affiliate_name=_name(names, "affiliate", row.affiliate),
        verdict=row.verdict,
        reason=row.reason or None,
        country=row.country,
        device=row.device,
        os=row.os,
        browser=row.browser,
        referrer_host=row.referrer_host,
    )


def _fact(row: LiveFactFound, names: Names) -> LiveFact:
    return LiveFact(
        time=_at(row.time_ms),
        conversion_id=row.id,
        kind=row.kind,
        link=_code(names, row.link),
        campaign=_id("campaign", row.campaign),
        campaign_name=_name(names, "campaign", row.campaign),
        affiliate=_id("affiliate", row.affiliate),
        affiliate_name=_name(names, "affiliate", row.affiliate),
        event=row.event,
        order_id=row.order_id or None,
        status=row.status,
        attribution=row.attribution,
        order_value=to_major(row.order_value_minor, row.currency),
        commission_amount=to_major(row.commission_minor, row.currency),
        currency=row.currency,
        country=row.country,
    )


def _code(names: Names, number: int) -> str | None:
    found = names.get(("link", number))
    return found.code if found else _id("link", number)


def _name(names: Names, kind: Kind, number: int) -> str | None:
    found = names.get((kind, number))
    return found.name if found else None


def _id(kind: Kind, number: int) -> str | None:
    return public_id(kind, number) if number else None


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
