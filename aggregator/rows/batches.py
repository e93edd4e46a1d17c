"""A batch: what one INSERT stores. Cutting entries into batches, and lines into rows; pure.

Lines become rows one after the other, and each row text at once: a batch of objects takes twice
the time, for none of them is in the processor's cache when it is used.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar, cast

import msgspec

from aggregator.delivery.streams import Entry
from aggregator.rows.enrich import (
    TIME_LENGTH,
    Moment,
    click_time_ms,
    moment,
    place_of,
    truncate_address,
    utc_day,
    write_click,
)
from aggregator.warehouse.months import month_of
from linkjolt.click_ids import LENGTH
from linkjolt.events import Click
from linkjolt.reasons import Reason, Rejected

# Little enough to stay in the processor's cache until it is written.
_PIECE_BYTES = 65_536
_MESSAGE_MAX_CHARACTERS = 500
_UNREADABLE_MAX_CHARACTERS = 2_000
T = TypeVar("T")


class Reject(msgspec.Struct, frozen=True):
    """An accepted line that is not stored as an event, by where it stands; the table's columns."""

    s: int
    pos: int
    line: int
    account: int
    reason: Reason
    message: str
    body: str


class NoSalt(Exception):
    """The visitor salt of this day, `YYYY-MM-DD`, is asked for."""

    def __init__(self, day: str) -> None:
        super().__init__(day)
        self.day = day


class Line(msgspec.Struct, frozen=True, gc=False):
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


def lines_of(entries: Iterable[Entry]) -> Iterator[Line]:
    for entry in entries:
        for number, text in enumerate(entry.frame.split(b"\n")):
            yield Line(entry.pos, number, text, entry.marked)


def read_lines(
    lines: Iterable[Line], decode: Callable[[bytes], T], s: int, rejects: list[Reject]
) -> Iterator[tuple[Line, T]]:
    """The events; a reject is added for each line that no decoder accepts."""
    for line in lines:
        try:
            event = decode(line.text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejects.append(reject(line, s, 0, Reason.undecodable, str(error)))
            continue
        yield line, event


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


def click_rows(
    clicks: Iterable[tuple[Line, Click]],
    s: int,
    salts: Mapping[str, bytes],
    known: Container[str],
    rejects: list[Reject],
) -> list[bytes]:
    """The rows of clicks not `known` to be stored, as JSON lines, in pieces of whole lines.

    Adds rejects for known ones and for bad ids; a click sent again in the same batch is a reject,
    too. Raises NoSalt.
    """
    pieces: list[bytes] = []
    text = bytearray()
    new: set[str] = set()
    moments: dict[str, Moment] = {}
    pos, place = -1, b""
    for line, click in clicks:
        click_id = click.click_id
        # Clicks of one millisecond share these characters.
        at = moments.get(click_id[:TIME_LENGTH]) if len(click_id) == LENGTH else None
        if at is None:
            try:
                at = moments[click_id[:TIME_LENGTH]] = _moment(click_id, salts)
            except Rejected as error:
                rejects.append(reject(line, s, click.account, error.reason, error.message))
                continue
        if click_id in known or click_id in new:
            message = "the click is stored already"
            rejects.append(reject(line, s, click.account, Reason.repeated_event, message))
            continue
        new.add(click_id)
        if line.pos != pos:
            pos, place = line.pos, place_of(s, line.pos)
        write_click(text, click, at, place)
        if len(text) > _PIECE_BYTES:
            pieces.append(bytes(text))
            text.clear()
    return [*pieces, bytes(text)] if text else pieces


def _moment(click_id: str, salts: Mapping[str, bytes]) -> Moment:
    """Raises Rejected, NoSalt."""
    time_ms = click_time_ms(click_id)
    day = utc_day(time_ms)
    if day not in salts:
        raise NoSalt(day)
    return moment(time_ms, salts[day])
