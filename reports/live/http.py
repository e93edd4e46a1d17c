"""Answers `GET /v1/live`: server-sent events, sent as they are stored."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from linkjolt.auth.access import authorize
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from linkjolt.registry.entries import ApiKey
from linkjolt.settings import ReportsSettings
from linkjolt.storage.redis import RedisError
from linkjolt.web import requests
from reports.live.events import parse_resume_token, sse
from reports.live.feed import Listener, LiveFeed
from reports.live.store import Audience
from reports.open_answers import OpenAnswers

SCOPE = "reports:read or events:read"
# A client that reads nothing for this long is gone.
_SEND_SECONDS = 30.0
_MEDIA_TYPE = "text/event-stream"
# A buffering proxy would delay events (nginx reads this header).
_HEADERS = {"X-Accel-Buffering": "no"}


class LiveEndpoint:
    """Serves the live feed to so many clients at most, and so many of one key."""

    def __init__(self, feed: LiveFeed, directory: Directory, settings: ReportsSettings) -> None:
        self._feed = feed
        self._directory = directory
        self._streams = OpenAnswers("live feeds", settings.live_clients_per_key_max)
        self._clients_max = settings.live_clients_max

    async def stream(self, request: Request) -> Response:
        """Streams the events that the key may see, first those missed since `Last-Event-ID`."""
        key = await self._authorize(request.scope)
        since = parse_resume_token(request.headers.get("last-event-id", ""))
        if request.method == "HEAD":
            return Response(headers=_HEADERS, media_type=_MEDIA_TYPE)
        if self._streams.total >= self._clients_max:
            message = f"{self._clients_max} clients listen already: try again later"
            raise Rejected(Reason.unavailable, message)
        with ExitStack() as leaving:
            leaving.enter_context(self._streams.opened(key))
            listener = await self._feed.join(Audience(key.dataset, key.affiliate), since)
            leaving.callback(self._feed.leave, listener)
            leave = leaving.pop_all()
        return _EventStreamResponse(listener, partial(self._refusal, request.scope), leave)

    async def _authorize(self, scope: Scope) -> ApiKey:
        return await authorize(scope, self._directory, SCOPE, narrows=True)

    async def _refusal(self, scope: Scope) -> Reason | None:
        """Returns why the key may listen no longer, if so."""
        try:
            await self._authorize(scope)
        except (Rejected, RedisError) as error:
            return requests.refusal_of(error).reason
        return None


class _EventStreamResponse(Response):
    def __init__(
        self,
        listener: Listener,
        refusal: Callable[[], Awaitable[Reason | None]],
        leave: ExitStack,
    ) -> None:
        super().__init__(headers=_HEADERS, media_type=_MEDIA_TYPE)
        del self.headers["content-length"]
        self._listener = listener
        self._refusal = refusal
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._leave:
            await self._send(receive, send)

    async def _send(self, receive: Receive, send: Send) -> None:
        disconnected = asyncio.create_task(_end_on_disconnect(receive, self._listener))
        try:
            response_start = {
                "type": "http.response.start",
                "status": 200,
                "headers": self.raw_headers,
            }
            await send(response_start)
            while (text := await self._listener.next_text()) is not None:
                if reason := await self._refusal():
                    self._listener.end(reason)
                    break
                async with asyncio.timeout(_SEND_SECONDS):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
            end_event = sse("end", {"reason": self._listener.ended})
            async with asyncio.timeout(_SEND_SECONDS):
                await send({"type": "http.response.body", "body": end_event})
        except TimeoutError:
            # The client reads nothing, so it cannot get an `end` either.
            return
        finally:
            disconnected.cancel()


async def _end_on_disconnect(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end("hung_up")
