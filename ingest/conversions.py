"""Conversions over HTTP: posted, before the router, one or many at once, and read by their id."""

import asyncio
import time

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest.conversion_answer import answer
from ingest.conversion_batch import BODY_MAX_BYTES, Batch, read_array, read_lines
from ingest.conversion_intake import Intake, count
from ingest.edge import Edge
from ingest.publish import Refused, find_conversion
from ingest.spool_files import queued
from linkjolt import web
from linkjolt.access import admit, authenticate
from linkjolt.conversionid import shard_of
from linkjolt.errors import Reason, Rejected
from linkjolt.events import ConversionState

PATH = "/v1/conversions"
SCOPE = "conversions:write"


class ConversionPosts:
    """`POST /v1/conversions` as an ASGI application; what it refuses it answers itself."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge
        self._intake = Intake(edge)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._post(scope, receive)
        except Exception as error:
            refused = web.refusal_of(error)
            count(refused.status)
            await web.problem_response(refused, scope)(scope, receive, send)
            if refused.reason is Reason.internal:
                raise
        else:
            await web.send_json(send, status, body)

    async def _post(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        key = await admit(scope, self._edge.directory, SCOPE)
        declared = web.media_type(scope)
        if declared == "application/x-ndjson":
            return 200, await self._take_lines(scope, receive, key.account)
        if declared != "application/json":
            message = f"send application/json or application/x-ndjson, not {declared[:64]}"
            raise Rejected(Reason.unsupported_media_type, message)
        body = await _read_json(scope, receive)
        if body.lstrip()[:1] == b"[":
            return 200, await self._take_array(body, key.account)
        now_ms = time.time_ns() // 1_000_000
        taken = self._intake.take_now(body, key.account, now_ms)
        taken = taken or await self._intake.take(body, key.account, now_ms)
        status, answered = taken.answer(await taken.frame)
        count(status)
        return status, answered

    async def _take_lines(self, scope: Scope, receive: Receive, account: int) -> bytes:
        batch = Batch(self._intake, account)
        async for lines in read_lines(web.chunks(scope, receive, BODY_MAX_BYTES)):
            await batch.take(lines)
        return await batch.answer()

    async def _take_array(self, body: bytes, account: int) -> bytes:
        batch = Batch(self._intake, account)
        await batch.take(read_array(body))
        return await batch.answer()


async def _read_json(scope: Scope, receive: Receive) -> bytes:
    """The whole body; only an array may be larger than one conversion."""
    found: list[bytes] = []
    size, opening = 0, b""
    async for chunk in web.chunks(scope, receive, BODY_MAX_BYTES):
        found.append(chunk)
        size += len(chunk)
        opening = opening or chunk.lstrip()[:1]
        if opening != b"[":
            web.check_size(size, web.BODY_MAX_BYTES)
    return b"".join(found)


class ConversionsFirst:
    """Sends posted conversions past the router, which costs as much as one of them."""

    def __init__(self, app: ASGIApp, posts: ConversionPosts) -> None:
        self._app = app
        self._posts = posts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        posted = scope["type"] == "http" and scope["path"] == PATH and scope["method"] == "POST"
        await (self._posts if posted else self._app)(scope, receive, send)


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a post that was answered 202: `queued`, or `refused` with the reason."""

    conversion_id: str
    status: str
    reason: str = ""
    conflicts_with: str = ""


class ConversionReads:
    """`GET /v1/conversions/{conversion_id}`."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def get(self, request: Request) -> Response:
        """A conversion by its id, as it stands now; queued and refused ones too."""
        key = await authenticate(request, self._edge.directory, SCOPE)
        conversion_id: str = request.path_params["conversion_id"]
        if await asyncio.to_thread(queued, self._edge.spool_folder, conversion_id):
            return web.json_response(Outcome(conversion_id, "queued"))
        found = await self._find(conversion_id)
        refused = found if isinstance(found, Refused) else None
        state = await self._find(refused.conflicts_with) if refused else found
        if not isinstance(state, ConversionState) or state.account != key.account:
            raise Rejected(Reason.not_found, "no such conversion")
        if refused:
            outcome = Outcome(conversion_id, "refused", Reason.conflict, refused.conflicts_with)
            return web.json_response(outcome)
        return Response(answer(state), media_type="application/json")

    async def _find(self, conversion_id: str) -> ConversionState | Refused | None:
        shard = shard_of(conversion_id)
        if shard is None or shard >= self._edge.settings.shards:
            return None
        return await find_conversion(self._edge.redis, shard, conversion_id)
