"""`GET /v1/live`: server-sent events, as they are stored, to one client."""

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from linkjolt.auth.access import bearer, identify, require_any
from linkjolt.directory.directory import Directory
from linkjolt.reasons import Reason, Rejected
from reports.live.events import read_token, sse
from reports.live.feed import Feed, Listener

SCOPES = ("reports:read", "events:read")
# A client that takes nothing for so long is gone.
_SEND_SECONDS = 30.0


class Live:
    """The route; at most `clients_max` are served at once."""

    def __init__(self, feed: Feed, directory: Directory, clients_max: int) -> None:
        self._feed = feed
        self._directory = directory
        self._clients_max = clients_max

    async def get(self, request: Request) -> Response:
        """Events of the key's account; after `Last-Event-ID` those that were missed first."""
        key = await identify(bearer(request.scope), self._directory)
        require_any(key, SCOPES)
        since = read_token(request.headers.get("last-event-id", ""))
        if self._feed.listening >= self._clients_max:
            message = f"{self._clients_max} clients listen already: try again later"
            raise Rejected(Reason.unavailable, message)
        return _Stream(self._feed, await self._feed.join(key.books, since))


class _Stream(Response):
    def __init__(self, feed: Feed, listener: Listener) -> None:
        # A proxy that buffers would hold events back (nginx reads the last header).
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(headers=headers, media_type="text/event-stream")
        del self.headers["content-length"]
        self._feed = feed
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(_hang_up(receive, self._listener))
        try:
            head = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(head)
            while (text := await self._listener.next()) is not None:
                async with asyncio.timeout(_SEND_SECONDS):
                    await send({"type": "http.response.body", "body": text, "more_body": True})
            last = sse("end", {"reason": self._listener.ended})
            async with asyncio.timeout(_SEND_SECONDS):
                await send({"type": "http.response.body", "body": last})
        except TimeoutError:
            # It reads nothing: there is nobody to be told.
            return
        finally:
            gone.cancel()
            self._feed.leave(self._listener)


async def _hang_up(receive: Receive, listener: Listener) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end("hung_up")
