"""uvicorn's HTTP/1.1 with bounds that it lacks: how large a head may be and how long it takes."""

import asyncio
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from linkjolt import web
from linkjolt.errors import Reason, Rejected

HEAD_SECONDS = 10.0
_HEAD_LATE = Rejected(Reason.head_timeout, f"the request's head took over {HEAD_SECONDS:.0f} s")
_NO_HTTP = Rejected(Reason.bad_request, "this is no HTTP request")


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A whole head over the bounds is the application's to refuse (`web`)."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # From the end of a request to the end of the next one's head.
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    @property
    def idle(self) -> bool:
        """True where an answer can be sent as soon as it is known."""
        return not self.cycle or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > web.HEAD_MAX_BYTES:
                self._refuse(web.HEAD_TOO_LARGE)
            elif self._head_timer is None:
                self._await_head()
        elif self._head_timer is not None:
            self._head_came()

    def on_headers_complete(self) -> None:
        self._in_head = False
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        # A pipelined request that waited is begun now: its head came long ago.
        self._in_head = not self.pipeline
        self._head_bytes = 0
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(_NO_HTTP)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_came(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(_HEAD_LATE)
        else:
            self.transport.close()

    def _refuse(self, error: Rejected) -> None:
        """The problem as answer, and the end of the connection; alone the end where it would
        come before the answer to an earlier request."""
        if self.idle and not self.transport.is_closing():
            self.transport.write(self._problem(error))
        self.transport.close()

    def _problem(self, error: Rejected) -> bytes:
        identity = web.new_request_id()
        response = web.problem_response(error, {"request_id": identity})
        lines = [*self.server_state.default_headers, *response.raw_headers]
        lines += [(b"x-request-id", identity.encode()), (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % line for line in lines)
        return STATUS_LINE[error.status] + head + b"\r\n" + bytes(response.body)
