"""Answers posted conversions in the HTTP protocol itself, as clicks are.

Handles a whole plain post whose key and links are in memory, if nothing in it is to be refused;
everything else goes through the application.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from ingest.clicks.protocol import CLOSE_HEADER, ClickBatcher, ClickProtocol
from ingest.conversions.body import named_as_sent
from ingest.conversions.http import SCOPE
from ingest.conversions.intake import Intake, PendingConversion, count_conversions
from ingest.conversions.plain_post import read_plain_post
from ingest.edge import Edge
from linkjolt.logs import MinuteLine
from linkjolt.reasons import Reason
from linkjolt.web import requests
from linkjolt.web.answer_headers import PRIVATE_LINES, hsts_line
from linkjolt.web.connections.bounded_protocol import BoundedProtocol

# As the application writes them (`requests.send_json`).
_JSON_LINES = PRIVATE_LINES + (
    b"content-length: %d\r\ncontent-type: application/json\r\nx-request-id: %b\r\n"
)
_not_published = MinuteLine(logging.ERROR, "posted conversions not published")
FrameOutcomes = asyncio.Future[list[bytes] | None]


class PostBatcher:
    """Batches the posts of an edge's connections: answers those of a frame when it is on disk."""

    def __init__(self, edge: Edge, *, over_https: bool = False) -> None:
        """`over_https` as for `ClickBatcher`."""
        self._over_https = over_https
        self._hsts = hsts_line(edge.settings) if over_https else b""
        self.https_batcher = None if over_https else PostBatcher(edge, over_https=True)
        self._directory = edge.directory
        self._key_uses = edge.directory.key_uses
        self._intake = Intake(edge)
        self._frame: FrameOutcomes | None = None
        self._waiting: list[_WaitingPost] = []
        self._answering: set[asyncio.Task[None]] = set()

    def accept(self, data: bytes) -> PendingConversion | None:
        """Accepts `data` as a plain post if all that it needs is in memory; else None."""
        plain = read_plain_post(data)
        key = self._directory.cached_key(plain.secret) if plain else None
        if not plain or plain.over_https is not self._over_https:
            return None
        if not key or key.expires_at is not None or key.allowed_networks or not key.allows(SCOPE):
            return None
        now_ms = time.time_ns() // 1_000_000
        try:
            pending = self._intake.accept_now(plain.body, key, now_ms)
        except Exception:
            # The application answers all refusals, and faults of ours.
            return None
        if pending:
            self._key_uses.noted[key.number] = now_ms
        return pending

    def answer_when_durable(
        self, pending: PendingConversion, data: bytes, protocol: "PostProtocol"
    ) -> None:
        """Answers on `protocol` as soon as its post, the request `data`, is on disk."""
        if pending.outcomes is not self._frame:
            self._frame = pending.outcomes
            self._waiting = []
            pending.outcomes.add_done_callback(partial(self._answer, self._waiting))
        self._waiting.append((protocol, pending, data))

    def _answer(self, waiting: "list[_WaitingPost]", frame: FrameOutcomes) -> None:
        statuses: Counter[int] = Counter()
        now = waiting[0][0].loop.time()
        for post in waiting:
            protocol, pending, data = post
            try:
                settled = pending.answer_if_settled(frame.result())
                if settled is None:
                    self._answer_later(post)
                    continue
                status, body = settled
                lines = _accepted_lines(body)
            except Exception as error:
                status, lines, body = _refused(error, data)
            statuses[status] += 1
            protocol.reply(status, self._hsts + lines, body, now)
        for status, posts in statuses.items():
            count_conversions(status, posts)

    def _answer_later(self, post: "_WaitingPost") -> None:
        """Answers a post that takes its order from a weaker hand."""
        protocol, pending, data = post

        async def answer() -> None:
            try:
                status, body = await self._intake.answer(pending)
                lines = _accepted_lines(body)
            except Exception as error:
                status, lines, body = _refused(error, data)
            count_conversions(status)
            protocol.reply(status, self._hsts + lines, body, protocol.loop.time())

        task = protocol.loop.create_task(answer())
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)


def _accepted_lines(body: bytes) -> bytes:
    """Returns the header lines of an answer in JSON."""
    return _JSON_LINES % (len(body), requests.new_request_id().encode())


def _refused(error: Exception, data: bytes) -> tuple[int, bytes, bytes]:
    """Returns status, header lines and body of a refusal of the request `data`."""
    request_id, refused = requests.new_request_id(), requests.refusal_of(error)
    if refused.reason is Reason.internal:
        _not_published.count(error=error)
    if plain := read_plain_post(data):
        refused = named_as_sent(refused, plain.body)
    response = requests.problem_response(refused, {"request_id": request_id})
    lines = [*response.raw_headers, (b"x-request-id", request_id.encode())]
    head = b"".join([b"%s: %s\r\n" % line for line in lines])
    return refused.status, head, bytes(response.body)


class PostProtocol(ClickProtocol):
    """One connection of an edge; answers plain clicks and plain posts itself."""

    __slots__ = ("_https_batcher", "_post_batcher")

    def __init__(
        self,
        post_batcher: PostBatcher,
        click_batcher: ClickBatcher,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(click_batcher, config, server_state, app_state, _loop)
        self._post_batcher: PostBatcher | None = post_batcher
        self._https_batcher = post_batcher.https_batcher

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if not self.takes_plain:
            # As with clicks, the application judges all requests until a proxy declares https.
            self._post_batcher = None

    def expect_https(self) -> None:
        super().expect_https()
        self._post_batcher = self._https_batcher

    def accept_other(self, data: bytes) -> bool:
        batcher = self._post_batcher
        pending = batcher.accept(data) if batcher else None
        if not batcher or not pending:
            return False
        self.begin()
        batcher.answer_when_durable(pending, data, self)
        return True

    def reply(self, status: int, lines: bytes, body: bytes, now: float) -> None:
        """Writes an answer if the peer is still connected."""
        exchange, defaults = self.exchange, self.bounds.default_lines()
        close_header = b"" if exchange.keep_alive else CLOSE_HEADER.encode()
        self.finish(
            b"".join((STATUS_LINE[status], defaults, lines, close_header, b"\r\n", body)), now
        )


_WaitingPost = tuple[PostProtocol, PendingConversion, bytes]


def edge_protocol_factory(edge: Edge) -> Callable[..., BoundedProtocol]:
    """Returns the factory of an edge's connections; without fast clicks, a plain one."""
    if not edge.settings.fast_clicks:
        return BoundedProtocol
    if edge.settings.rate_intake_per_minute:
        # The application counts posts, and answers with what is left.
        return partial(ClickProtocol, ClickBatcher(edge))
    return partial(PostProtocol, PostBatcher(edge), ClickBatcher(edge))
