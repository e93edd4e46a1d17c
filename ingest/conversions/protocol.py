"""The fast path of a posted conversion: answered by the HTTP protocol itself, as a click is.

It takes a whole plain post under a key and with links that are in memory, if nothing about it is
to be refused; everything else goes the ordinary way, through the application.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from ingest.clicks.protocol import LAST_LINE, ClickProtocol, Departures
from ingest.conversions.http import SCOPE
from ingest.conversions.intake import Intake, Taken, count
from ingest.conversions.plain_post import read_plain_post
from ingest.edge import Edge
from linkjolt.reasons import Reason, Rejected
from linkjolt.web import requests
from linkjolt.web.bounded_protocol import BoundedProtocol

log = structlog.get_logger()
Outcomes = asyncio.Future[list[bytes] | None]


class Posts:
    """What an edge's connections share: they answer all posts of a frame when it is on disk."""

    def __init__(self, edge: Edge) -> None:
        self._directory = edge.directory
        self._intake = Intake(edge)
        self._frame: Outcomes | None = None
        self._waiting: list[tuple[PostProtocol, Taken]] = []

    def take(self, data: bytes) -> Taken | None:
        """The post that `data` is, if it is plain and all that it needs is in memory."""
        plain = read_plain_post(data)
        key = self._directory.key_now(plain.secret) if plain else None
        if not plain or not key or key.expires_at is not None or not key.allows(SCOPE):
            return None
        try:
            return self._intake.take_now(plain.body, key, time.time_ns() // 1_000_000)
        except Rejected:
            return None

    def add(self, taken: Taken, protocol: "PostProtocol") -> None:
        """Has `protocol` answer as soon as its post is on disk."""
        if taken.frame is not self._frame:
            self._frame = taken.frame
            self._waiting = []
            taken.frame.add_done_callback(partial(self._answer, self._waiting))
        self._waiting.append((protocol, taken))

    def _answer(self, waiting: "list[tuple[PostProtocol, Taken]]", frame: Outcomes) -> None:
        now = waiting[0][0].loop.time()
        for protocol, taken in waiting:
            status, head, body = _answer_to(taken, frame)
            count(status)
            protocol.reply(status, head, body, now)


def _answer_to(taken: Taken, frame: Outcomes) -> tuple[int, bytes, bytes]:
    """Status, header lines and body."""
    identity = requests.new_request_id().encode()
    try:
        status, body = taken.answer(frame.result())
    except Exception as error:
        refused = requests.refusal_of(error)
        if refused.reason is Reason.internal:
            log.exception("a posted conversion could not be published")
        response = requests.problem_response(refused, {"request_id": identity.decode()})
        lines = b"".join([b"%s: %s\r\n" % line for line in response.raw_headers])
        status, body = refused.status, bytes(response.body)
    else:
        lines = b"content-length: %d\r\ncontent-type: application/json\r\n" % len(body)
    return status, lines + b"x-request-id: %s\r\n" % identity, body


class PostProtocol(ClickProtocol):
    """One connection of an edge."""

    __slots__ = ("_posts",)

    def __init__(
        self,
        posts: Posts,
        departures: Departures,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(departures, config, server_state, app_state, _loop)
        self._posts = posts

    def takes(self, data: bytes) -> bool:
        taken = self._posts.take(data)
        if taken is None:
            return False
        self.begin()
        self._posts.add(taken, self)
        return True

    def reply(self, status: int, lines: bytes, body: bytes, now: float) -> None:
        """Answers, if somebody is still there."""
        defaults = b"".join([b"%s: %s\r\n" % line for line in self.server_state.default_headers])
        last = b"" if self.exchange.keep_alive else LAST_LINE.encode()
        self.finish(STATUS_LINE[status] + defaults + lines + last + b"\r\n" + body, now)


def edge_protocol(edge: Edge) -> Callable[..., BoundedProtocol]:
    """What makes an edge's connections; without the fast way all of them take the ordinary one."""
    if not edge.settings.fast_clicks:
        return BoundedProtocol
    return partial(PostProtocol, Posts(edge), Departures(edge))
