"""Frames on their way to a stream: their place in a numbering, and what is kept of them."""

import msgspec


class Numbered(msgspec.Struct, frozen=True):
    """A frame's place in the numbering of its producer.

    `acknowledged`: the events that Redis said it had accepted of this producer.
    """

    producer: str
    number: int
    acknowledged: int = 0

    def next(self) -> "Numbered":
        """The place after this one."""
        return Numbered(self.producer, self.number + 1, self.acknowledged)


class Payload(msgspec.Struct, frozen=True):
    """What a publishing call needs beside its number: further keys and arguments."""

    keys: list[str]
    arguments: list[bytes]


class Frame(msgspec.Struct, frozen=True):
    """A frame to keep; `conversion_ids` can be asked for by `spool_files.queued`."""

    stream: int
    events: int
    payload: Payload
    conversion_ids: tuple[str, ...] = ()
    # Given for a frame whose sending ended in doubt; any other gets the next number.
    at: Numbered | None = None


class Spooled(msgspec.Struct, frozen=True):
    """A frame as kept; `marked` ones may have been executed under another number."""

    seq: int
    at: Numbered
    marked: bool
    events: int
    payload: Payload
