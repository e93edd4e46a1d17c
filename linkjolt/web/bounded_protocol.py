"""uvicorn's HTTP/1.1 with bounds that it lacks: how large a head may be and how long it takes."""

import asyncio
import logging
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests

HEAD_SECONDS = 10.0
_HEAD_LATE = Rejected(Reason.head_timeout, f"the request's head took over {HEAD_SECONDS:.0f} s")
_NO_HTTP = Rejected(Reason.bad_request, "this is no HTTP request")
# uvicorn warns of every malformed request: whoever likes could fill the log.
_quiet = logging.getLogger("uvicorn.error.connection")
_quiet.setLevel(logging.ERROR)


class BoundedProtocol(HttpToolsProtocol):
    """One connection. A whole head over the bounds is the application's to refuse (`web`)."""

    # With over 30 attributes in its dict an object has one of its own, which is slow to read.
    __slots__ = ("_head_bytes", "_head_timer", "_heads", "_in_body", "_running")

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet
        # Where the parser is, whatever was answered: behind a head, before its message's end.
        self._in_body = False
        self._heads = 0
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        # The request whose answer comes next; `cycle` is the last one that came.
        self._running: RequestResponseCycle | None = None

    @property
    def idle(self) -> bool:
        """True where an answer can be sent as soon as it is known."""
        return not self.cycle or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        if self._running and not self._running.response_complete:
            # uvicorn tells only the last request: this one would write to a closed transport.
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        in_body, heads = self._in_body, self._heads
        super().data_received(data)
        if self._in_body and self.idle:
            # The answer came before the body, which is read only to be thrown away.
            if self._head_timer is None:
                self._await_head()
        elif in_body or self._in_body or self._heads != heads:
            self._head_came()
        else:
            self._head_goes_on(len(data))

    def _head_goes_on(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > requests.HEAD_MAX_BYTES:
            self._refuse(requests.HEAD_TOO_LARGE)
        elif self._head_timer is None:
            self._await_head()

    def on_headers_complete(self) -> None:
        alone = self.idle
        super().on_headers_complete()
        self._in_body = True
        self._heads += 1
        if alone:
            self._running = self.cycle

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._running = self.pipeline[-1][0]
        super().on_response_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()
        if self.idle:
            # uvicorn's own timer ended with the answer.
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )

    def send_400_response(self, msg: str) -> None:
        self._refuse(_NO_HTTP)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_came(self) -> None:
        self._head_bytes = 0
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
        """The problem as answer, and the end of the connection.

        Behind whole requests that wait for their answers these are the last ones; inside a body
        there is only the end.
        """
        if not self.idle and not self._in_body:
            self.cycle.keep_alive = False
            return
        if not self._in_body and not self.transport.is_closing():
            self.transport.write(self._problem(error))
        self.transport.close()

    def _problem(self, error: Rejected) -> bytes:
        identity = requests.new_request_id()
        response = requests.problem_response(error, {"request_id": identity})
        lines = [*self.server_state.default_headers, *response.raw_headers]
        lines += [(b"x-request-id", identity.encode()), (b"connection", b"close")]
        head = b"".join(b"%s: %s\r\n" % line for line in lines)
        return STATUS_LINE[error.status] + head + b"\r\n" + bytes(response.body)
