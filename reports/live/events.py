"""Formats the live feed as server-sent events: stored events, counters, positions to resume at."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from linkjolt.datasets import Dataset
from linkjolt.events import AttributionMethod
from linkjolt.money import to_major
from linkjolt.position import SEQUENCE_BITS
from linkjolt.registry.entries import EntryKind, public_id
from linkjolt.registry.whole_numbers import parse_whole_number
from linkjolt.web import requests
from reports.answer.rows import Names

Positions = Mapping[int, int]
_STREAMS_MAX = 4_096
_is_position = re.compile("[0-9a-f]{1,16}").fullmatch


class LiveClickRow(msgspec.Struct, frozen=True):
    """A row of `live_clicks.sql`."""

    account: Dataset
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


class LiveConversionRow(msgspec.Struct, frozen=True):
    """A row of `live_conversions.sql`."""

    account: Dataset
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
    attribution: AttributionMethod
    verified: bool
    currency: str
    order_value_minor: int
    commission_minor: int
    country: str


LiveRow = LiveClickRow | LiveConversionRow


class LiveClick(msgspec.Struct, frozen=True, kw_only=True):
    """The data of `event: click`."""

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


class LiveConversion(msgspec.Struct, frozen=True, kw_only=True):
    """The data of `event: conversion`.

    `kind` is `created` or that of an adjustment, whose amounts are changes.
    """

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
    attribution: AttributionMethod
    verified: bool
    order_value: Decimal
    commission_amount: Decimal
    currency: str
    country: str


class SecondCounts(msgspec.Struct, frozen=True, array_like=True):
    """Numbers of events whose time is in one second (UTC); encoded as an array."""

    second: int
    clicks: int
    others: int
    conversions: int

    def __add__(self, other: "SecondCounts") -> "SecondCounts":
        return SecondCounts(
            self.second,
            self.clicks + other.clicks,
            self.others + other.others,
            self.conversions + other.conversions,
        )


def add_seconds(into: dict[int, SecondCounts], seconds: Iterable[SecondCounts]) -> None:
    """Adds the counts of each second to those in `into`."""
    for counts in seconds:
        before = into.get(counts.second)
        into[counts.second] = before + counts if before else counts


class Tick(msgspec.Struct, frozen=True):
    """The data of `event: tick`, and of `hello` at the start: seconds to be added up.

    `stored` events were stored since the last tick, of which `shown` were sent one by one.
    """

    data_as_of: datetime | None
    now: datetime
    seconds: list[SecondCounts]
    stored: int
    shown: int


def live_event(row: LiveRow, names: Names) -> bytes:
    """Formats one stored event."""
    if isinstance(row, LiveClickRow):
        return sse("click", _click(row, names))
    return sse("conversion", _conversion(row, names))


def sse(event: str, data: object, event_id: str = "") -> bytes:
    """Formats one server-sent event (HTML standard); JSON has no line breaks."""
    id_line = f"id: {event_id}\n" if event_id else ""
    return f"event: {event}\n{id_line}data: ".encode() + requests.encode(data) + b"\n\n"


def resume_token(positions: Positions) -> str:
    """Encodes the event id at which the feed resumes: the position sent of each stream."""
    return ",".join(f"{number}-{positions[number]:x}" for number in sorted(positions))


def parse_resume_token(text: str) -> dict[int, int] | None:
    """Parses the positions in such an id; None for any other text."""
    positions: dict[int, int] = {}
    for part in text.split(",")[:_STREAMS_MAX]:
        digits, _, position = part.partition("-")
        number = parse_whole_number(digits)
        if number is None or not _is_position(position):
            return None
        positions[number] = int(position, 16)
    return positions


def clamp_positions(positions: Positions, time_ms: int) -> dict[int, int]:
    """Raises positions to this instant where they are older."""
    least = time_ms << SEQUENCE_BITS
    return {number: max(position, least) for number, position in positions.items()}


def registry_numbers(rows: Iterable[LiveRow]) -> dict[str, set[int]]:
    """Collects the registry numbers whose names are needed, by kind."""
    rows = list(rows)
    return {
        "campaign": {row.campaign for row in rows} - {0},
        "affiliate": {row.affiliate for row in rows} - {0},
        "link": {row.link for row in rows} - {0},
    }


def _click(row: LiveClickRow, names: Names) -> LiveClick:
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


def _conversion(row: LiveConversionRow, names: Names) -> LiveConversion:
    return LiveConversion(
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
        verified=row.verified,
        order_value=to_major(row.order_value_minor, row.currency),
        commission_amount=to_major(row.commission_minor, row.currency),
        currency=row.currency,
        country=row.country,
    )


def _code(names: Names, number: int) -> str | None:
    entry = names.get(("link", number))
    return entry.code if entry else _id("link", number)


def _name(names: Names, kind: EntryKind, number: int) -> str | None:
    entry = names.get((kind, number))
    return entry.name if entry else None


def _id(kind: EntryKind, number: int) -> str | None:
    return public_id(kind, number) if number else None


def _at(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)
