"""Writes rows as CSV (RFC 4180), streamed if there are many, safe to open in a spreadsheet."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import datetime
from decimal import Decimal

from starlette.responses import Response, StreamingResponse

from linkjolt.runtime.loop_slices import LoopSlices

# A spreadsheet takes text that begins so for a formula (OWASP, CSV injection).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
_MEDIA_TYPE = "text/csv; charset=utf-8"
Value = str | int | float | Decimal | datetime | None | Sequence[str]


def csv_text(rows: Iterable[Iterable[Value]]) -> str:
    """Formats rows as lines; text that a spreadsheet would run is prefixed by a '."""
    text = io.StringIO()
    csv.writer(text).writerows([_format(value) for value in row] for row in rows)
    return text.getvalue()


def page_response(rows: Iterable[Iterable[Value]], name: str, next_cursor: str | None) -> Response:
    """Answers rows as a file of this name, with the cursor of the next page as a header."""
    headers = _headers(name) | ({"X-Next-Cursor": next_cursor} if next_cursor else {})
    return Response(csv_text(rows), headers=headers, media_type=_MEDIA_TYPE)


async def stream_response(texts: AsyncGenerator[str], name: str) -> Response:
    """Answers texts as they come; an error before the first is still answered as a refusal."""
    first = await anext(texts)
    slices = LoopSlices()

    async def all_texts() -> AsyncGenerator[str]:
        yield first
        async with aclosing(texts):
            async for text in texts:
                # A client that reads as fast as rows are written would never be waited for.
                await slices.next_if_over()
                yield text

    return StreamingResponse(all_texts(), headers=_headers(name), media_type=_MEDIA_TYPE)


def _headers(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="linkjolt-{name}.csv"'}


def _format(value: Value) -> str:
    match value:
        case None:
            return ""
        case str():
            return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case int() | float() | Decimal():
            return str(value)
        case _:
            return _format(" ".join(value))
