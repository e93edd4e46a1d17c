"""Reads the amounts and instants of postbacks; pure."""

import re
from datetime import UTC, datetime
from decimal import Decimal

from linkjolt.reasons import Reason, Rejected

_DECIMAL = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_DECIMAL_COMMA = re.compile(r"-?([0-9]+),([0-9]+)")
_THOUSANDS_DIGITS = 3
_MINOR_MAX = 10**15
_SECONDS = re.compile(r"[0-9]{1,11}(?:\.[0-9]{1,9})?")
_MILLISECONDS = re.compile(r"[0-9]{12,14}")
# A plus sign that was not percent-encoded arrives as a space.
_SPACE_BEFORE_OFFSET = re.compile(r"(?<=[0-9]) (?=[0-9]{2}:?[0-9]{2}\Z)")


def read_amount(text: str, field: str) -> Decimal:
    """Reads an amount in major units; a comma is the decimal point where it can be nothing else."""
    comma = _DECIMAL_COMMA.fullmatch(text)
    if comma:
        if len(comma[2]) == _THOUSANDS_DIGITS and comma[1].strip("0"):
            whole, point = f"{comma[1]}{comma[2]}", f"{comma[1]}.{comma[2]}"
            message = f"is ambiguous: send {whole} or {point}, without a comma"
            raise Rejected(Reason.invalid_field, message[:200], field=field)
        return Decimal(text.replace(",", "."))
    if not _DECIMAL.fullmatch(text):
        message = "must be a number like 1234.50, of the digits 0 to 9 without separators"
        raise Rejected(Reason.invalid_field, message, field=field)
    return Decimal(text)


def read_minor_amount(text: str, field: str) -> Decimal:
    """Reads an amount in the smallest unit of its currency."""
    if not _DECIMAL.fullmatch(text) or (minor := Decimal(text)) != minor.to_integral_value():
        raise Rejected(Reason.invalid_field, "must be a whole number", field=field)
    if abs(minor) > _MINOR_MAX:
        raise Rejected(Reason.invalid_field, "is too large", field=field)
    return minor.quantize(Decimal(1))


def read_instant(text: str, field: str) -> str:
    """Returns an instant, in seconds or milliseconds since 1970 or as RFC 3339, as RFC 3339."""
    if _MILLISECONDS.fullmatch(text):
        seconds = Decimal(text) / 1000
    elif _SECONDS.fullmatch(text):
        seconds = Decimal(text)
    else:
        return _SPACE_BEFORE_OFFSET.sub("+", text)
    try:
        return datetime.fromtimestamp(float(seconds), UTC).isoformat()
    except (OverflowError, ValueError):
        raise Rejected(Reason.invalid_field, "is no time", field=field) from None
