"""What every listener's HTTP shares: request ids, problem answers, bodies, JSON."""

import itertools
import re
import secrets
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from redis.exceptions import RedisError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, ExceptionHandler, Message, Receive, Scope, Send

from linkjolt.errors import Reason, Rejected

URL_MAX_BYTES = 8_192
HEAD_MAX_BYTES = 32 << 10
HEAD_TOO_LARGE = Rejected(
    Reason.head_too_large, f"the request's head is over {HEAD_MAX_BYTES} bytes"
)
BODY_MAX_BYTES = 64 << 10
NESTING_MAX = 32
T = TypeVar("T")

_encoder = msgspec.json.Encoder(decimal_format="number")
_OPENERS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]')
_AT = re.compile(r"(?s)(.*) - at `\$\.?(.*?)`")
_NAMED = re.compile(r"`([^`]*)`")
_BY_STATUS = {
    404: Reason.not_found,
    405: Reason.method_not_allowed,
    413: Reason.body_too_large,
    415: Reason.unsupported_media_type,
}


def encode(value: object) -> bytes:
    """JSON; Decimals as exact numbers."""
    return _encoder.encode(value)


def json_response(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(encode(value), status, headers=headers, media_type="application/json")


# Unique over processes and requests; nothing secret hangs on it, and the kernel is not asked.
_PROCESS = secrets.token_hex(4)
_numbers = itertools.count(secrets.randbits(31))


def new_request_id() -> str:
    """16 hexadecimal characters that no other request has."""
    return f"{_PROCESS}{next(_numbers) & 0xFFFFFFFF:08x}"


def request_id(scope: Scope) -> str:
    return scope.get("request_id", "")


def problem_response(error: Rejected, scope: Scope) -> Response:
    """The problem+json answer (RFC 9457) to a refusal."""
    headers: dict[str, str] = {"Cache-Control": "no-store"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="linkjolt"'
    if error.status == 503:
        headers["Retry-After"] = "1"
    body = encode(error.problem(request_id(scope)))
    return Response(body, error.status, headers=headers, media_type="application/problem+json")


async def _rejected(request: Request, error: Exception) -> Response:
    assert isinstance(error, Rejected)
    return problem_response(error, request.scope)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = _BY_STATUS.get(error.status_code, Reason.bad_request)
    response = problem_response(Rejected(reason, str(error.detail)), request.scope)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


async def _redis_away(request: Request, error: Exception) -> Response:
    message = "Redis cannot be reached now: nothing was changed, try again"
    return problem_response(Rejected(Reason.unavailable, message), request.scope)


async def _client_gone(request: Request, error: Exception) -> Response:
    # Nobody reads it; without it a hang-up would be logged as a fault of ours.
    return problem_response(Rejected(Reason.bad_request, "the body did not end"), request.scope)


async def _crashed(request: Request, error: Exception) -> Response:
    return problem_response(Rejected(Reason.internal, "the request failed"), request.scope)


EXCEPTION_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    Rejected: _rejected,
    HTTPException: _http_error,
    RedisError: _redis_away,
    ClientDisconnect: _client_gone,
    500: _crashed,
}


class RequestIds:
    """Gives every request an id, sent back as X-Request-Id; refuses heads over the bounds."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["request_id"] = identity = new_request_id()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Request-Id"] = identity
            await send(message)

        refused = _over_bounds(scope)
        app = problem_response(refused, scope) if refused else self.app
        await app(scope, receive, send_with_id)


def _over_bounds(scope: Scope) -> Rejected | None:
    if len(scope["raw_path"]) + len(scope["query_string"]) > URL_MAX_BYTES:
        return Rejected(Reason.url_too_long, f"the URL is over {URL_MAX_BYTES} bytes")
    if sum([len(name) + len(value) for name, value in scope["headers"]]) > HEAD_MAX_BYTES:
        return HEAD_TOO_LARGE
    return None


async def read_body(request: Request, max_bytes: int = BODY_MAX_BYTES) -> bytes:
    """The whole body; Rejected as soon as it is known to be over `max_bytes`."""
    too_large = Rejected(Reason.body_too_large, f"the body is over {max_bytes} bytes")
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise too_large
        chunks.append(chunk)
    return b"".join(chunks)


def require_json(request: Request) -> None:
    """Rejected unless the body is declared as JSON (or not declared at all)."""
    media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if media_type.lower() != "application/json":
        message = f"send application/json, not {media_type[:64]}"
        raise Rejected(Reason.unsupported_media_type, message)


def check_depth(body: bytes) -> None:
    """Rejected where JSON nests deeper than 32 levels (msgspec raises RecursionError later)."""
    if body.count(b"[") + body.count(b"{") <= NESTING_MAX:
        return
    depth = 0
    for token in _OPENERS.findall(body):
        depth += (token in (b"[", b"{")) - (token in (b"]", b"}"))
        if depth > NESTING_MAX:
            raise Rejected(Reason.too_deep, f"nests deeper than {NESTING_MAX} levels")


def decode(body: bytes, kind: type[T]) -> T:
    """JSON as `kind`; Rejected, naming the field, for anything else."""
    check_depth(body)
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Reason.malformed_json, f"is not JSON: {error}") from None


def invalid(error: msgspec.ValidationError) -> Rejected:
    """msgspec's message as a refusal that names the field."""
    text = str(error)
    at = _AT.fullmatch(text)
    message, path = (at[1], at[2]) if at else (text, "")
    named = _NAMED.search(message)
    if named and "missing required field" in message:
        return Rejected(Reason.missing_field, "is required", field=_join(path, named[1]))
    if named and "unknown field" in message:
        return Rejected(Reason.unknown_field, "is not a known field", field=_join(path, named[1]))
    return Rejected(Reason.invalid_field, message.replace("`", ""), field=path or "body")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
