"""A batch: what one INSERT stores. Cutting entries into batches, and lines into rows; pure."""

from collections.abc import Container, Mapping, Sequence
from contextlib import suppress
from typing import TypeVar, cast

import msgspec

from aggregator.enrich import click_time_ms, enrich_click, truncate_address, utc_day
from aggregator.rollups import month_of
from aggregator.rows import ClickRow
from aggregator.streams import Entry
from linkjolt.errors import Reason, Rejected
from linkjolt.events import Click, Conversion

_MESSAGE_MAX_CHARACTERS = 500
_UNREADABLE_MAX_CHARACTERS = 2_000
T = TypeVar("T", Click, Conversion)


class Reject(msgspec.Struct, frozen=True):
    """An accepted line that is not stored as an event, by where it stands; the table's columns."""

    s: int
    pos: int
    line: int
    account: int
    reason: Reason
    message: str
    body: str


class Line(msgspec.Struct, frozen=True):
    """One event line and where it stands."""

    pos: int
    number: int
    text: bytes
    marked: bool


def cut(entries: Sequence[Entry], rows_max: int) -> Sequence[Entry]:
    """The entries of the next batch: of one ingest month, about `rows_max` lines, at least one."""
    if not entries:
        return entries
    month, rows = month_of(entries[0].pos), 0
    for index, entry in enumerate(entries):
        if month_of(entry.pos) != month or rows >= rows_max:
            return entries[:index]
        rows += entry.lines
    return entries


def lines_of(entries: Sequence[Entry]) -> list[Line]:
    return [
        Line(entry.pos, number, text, entry.marked)
        for entry in entries
        for number, text in enumerate(entry.frame.split(b"\n"))
    ]


def read_lines(
    lines: Sequence[Line], decoder: msgspec.json.Decoder[T], s: int
) -> tuple[list[tuple[Line, T]], list[Reject]]:
    """The events, and a reject for each line that no decoder accepts."""
    events: list[tuple[Line, T]] = []
    rejects: list[Reject] = []
    for line in lines:
        try:
            events.append((line, decoder.decode(line.text)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejects.append(reject(line, s, 0, Reason.undecodable, str(error)))
    return events, rejects


def reject(line: Line, s: int, account: int, reason: Reason, message: str) -> Reject:
    """The reject of a line; its body holds no whole address (see `body_of`)."""
    cut_message = message[:_MESSAGE_MAX_CHARACTERS]
    return Reject(s, line.pos, line.number, account, reason, cut_message, body_of(line.text))


def body_of(text: bytes) -> str:
    """The line with every `ip` of its JSON truncated; the start of a line that is not JSON."""
    try:
        body = msgspec.json.decode(text)
        # Untouched where there is nothing to truncate: numbers keep their digits.
        return (msgspec.json.encode(_truncated(body)) if b'"ip"' in text else text).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text.decode("utf-8", "replace")[:_UNREADABLE_MAX_CHARACTERS]


def _truncated(value: object) -> object:
    """JSON with each `ip` as the warehouse stores it; '' for what is no address."""
    if isinstance(value, dict):
        fields = cast(dict[str, object], value)
        return {name: _address(v) if name == "ip" else _truncated(v) for name, v in fields.items()}
    if isinstance(value, list):
        return [_truncated(part) for part in cast(list[object], value)]
    return value


def _address(value: object) -> str:
    return truncate_address(value) if isinstance(value, str) else ""


def days_of(clicks: Sequence[tuple[Line, Click]]) -> set[str]:
    """The UTC days whose visitor salts these clicks need."""
    days: set[str] = set()
    for _, click in clicks:
        with suppress(Rejected):
            days.add(utc_day(click_time_ms(click.click_id)))
    return days


def click_rows(
    clicks: Sequence[tuple[Line, Click]], s: int, salts: Mapping[str, bytes], known: Container[str]
) -> tuple[list[ClickRow], list[Reject]]:
    """The rows of clicks not `known` to be stored; rejects for those and for bad click ids.

    A click sent again in the same batch is a reject, too.
    """
    rows: list[ClickRow] = []
    rejects: list[Reject] = []
    new: set[str] = set()
    for line, click in clicks:
        try:
            salt = salts[utc_day(click_time_ms(click.click_id))]
        except Rejected as error:
            rejects.append(reject(line, s, click.account, error.reason, error.message))
            continue
        if click.click_id in known or click.click_id in new:
            message = "the click is stored already"
            rejects.append(reject(line, s, click.account, Reason.repeated_event, message))
        else:
            new.add(click.click_id)
            rows.append(enrich_click(click, s=s, pos=line.pos, salt=salt))
    return rows, rejects
