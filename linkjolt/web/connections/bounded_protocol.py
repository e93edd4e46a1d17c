"""Bounds heads, bodies and answers of a connection in size and time, which uvicorn does not.

Nothing more is read while a whole request waits for its answer, so that a client that reads no
answers costs no more memory than one request; `ConnectionBounds` bounds all connections together.
"""

import asyncio
import logging
from typing import Any, cast
from urllib.parse import unquote

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from linkjolt.reasons import Reason, Rejected
from linkjolt.web import metrics, requests
from linkjolt.web.connections.answer_cycle import AnswerCycle
from linkjolt.web.connections.body_deadline import BodyDeadline
from linkjolt.web.connections.connection_bounds import ConnectionBounds
from linkjolt.web.connections.holding_flow import HoldingFlow
from linkjolt.web.connections.upgrades import body_framing, parser_after_upgrade

HEAD_SECONDS = 10.0
# Like nginx's send_timeout: an answer of which nothing was taken for so long is not read.
SEND_SECONDS = 60.0
# As much as is parsed at once where requests may begin: a part holds some 40 of the shortest.
_PART_BYTES = 1 << 10
_BODY_PART_BYTES = 4 << 10
_JUDGE_BODY_SECONDS = 1.0
_HEAD_TIMEOUT = Rejected(Reason.head_timeout, f"the request's head took over {HEAD_SECONDS:.0f} s")
_NOT_HTTP = Rejected(Reason.bad_request, "this is no HTTP request")
# uvicorn logs a warning for every malformed request: a client could fill the log.
_quiet_logger = logging.getLogger("uvicorn.error.connection")
_quiet_logger.setLevel(logging.ERROR)


class BoundedProtocol(HttpToolsProtocol):
    """One connection; a complete head that is too large is refused by the application (`web`)."""

    # An object with over 30 attributes in its dict no longer shares its keys: slow to read.
    __slots__ = (
        "_asgi_app",
        "_body_deadline",
        "_body_framing",
        "_body_timer",
        "_current_cycle",
        "_flow",
        "_head_bytes",
        "_head_count",
        "_head_timer",
        "_in_body",
        "_made_at",
        "_send_timer",
        "_unsent_bytes",
        "active_at",
        "bounds",
    )

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        assert isinstance(server_state, ConnectionBounds)
        self.bounds = server_state
        self._asgi_app = cast(Any, config).loaded_app
        self.logger = _quiet_logger
        # True while the parser is behind a head and before the end of its message.
        self._in_body = False
        self._head_count = 0
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._body_deadline = BodyDeadline(0.0)
        self._body_timer: asyncio.TimerHandle | None = None
        # The framing of a body that the parser skips, as its request asks for an upgrade.
        self._body_framing = b""
        self._send_timer: asyncio.TimerHandle | None = None
        self._unsent_bytes = 0
        # The request that is answered next; `cycle` is the last one received.
        self._current_cycle: RequestResponseCycle | None = None
        self._made_at = 0.0
        # When the last answer was written; 0.0 before the first.
        self.active_at = 0.0

    @property
    def idle(self) -> bool:
        """Returns True if an answer can be sent at once."""
        return not self.cycle or self.cycle.response_complete

    @property
    def closing_order(self) -> tuple[int, float] | None:
        """Puts those that never asked first, then idle, unknown senders of bodies, non-readers."""
        if self.idle:
            return (1, self.active_at) if self.active_at else (0, self._made_at)
        if self._in_body and requests.VERIFIED not in self.cycle.scope:
            return 2, self.active_at
        return (3, self.active_at) if self.flow.write_paused else None

    def close_for_room(self) -> None:
        self.transport.abort()

    def default_lines(self) -> bytes:
        """Returns the header lines of every answer on this connection."""
        return self.bounds.default_lines()

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self.flow = self._flow = HoldingFlow(transport)
        self._made_at = self.loop.time()
        self._start_head_timer()
        self.bounds.enter(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_head()
        self._end_body()
        self._end_sending()
        self._take_held()
        self._unset_keepalive_if_required()
        self.bounds.leave(self)
        if self._current_cycle and not self._current_cycle.response_complete:
            # uvicorn notifies only the last request: this one would write to a closed transport.
            self._current_cycle.disconnected = True
            self._current_cycle.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._receive(data)

    def _receive(self, data: bytes) -> None:
        if self.cycle and self.cycle.response_complete and not self.cycle.keep_alive:
            # Behind the last answer of the connection nothing is read (RFC 9112, 9.6).
            return
        if self._flow.held or self._waits_for_answer():
            self._hold(data)
        elif len(data) <= _PART_BYTES:
            self._read(data)
        else:
            self._read_parts(data)

    def _waits_for_answer(self) -> bool:
        return not self._in_body and not self.idle

    def _hold(self, data: bytes) -> None:
        """Keeps data unread until the requests before it are answered."""
        if not self.bounds.hold(len(data)):
            self._abort("held")
            return
        self._flow.held += data
        self.flow.pause_reading()

    def _take_held(self) -> bytes:
        held, self._flow.held = self._flow.held, b""
        self.bounds.release(len(held))
        return held

    def _read_parts(self, data: bytes) -> None:
        """Reads data in parts, as far as no whole request waits for its answer."""
        at = 0
        while at < len(data) and not self.transport.is_closing():
            if at and self._waits_for_answer():
                self._hold(data[at:])
                return
            end = at + (_BODY_PART_BYTES if self._in_body else _PART_BYTES)
            self._read(data[at:end])
            at = end

    def _read(self, data: bytes) -> None:
        in_body, heads = self._in_body, self._head_count
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError:
            self._refuse(_NOT_HTTP)
            return
        if self._in_body:
            if self._head_count != heads:
                self._end_head()
            self._watch_body(len(data))
        elif in_body or self._head_count != heads:
            self._end_head()
        else:
            self._count_head_bytes(len(data))

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Continues behind the head of a request that asks for an upgrade."""
        self.parser = parser_after_upgrade(self, self._body_framing)
        self._body_framing = b""
        self._end_head()
        if self._in_body:
            self._watch_body(0)
        if rest:
            self._receive(rest)

    def _count_head_bytes(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > requests.HEAD_MAX_BYTES:
            self._refuse(requests.HEAD_TOO_LARGE)
        elif self._head_timer is None:
            self._start_head_timer()

    def on_headers_complete(self) -> None:
        http_version = self._read_request_line()
        alone = self.idle
        keep_alive = http_version != "1.0" and self.parser.should_keep_alive()
        cycle = AnswerCycle(self, self.default_lines, keep_alive=keep_alive)
        self.cycle = cycle
        self._in_body = True
        self._head_count += 1
        if alone:
            self._current_cycle = cycle
            self._start_asgi_task(cycle, self._asgi_app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self._asgi_app))
        if self.parser.should_upgrade():
            self._body_framing = body_framing(self.headers)
        # Trailers, which follow a chunked body, are no headers of the request.
        self.headers = []

    def _read_request_line(self) -> str:
        """Completes the scope; returns the version of HTTP."""
        scope: Any = self.scope
        http_version = scope["http_version"] = self.parser.get_http_version()
        scope["method"] = self.parser.get_method().decode("ascii")
        url = httptools.parse_url(self.url)
        scope["raw_path"], scope["query_string"] = url.path, url.query or b""
        scope["path"] = unquote(path) if "%" in (path := url.path.decode("ascii")) else path
        return http_version

    def on_response_complete(self) -> None:
        self.active_at = self.loop.time()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._current_cycle = cycle
            self._start_asgi_task(cycle, app)
        elif self._flow.held:
            self._read_parts(self._take_held())
            self.flow.resume_reading()
        # One timer serves many answers: setting a timer costs as much as composing an answer.
        if self.timeout_keep_alive_task is None:
            self.set_idle_timer(self.timeout_keep_alive)

    def set_idle_timer(self, seconds: float) -> None:
        """Looks in so many seconds whether the connection is still used."""
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )

    def timeout_keep_alive_handler(self) -> None:
        """Closes a connection idle for the whole keep-alive time, else sets the timer again."""
        remaining_seconds = self.active_at + self.timeout_keep_alive - self.loop.time()
        if remaining_seconds > 0:
            self.set_idle_timer(remaining_seconds)
        elif self.idle and self._head_timer is None and not self._in_body:
            super().timeout_keep_alive_handler()
        else:
            self.set_idle_timer(self.timeout_keep_alive)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._body_framing:
            # The parser skips the body of a request that asks for an upgrade.
            return
        self._in_body = False
        self._end_body()
        super().on_message_complete()
        if self.idle:
            # Answered before its end.
            self.active_at = self.loop.time()

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
        metrics.CONNECTIONS_CLOSED.labels("head").inc()
        if self._head_bytes:
            self._refuse(_HEAD_TIMEOUT)
        else:
            self.transport.close()

    def _watch_body(self, size_bytes: int) -> None:
        """Counts bytes of a body that has not arrived whole."""
        if self.idle:
            # Answered before the body, which is read only to be discarded.
            self._end_body()
            if self._head_timer is None:
                self._start_head_timer()
        else:
            now = self.loop.time()
            if self._body_timer is None:
                self._body_deadline = BodyDeadline(now)
                self._body_timer = self.loop.call_later(_JUDGE_BODY_SECONDS, self._judge_body)
            self._body_deadline.read(size_bytes, now)
        self._head_bytes += size_bytes
        if self._head_bytes > requests.HEAD_MAX_BYTES:
            # Of trailers or chunk extensions, without a byte of the body.
            self._refuse(requests.HEAD_TOO_LARGE)

    def _judge_body(self) -> None:
        self._body_timer = None
        refusal = "" if self.idle else self._body_refusal()
        if not self.idle and not refusal:
            self._body_timer = self.loop.call_later(_JUDGE_BODY_SECONDS, self._judge_body)
            return
        if refusal:
            metrics.CONNECTIONS_CLOSED.labels("body").inc()
            # Whoever reads the body refuses the request.
            cast(dict[str, Any], self.cycle.scope)[requests.BODY_REFUSAL] = refusal
            self.cycle.keep_alive = False
            self.cycle.message_event.set()
        if self._head_timer is None:
            self._start_head_timer()

    def _body_refusal(self) -> str:
        return self._body_deadline.refusal(
            self.loop.time(),
            verified=requests.VERIFIED in self.cycle.scope,
            reading=not self.flow.read_paused,
        )

    def _end_body(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent_bytes = self.transport.get_write_buffer_size()
        self._send_timer = self.loop.call_later(SEND_SECONDS, self._judge_sending)

    def resume_writing(self) -> None:
        self._end_sending()
        super().resume_writing()

    def _judge_sending(self) -> None:
        unsent_bytes = self.transport.get_write_buffer_size()
        if unsent_bytes >= self._unsent_bytes:
            self._abort("unread")
            return
        self._unsent_bytes = unsent_bytes
        self._send_timer = self.loop.call_later(SEND_SECONDS, self._judge_sending)

    def _abort(self, reason: str) -> None:
        metrics.CONNECTIONS_CLOSED.labels(reason).inc()
        self.transport.abort()

    def _end_sending(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

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
        if self.cycle:
            # What has arrived already is not read any more.
            self.cycle.keep_alive = False

    def _problem(self, error: Rejected) -> bytes:
        name = requests.new_request_id()
        response = requests.problem_response(error, {"request_id": name})
        lines = [*response.raw_headers, (b"x-request-id", name.encode()), (b"connection", b"close")]
        head = self.default_lines() + b"".join(b"%s: %s\r\n" % line for line in lines)
        return STATUS_LINE[error.status] + head + b"\r\n" + bytes(response.body)
