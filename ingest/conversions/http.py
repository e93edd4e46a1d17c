"""Conversions over HTTP: posted, before the router, one or many at once."""

import time

from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.conversions.batch import BODY_MAX_BYTES, Batch, read_array, read_lines
from ingest.conversions.idempotency import Once, check_alone, idempotency_key
from ingest.conversions.intake import Intake, count
from ingest.edge import Edge
from linkjolt.auth.access import admit
from linkjolt.conversions.api import PATH, SCOPE
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.web import requests


class ConversionPosts:
    """`POST /v1/conversions` as an ASGI application; what it refuses it answers itself."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._intake = Intake(edge)
        self._once = Once(edge, self._intake)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._post(scope, receive)
        except Exception as error:
            refused = requests.refusal_of(error)
            count(refused.status)
            await requests.problem_response(refused, scope)(scope, receive, send)
            if refused.reason is Reason.internal:
                raise
        else:
            await requests.send_json(send, status, body)

    async def _post(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        key = await admit(scope, self._edge.directory, SCOPE)
        once = idempotency_key(scope)
        declared = requests.media_type(scope)
        if declared == "application/x-ndjson":
            check_alone(once)
            return 200, await self._take_lines(scope, receive, key)
        if declared != "application/json":
            message = f"send application/json or application/x-ndjson, not {declared[:64]}"
            raise Rejected(Reason.unsupported_media_type, message)
        body = await _read_json(scope, receive)
        if body.lstrip()[:1] == b"[":
            check_alone(once)
            return 200, await self._take_array(body, key)
        now_ms = time.time_ns() // 1_000_000
        if once:
            status, answered = await self._once.take(once, body, key, now_ms)
        else:
            taken = self._intake.take_now(body, key, now_ms)
            taken = taken or await self._intake.take(body, key, now_ms)
            status, answered = await self._intake.answer(taken, key)
        count(status)
        return status, answered

    async def _take_lines(self, scope: Scope, receive: Receive, key: ApiKey) -> bytes:
        batch = Batch(self._intake, key)
        async for lines in read_lines(requests.chunks(scope, receive, BODY_MAX_BYTES)):
            await batch.take(lines)
        return await batch.answer()

    async def _take_array(self, body: bytes, key: ApiKey) -> bytes:
        batch = Batch(self._intake, key)
        await batch.take(read_array(body))
        return await batch.answer()


async def _read_json(scope: Scope, receive: Receive) -> bytes:
    """The whole body; only an array may be larger than one conversion."""
    found: list[bytes] = []
    size, opening = 0, b""
    async for chunk in requests.chunks(scope, receive, BODY_MAX_BYTES):
        found.append(chunk)
        size += len(chunk)
        opening = opening or chunk.lstrip()[:1]
        if opening != b"[":
            requests.check_size(size, requests.BODY_MAX_BYTES)
    return b"".join(found)


class ConversionsFirst:
    """Sends posted conversions past the router, which costs as much as one of them."""

    def __init__(self, app: ASGIApp, posts: ConversionPosts) -> None:
        self._app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        await (self._posts if posted else self._app)(scope, receive, send)
