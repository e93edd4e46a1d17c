"""Declares frames on their way to a stream, their numbers, and the scripts' replies."""

from enum import Enum

import msgspec


class FrameStatus(Enum):
    """The status of a sent frame, in the words of `frame.lua`."""

    appended = b"appended"
    duplicate = b"duplicate"
    gap = b"gap"


class ConversionOutcome(bytes, Enum):
    """The outcome of a conversion, in the words of `publish_conversions.lua`.

    Any other outcome is the reservation that the order had before.
    """

    reserved = b""
    shared = b"shared"
    repeated = b"repeated"
    lost = b"lost"


class FrameNumber(msgspec.Struct, frozen=True):
    """A frame's number among its producer's frames on a stream.

    `acknowledged_events`: how many events of this producer Redis has said it accepted.
    """

    producer: str
    number: int
    acknowledged_events: int = 0

    def next(self) -> "FrameNumber":
        """Returns the number after this one."""
        return FrameNumber(self.producer, self.number + 1, self.acknowledged_events)


class Payload(msgspec.Struct, frozen=True):
    """The keys and arguments of a publishing call beside its number and count of events."""

    keys: list[str]
    arguments: list[bytes]


class Frame(msgspec.Struct, frozen=True):
    """A frame to spool; `spool_files.is_queued` looks up its `conversion_ids`."""

    stream: int
    events: int
    payload: Payload
    conversion_ids: tuple[str, ...] = ()
    # Set for a frame that may have been appended already; any other gets the next number.
    frame_number: FrameNumber | None = None


class SpooledFrame(msgspec.Struct, frozen=True):
    """A frame read from the spool; a `marked` one may have been appended under another number."""

    seq: int
    frame_number: FrameNumber
    marked: bool
    events: int
    payload: Payload
