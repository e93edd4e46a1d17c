"""Writes the cells of CSV files (RFC 4180) so that no spreadsheet runs a text as a formula.

After OWASP, CSV injection: every text is quoted, and an apostrophe goes before what would begin a
formula, also behind a character by which another program may split the cell. An apostrophe in such
a place gets one, too, so that `unescape` restores every text.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal

# A cell may begin with the text or behind a separator; quotes, spaces and the like are dropped.
_BEGIN = r'((?:\A|[;,|\t\r\n])["\x00\x0b\x0c \xa0\ufeff]*)'
# The last four are full width (U+FF1D and others), which Excel takes for the ASCII ones.
_RISKY = r"['=+\-@\uff1d\uff0b\uff0d\uff20]"
_ESCAPED = re.compile(rf"{_BEGIN}(?={_RISKY})")
_UNESCAPED = re.compile(rf"{_BEGIN}'(?={_RISKY})")
# Dropped where it begins a cell; what is behind it then begins the cell.
_DROPPED = ("\t", "\r", "\n")
Value = str | int | float | Decimal | datetime | None | Sequence[str]


def escape(text: str) -> str:
    """Puts an apostrophe before whatever a spreadsheet might take for a formula's beginning."""
    escaped = _ESCAPED.sub(r"\1'", text)
    return f"'{escaped}" if text.startswith(_DROPPED) else escaped


def unescape(text: str) -> str:
    """Restores a text that was escaped; changes no other one that has no formula's beginning."""
    if text[:1] == "'" and text[1:2] in _DROPPED:
        text = text[1:]
    return _UNESCAPED.sub(r"\1", text)


def csv_line(row: Iterable[Value], end: str = "\r\n") -> str:
    """Formats a row: texts and instants are quoted, numbers are not, absent values are empty."""
    return ",".join([_cell(value) for value in row]) + end


def _cell(value: Value) -> str:
    match value:
        case None:
            return ""
        case str():
            quoted = escape(value).replace('"', '""')
            return f'"{quoted}"'
        case bool():
            return "true" if value else "false"
        case datetime():
            return f'"{value.isoformat().replace("+00:00", "Z")}"'
        case int() | float() | Decimal():
            return str(value)
        case _:
            return _cell(" ".join(value))
