"""Bounds the size and the duration of a request head, which uvicorn's HTTP/1.1 does not."""

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
_HEAD_TIMEOUT = Rejected(Reason.head_timeout, f"the request's head took over {HEAD_SECONDS:.0f} s")
_NOT_HTTP = Rejected(Reason.bad_request, "this is no HTTP request")
# uvicorn logs a warning for every malformed request: a client could fill the log.
_quiet_logger = logging.getLogger("uvicorn.error.connection")
_quiet_logger.setLevel(logging.ERROR)


class BoundedProtocol(HttpToolsProtocol):
    """One connection; a complete head that is too large is refused by the application (`web`)."""

    # An object with over 30 attributes in its dict no longer shares its keys: slow to read.
    __slots__ = ("_current_cycle", "_head_bytes", "_head_count", "_head_timer", "_in_body")

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _quiet_logger
        # True while the parser is behind a head and before the end of its message.
        self._in_body = False
        self._head_count = 0
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        # The request that is answered next; `cycle` is the last one received.
        self._current_cycle: RequestResponseCycle | None = None

    @property
    def idle(self) -> bool:
        """Returns True if an answer can be sent at once."""
        return not self.cycle or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        if self._current_cycle and not self._current_cycle.response_complete:
            # uvicorn notifies only the last request: this one would write to a closed transport.
            self._current_cycle.disconnected = True
            self._current_cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        in_body, heads = self._in_body, self._head_count
        super().data_received(data)
        if self._in_body and self.idle:
            # Answered before the body, which is read only to be discarded.
            if self._head_timer is None:
                self._start_head_timer()
        elif in_body or self._in_body or self._head_count != heads:
            self._end_head()
        else:
            self._count_head_bytes(len(data))

    def _count_head_bytes(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > requests.HEAD_MAX_BYTES:
            self._refuse(requests.HEAD_TOO_LARGE)
        elif self._head_timer is None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        alone = self.idle
        super().on_headers_complete()
        self._in_body = True
        self._head_count += 1
        if alone:
            self._current_cycle = self.cycle

    def on_response_complete(self) -> None:
        if self.pipeline:
            self._current_cycle = self.pipeline[-1][0]
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
        self._refuse(_NOT_HTTP)

    def _start_head_timer(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._on_head_timeout)

    def _end_head(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _on_head_timeout(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse(_HEAD_TIMEOUT)
        else:
            self.transport.close()

    def _refuse(self, error: Rejected) -> None:
        """Answers with the problem and closes the connection.

        If complete requests wait for their answers, these are the last ones; inside a body it only
        closes.
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
