"""Converts stream entry ids to positions, numbers that sort: `pos` = ms << 20 | sequence."""

SEQUENCE_BITS = 20


def position(entry_id: bytes) -> int:
    """Returns the position of an entry id `ms-seq` (the producer keeps seq below 2**20)."""
    ms, _, sequence = entry_id.partition(b"-")
    return int(ms) << SEQUENCE_BITS | int(sequence)


def entry_id(pos: int) -> str:
    """Formats a position as `ms-seq`."""
    return f"{pos >> SEQUENCE_BITS}-{pos & (1 << SEQUENCE_BITS) - 1}"


def time_ms(pos: int) -> int:
    """Returns the UTC milliseconds at which Redis accepted the entry."""
    return pos >> SEQUENCE_BITS
