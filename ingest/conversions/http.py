"""Accepts posted conversions over HTTP ahead of the router, one or many a request."""

import time
from collections.abc import Awaitable, Sequence

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.conversions.batch import (
    ARRAY_MAX,
    BODY_MAX_BYTES,
    LINES_MAX,
    BatchBrokenOffError,
    ConversionBatch,
)
from ingest.conversions.body import named_as_sent
from ingest.conversions.idempotency import IdempotentIntake, check_single, read_idempotency_key
from ingest.conversions.intake import Intake, count_conversions
from ingest.edge import Edge
from linkjolt.auth.access import identify_poster
from linkjolt.conversions.api import PATH
from linkjolt.conversions.forms import SCOPE
from linkjolt.conversions.json_lines import read_lines
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests
from linkjolt.web.json_structure import split_array
from linkjolt.web.requests import NDJSON


class ConversionEndpoint:
    """Answers `POST /v1/conversions` as an ASGI application, refusals included."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._intake = Intake(edge)
        self._idempotent_intake = IdempotentIntake(edge, self._intake)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._post(scope, receive)
        except BatchBrokenOffError as broken:
            response = requests.problem_response(broken.refused, scope, broken.results)
            await response(scope, receive, send)
        except Exception as error:
            refused = requests.refusal_of(error)
            count_conversions(refused.status)
            await requests.problem_response(refused, scope)(scope, receive, send)
            if refused.reason is Reason.internal:
                raise
        else:
            await requests.send_json(send, status, body)

    async def _post(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        key = await identify_poster(scope, self._edge.directory, SCOPE)
        idempotency_key = read_idempotency_key(scope)
        media_type = requests.media_type(scope)
        if media_type in NDJSON:
            check_single(idempotency_key)
            return 200, await self._accept_lines(scope, receive, key)
        if media_type != "application/json":
            message = f"send application/json or {NDJSON[0]}, not {media_type[:64]}"
            raise Rejected(Reason.unsupported_media_type, message)
        body = await _read_json(scope, receive)
        if body.lstrip()[:1] == b"[":
            check_single(idempotency_key)
            return 200, await self._accept_array(body, key)
        now_ms = time.time_ns() // 1_000_000
        try:
            if idempotency_key:
                status, answered = await self._idempotent_intake.accept(
                    idempotency_key, body, key, now_ms
                )
            else:
                pending = self._intake.accept_now(body, key, now_ms)
                pending = pending or await self._intake.accept(body, key, now_ms)
                status, answered = await self._intake.answer(pending)
        except Rejected as error:
            raise named_as_sent(error, body) from None
        count_conversions(status)
        return status, answered

    async def _accept_lines(self, scope: Scope, receive: Receive, key: ApiKey) -> bytes:
        batch = ConversionBatch(self._intake, key)
        try:
            chunks = requests.chunks(scope, receive, BODY_MAX_BYTES)
            async for lines in read_lines(chunks, LINES_MAX):
                await batch.accept(lines)
        except (Rejected, ClientDisconnect) as error:
            raise BatchBrokenOffError(requests.refusal_of(error), await batch.results()) from None
        return b"{%b}" % await batch.results()

    async def _accept_array(self, body: bytes, key: ApiKey) -> bytes:
        batch = ConversionBatch(self._intake, key)
        await batch.accept(await split_array(body, ARRAY_MAX))
        return b"{%b}" % await batch.results()


async def _read_json(scope: Scope, receive: Receive) -> bytes:
    """Reads the whole body; only an array may be larger than one conversion."""
    requests.check_declared(scope, BODY_MAX_BYTES)
    chunks: list[bytes] = []
    size, is_array, more = 0, False, True
    while more:
        chunk, more = requests.chunk_of(await receive(), scope)
        chunks.append(chunk)
        size += len(chunk)
        if size > requests.BODY_MAX_BYTES:
            requests.check_size(size, BODY_MAX_BYTES)
            is_array = is_array or _without_mark(chunks).lstrip().startswith(b"[")
            requests.check_size(0 if is_array else size, requests.BODY_MAX_BYTES)
    return _without_mark(chunks)


def _without_mark(chunks: Sequence[bytes]) -> bytes:
    return b"".join(chunks).removeprefix(requests.BYTE_ORDER_MARK)


class ConversionMiddleware:
    """Routes posted conversions past the router, which costs as much as one of them."""

    def __init__(self, app: ASGIApp, posts: ConversionEndpoint) -> None:
        self._app = app
        self._posts = posts

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        posted = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        return (self._posts if posted else self._app)(scope, receive, send)
