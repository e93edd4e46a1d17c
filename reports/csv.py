"""Rows as CSV (RFC 4180), however many: a spreadsheet opens it, and runs nothing of it."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal

from starlette.responses import Response, StreamingResponse

# What a spreadsheet would take for a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MEDIA_TYPE = "text/csv; charset=utf-8"
Value = str | int | float | Decimal | datetime | None | Sequence[str]


def csv_text(rows: Iterable[Iterable[Value]]) -> str:
    """Lines of values; text that a spreadsheet would run is quoted by a '."""
    text = io.StringIO()
    csv.writer(text).writerows([_value(value) for value in row] for row in rows)
    return text.getvalue()


def page(rows: Iterable[Iterable[Value]], name: str, next_cursor: str | None) -> Response:
    """An answer that browsers save under this name; where rows follow, the header says how."""
    headers = _headers(name) | ({"X-Next-Cursor": next_cursor} if next_cursor else {})
    return Response(csv_text(rows), headers=headers, media_type=_MEDIA_TYPE)


async def stream(texts: AsyncGenerator[str], name: str) -> Response:
    """An answer sent text by text; what goes wrong before the first is answered as a refusal."""
    first = await anext(texts)

    async def all_texts() -> AsyncGenerator[str]:
        yield first
        async with aclosing(texts):
            async for text in texts:
                yield text

    return StreamingResponse(all_texts(), headers=_headers(name), media_type=_MEDIA_TYPE)


def _headers(name: str) -> dict[str, str]:
    return {
        "Content-Disposition": f'attachment; filename="linkjolt-{name}.csv"',
        "Cache-Control": "no-store",
    }


def _value(value: Value) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case int() | float() | Decimal():
            return str(value)
        case _:
            return _value(" ".join(value))
