"""Parses the lines of a conversions' stream: conversions and adjustments."""

import msgspec

from linkjolt.events import ADJUSTMENT_PREFIX, Adjustment, Conversion

Fact = Conversion | Adjustment
_decode_conversion = msgspec.json.Decoder(Conversion).decode
_decode_adjustment = msgspec.json.Decoder(Adjustment).decode


def parse_fact(line: bytes) -> Fact:
    """Parses a line.

    Raises msgspec.DecodeError, UnicodeDecodeError or RecursionError for a bad one.
    """
    return (_decode_adjustment if line.startswith(ADJUSTMENT_PREFIX) else _decode_conversion)(line)


def fact_id(fact: Fact) -> str:
    """Returns the id that distinguishes a fact from all others of the same conversion."""
    return fact.adjustment_id if isinstance(fact, Adjustment) else fact.conversion_id
