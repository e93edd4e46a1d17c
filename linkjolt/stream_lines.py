"""The lines of a conversions' stream: conversions, and adjustments of them."""

import msgspec

from linkjolt.events import ADJUSTMENT_MARK, Adjustment, Conversion

Fact = Conversion | Adjustment
_conversion = msgspec.json.Decoder(Conversion).decode
_adjustment = msgspec.json.Decoder(Adjustment).decode


def read_fact(line: bytes) -> Fact:
    """The fact of a line; msgspec.DecodeError, UnicodeDecodeError, RecursionError if it is none."""
    return (_adjustment if line.startswith(ADJUSTMENT_MARK) else _conversion)(line)


def identity(fact: Fact) -> str:
    """What no other fact about the same conversion has."""
    return fact.adjustment_id if isinstance(fact, Adjustment) else fact.conversion_id
