"""Answers `GET /v1/live`: server-sent events, sent as they are stored."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from linkjolt.auth.access import identify_sender, require_any_scope
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from reports.live.events import parse_resume_token, sse
from reports.live.feed import Listener, LiveFeed

SCOPES = ("reports:read", "events:read")
# A client that reads nothing for this long is gone.
_SEND_SECONDS = 30.0


class LiveEndpoint:
    """Serves the live feed to `clients_max` clients at most."""

    def __init__(self, feed: LiveFeed, directory: Directory, clients_max: int) -> None:
        self._feed = feed
        self._directory = directory
        self._clients_max = clients_max

    async def stream(self, request: Request) -> Response:
        """Streams the events of the key's account, first those missed since `Last-Event-ID`."""
        key = await identify_sender(request.scope, self._directory)
        require_any_scope(key, SCOPES)
        since = parse_resume_token(request.headers.get("last-event-id", ""))
        if self._feed.listener_count >= self._clients_max:
            message = f"{self._clients_max} clients listen already: try again later"
            raise Rejected(Reason.unavailable, message)
        return _EventStreamResponse(self._feed, await self._feed.join(key.dataset, since))


class _EventStreamResponse(Response):
    def __init__(self, feed: LiveFeed, listener: Listener) -> None:
        # A buffering proxy would delay events (nginx reads this header).
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._feed = feed
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        disconnected = asyncio.create_task(_end_on_disconnect(receive, self._listener))
        try:
            response_start = {
                "type": "http.response.start",
                "status": 200,
                "headers": self.raw_headers,
            }
            await send(response_start)
            while (text := await self._listener.next_text()) is not None:
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
            self._feed.leave(self._listener)


async def _end_on_disconnect(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end("hung_up")
