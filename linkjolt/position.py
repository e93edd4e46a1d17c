"""Where an event stands in its stream, as one number that sorts: `pos` = ms << 20 | sequence."""

SEQUENCE_BITS = 20


def position(entry_id: bytes) -> int:
    """The position of a stream entry id, `ms-seq` (the producer keeps seq below 2**20)."""
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms) << SEQUENCE_BITS | int(sequence)


def entry_id(pos: int) -> str:
    """`ms-seq` of a position."""
    return f"{pos >> SEQUENCE_BITS}-{pos & (1 << SEQUENCE_BITS) - 1}"


def time_ms(pos: int) -> int:
    """The UTC milliseconds at which Redis took the entry."""
    return pos >> SEQUENCE_BITS
