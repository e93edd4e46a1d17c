"""Cuts frames into batches, one INSERT each, and turns their lines into rows and rejects.

Each line becomes a row and its text before the next line is read: a batch of objects takes twice
the time, for none of them is in the processor's cache when it is used.
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar, cast

import msgspec

from aggregator.delivery.streams import FrameEntry
from aggregator.rows.enrich import (
    TIME_LENGTH,
    SharedFields,
    click_time_ms,
    encode_row_end,
    shared_fields,
    truncate_address,
    utc_day,
    write_click,
)
from linkjolt.click_ids import CLICK_ID_LENGTH
from linkjolt.datasets import Dataset
from linkjolt.events import Click
from linkjolt.reasons import Reason, Rejected
from linkjolt.runtime.loop_slices import LoopSlices
from linkjolt.storage.months import month_of

# Small enough to stay in the processor's cache until it is written.
_PIECE_BYTES = 65_536
_MESSAGE_MAX_CHARACTERS = 500
_UNREADABLE_MAX_CHARACTERS = 2_000
T = TypeVar("T")


class Reject(msgspec.Struct, frozen=True):
    """An accepted line that is not stored as an event; the fields are the table's columns."""

    s: int
    pos: int
    line: int
    account: Dataset
    reason: Reason
    message: str
    body: str


class SaltMissing(Exception):
    """Raised for the day, `YYYY-MM-DD`, whose visitor salt is missing."""

    def __init__(self, day: str) -> None:
        super().__init__(day)
        self.day = day


class EventLine(msgspec.Struct, frozen=True, gc=False):
    """One event line with its position and number in the frame, from 0; `marked`: sent again."""

    pos: int
    number: int
    text: bytes
    marked: bool


def cut_batch(entries: Sequence[FrameEntry], rows_max: int) -> Sequence[FrameEntry]:
    """Returns the frames of the next batch: of one ingest month, about `rows_max` lines."""
    if not entries:
        return entries
    month, rows = month_of(entries[0].pos), 0
    for index, entry in enumerate(entries):
        if month_of(entry.pos) != month or rows >= rows_max:
            return entries[:index]
        rows += entry.lines
    return entries


def split_lines(entries: Iterable[FrameEntry]) -> Iterator[EventLine]:
    for entry in entries:
        for number, text in enumerate(entry.frame.split(b"\n")):
            yield EventLine(entry.pos, number, text, entry.marked)


def decode_lines(
    lines: Iterable[EventLine],
    decode: Callable[[bytes], T],
    stream_number: int,
    rejects: list[Reject],
) -> Iterator[tuple[EventLine, T]]:
    """Yields the decoded events; adds a reject for each line that cannot be decoded."""
    for line in lines:
        try:
            event = decode(line.text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            rejects.append(
                make_reject(line, stream_number, Dataset(0), Reason.undecodable, str(error))
            )
            continue
        yield line, event


def make_reject(
    line: EventLine, stream_number: int, account: Dataset, reason: Reason, message: str
) -> Reject:
    """Builds the reject of a line, with its addresses truncated (`redact_body`)."""
    cut_message = message[:_MESSAGE_MAX_CHARACTERS]
    return Reject(
        stream_number, line.pos, line.number, account, reason, cut_message, redact_body(line.text)
    )


def redact_body(text: bytes) -> str:
    """Truncates every `ip` in the JSON of a line; returns the start of a line that is no JSON."""
    try:
        body = msgspec.json.decode(text)
        # Untouched where there is nothing to truncate: numbers keep their digits.
        return (
            msgspec.json.encode(_truncate_addresses(body)) if b'"ip"' in text else text
        ).decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text.decode("utf-8", "replace")[:_UNREADABLE_MAX_CHARACTERS]


def _truncate_addresses(value: object) -> object:
    """Truncates each `ip` of decoded JSON as the warehouse does; '' if it is no address."""
    if isinstance(value, dict):
        fields = cast(dict[str, object], value)
        return {
            name: _truncate_value(v) if name == "ip" else _truncate_addresses(v)
            for name, v in fields.items()
        }
    if isinstance(value, list):
        return [_truncate_addresses(part) for part in cast(list[object], value)]
    return value


def _truncate_value(value: object) -> str:
    return truncate_address(value) if isinstance(value, str) else ""


async def encode_click_rows(
    clicks: Iterable[tuple[EventLine, Click]],
    stream_number: int,
    salts: Mapping[str, bytes],
    existing: Container[str],
    rejects: list[Reject],
) -> list[bytes]:
    """Encodes the rows of clicks not in `existing` as JSON lines, in pieces of whole lines.

    Adds a reject for each existing click, for a click that is in the batch twice, and for a bad
    click id. Raises SaltMissing. Lets the loop do other work between frames and between pieces:
    looking at the time for each row would cost one percent.
    """
    slices, pieces = LoopSlices(), list[bytes]()
    text, new, by_time = bytearray(), set[str](), dict[str, SharedFields]()
    pos, row_end = -1, b""
    reject = partial(_add_reject, rejects, stream_number)
    for line, click in clicks:
        if line.pos != pos:
            await slices.next_if_over()
            pos, row_end = line.pos, encode_row_end(stream_number, line.pos)
        click_id = click.click_id
        # Click ids of one millisecond share these characters.
        shared = by_time.get(click_id[:TIME_LENGTH]) if len(click_id) == CLICK_ID_LENGTH else None
        if shared is None:
            try:
                shared = by_time[click_id[:TIME_LENGTH]] = _shared_fields(click_id, salts)
            except Rejected as error:
                reject(line, click, error.reason, error.message)
                continue
        if click_id in existing or click_id in new:
            reject(line, click, Reason.repeated_event, "the click is stored already")
            continue
        new.add(click_id)
        write_click(text, click, shared, row_end)
        if len(text) > _PIECE_BYTES:
            pieces.append(bytes(text))
            text.clear()
            await slices.next_if_over()
    return [*pieces, bytes(text)] if text else pieces


def _add_reject(
    rejects: list[Reject],
    stream_number: int,
    line: EventLine,
    click: Click,
    reason: Reason,
    message: str,
) -> None:
    rejects.append(make_reject(line, stream_number, click.account, reason, message))


def _shared_fields(click_id: str, salts: Mapping[str, bytes]) -> SharedFields:
    """Returns the fields that clicks of a click id's millisecond share.

    Raises Rejected, SaltMissing.
    """
    time_ms = click_time_ms(click_id)
    day = utc_day(time_ms)
    if day not in salts:
        raise SaltMissing(day)
    return shared_fields(time_ms, salts[day])
