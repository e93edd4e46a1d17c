"""Answers rows as CSV, streamed if there are many."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing

from starlette.responses import Response, StreamingResponse

from linkjolt.api.csv_cells import Value, csv_line
from linkjolt.runtime.loop_slices import LoopSlices

_MEDIA_TYPE = "text/csv; charset=utf-8"


def csv_text(rows: Iterable[Iterable[Value]]) -> str:
    """Formats rows as lines."""
    return "".join([csv_line(row) for row in rows])


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
