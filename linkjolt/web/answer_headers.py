"""Adds the headers of every answer: its id, and those that keep caches and browsers from it."""

from collections.abc import Awaitable, Callable, Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from linkjolt.settings import SharedSettings
from linkjolt.web import metrics, requests

# As they are sent.
PRIVATE_LINES = b"".join([b"%s: %s\r\n" % line for line in requests.PRIVATE_HEADERS])
_FOUND = 302
_UNAUTHORIZED = 401


def _with_private_headers(
    status: int, lines: Iterable[tuple[bytes, bytes]]
) -> list[tuple[bytes, bytes]]:
    """Adds those of the two headers that an answer lacks: one that may be cached says how.

    A redirect has what it needs.
    """
    headers = [*lines]
    if status == _FOUND or (headers and headers[0] is requests.PRIVATE_HEADERS[0]):
        return headers
    names = [name for name, _ in headers]
    headers += [line for line in requests.PRIVATE_HEADERS if line[0] not in names]
    return headers


def hsts_header(seconds: int) -> tuple[bytes, bytes]:
    """Returns the header by which browsers use https alone for so long (RFC 6797)."""
    return requests.HSTS_NAME, b"max-age=%d" % seconds


def hsts_line(settings: SharedSettings) -> bytes:
    """Returns that header's line for answers through a proxy; empty on a listener with TLS.

    There the server adds it to every answer.
    """
    return b"" if settings.tls_cert else b"%b: %b\r\n" % hsts_header(settings.hsts_seconds)


class RequestIds:
    """Gives every request an id, sent back as X-Request-Id; refuses heads over the bounds.

    Keeps answers out of caches, unless they say otherwise. Hands the listener's rate limits to
    whoever authenticates the request. Calls `on_unauthorized` for each that is answered 401.
    """

    def __init__(
        self,
        app: ASGIApp,
        rate_limits: object = None,
        on_unauthorized: Callable[[Scope], None] = lambda _: None,
    ) -> None:
        self.app = app
        self._rate_limits = rate_limits
        self._on_unauthorized = on_unauthorized

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = identity = requests.new_request_id()
        scope[requests.RATE_LIMITS] = self._rate_limits
        is_started = False

        def send_with_id(message: Message) -> Awaitable[None]:
            nonlocal is_started
            is_started = True
            if message["type"] == "http.response.start":
                if message["status"] == _UNAUTHORIZED:
                    metrics.UNAUTHORIZED.inc()
                    self._on_unauthorized(scope)
                headers = _with_private_headers(message["status"], message["headers"])
                headers.append((b"x-request-id", identity.encode()))
                headers += scope.get(requests.ADDED_HEADERS, ())
                message["headers"] = headers
            return send(message)

        refused = requests.refused_head(scope)
        app = requests.problem_response(refused, scope) if refused else self.app
        try:
            await app(scope, receive, send_with_id)
        except Exception as error:
            # The server would answer without any of these headers.
            if not is_started:
                response = requests.problem_response(requests.refusal_of(error), scope)
                await response(scope, receive, send_with_id)
            raise
