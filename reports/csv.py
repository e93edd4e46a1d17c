"""Answers rows as CSV, streamed if there are many."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, aclosing

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

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


class Download(msgspec.Struct, frozen=True):
    """Who downloads: `opened` counts the download while it is open, `check` checks the key again.

    Both raise Rejected.
    """

    opened: Callable[[], AbstractContextManager[None]]
    check: Callable[[], Awaitable[object]]


async def stream_response(texts: AsyncGenerator[str], name: str, download: Download) -> Response:
    """Answers texts as they come; an error before the first is still answered as a refusal.

    One that comes later, such as a key revoked meanwhile, breaks the connection off.
    """
    with ExitStack() as closing:
        closing.enter_context(download.opened())
        first = await anext(texts)
        still_open = closing.pop_all()
    slices = LoopSlices()

    async def all_texts() -> AsyncGenerator[str]:
        yield first
        async with aclosing(texts):
            async for text in texts:
                # A client that reads as fast as rows are written would never be waited for.
                await slices.next_if_over()
                await download.check()
                yield text

    return _DownloadResponse(all_texts(), name, still_open)


class _DownloadResponse(StreamingResponse):
    def __init__(self, texts: AsyncGenerator[str], name: str, still_open: ExitStack) -> None:
        super().__init__(texts, headers=_headers(name), media_type=_MEDIA_TYPE)
        self._still_open = still_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._still_open:
            await super().__call__(scope, receive, send)


def _headers(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="linkjolt-{name}.csv"'}
