"""Reads requests and writes answers on every listener: request ids, problems, bodies, JSON."""

import itertools
import json
import re
import secrets
from collections.abc import AsyncGenerator, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import TypeVar, cast

import msgspec
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ExceptionHandler, Message, Receive, Scope, Send

from linkjolt.reasons import Reason, Rejected
from linkjolt.web.json_structure import check_depth

URL_MAX_BYTES = 8_192
HEAD_MAX_BYTES = 32 << 10
HEAD_TOO_LARGE = Rejected(
    Reason.head_too_large, f"the request's head is over {HEAD_MAX_BYTES} bytes"
)
# RFC 9112, 6.1: without knowing the coding, nobody knows where the body ends.
_UNKNOWN_CODING = Rejected(
    Reason.unknown_transfer_coding, "Transfer-Encoding may be nothing but chunked"
)
# RFC 9112, 3.2; the names of RFC 3986, 3.2.2.
_BAD_HOST = Rejected(Reason.bad_request, "send one Host header, a host and perhaps a port")
_match_host = re.compile(
    rb"(?:\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._~%!$&'()*+,;=-]{0,255})(?::[0-9]{0,5})?"
).fullmatch
BODY_MAX_BYTES = 64 << 10
# Of every answer that says nothing else: no cache keeps it, and no browser guesses what it is.
PRIVATE_HEADERS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
HSTS_NAME = b"strict-transport-security"
# Of a request's scope: its sender's credentials are valid; its body arrives too slowly, as said.
VERIFIED = "linkjolt.verified"
BODY_REFUSAL = "linkjolt.body_refusal"
# Of a request's scope: the listener's rate limits; lines that are added to the answer's headers.
RATE_LIMITS = "linkjolt.rate_limits"
ADDED_HEADERS = "linkjolt.added_headers"
_FIELDS = "linkjolt.fields"
# Before JSON it is skipped (RFC 8259, 8.1).
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# One entry a line; the first is the name that most tools use.
NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
_SHOWN_MAX = 128
# As many as the parser of heads takes (2**64).
_LENGTH_DIGITS_MAX = 20
T = TypeVar("T")

_encoder = msgspec.json.Encoder(decimal_format="number")
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


async def send_json(send: Send, status: int, body: bytes) -> None:
    """An answer of JSON, sent without an object made of it."""
    headers = [
        *PRIVATE_HEADERS,
        (b"content-length", b"%d" % len(body)),
        (b"content-type", b"application/json"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


# Unique over processes and requests; nothing secret hangs on it, and the kernel is not asked.
_PROCESS = secrets.token_hex(4)
_ENDS = [f"{number:03x}" for number in range(1 << 12)]


def _request_ids() -> Iterator[str]:
    for number in itertools.count(secrets.randbits(19)):
        begin = f"{_PROCESS}{number & 0xFFFFF:05x}"
        for end in _ENDS:
            yield begin + end


# 16 hexadecimal characters that no other request has. For the loop's thread only.
new_request_id = _request_ids().__next__


def request_id(scope: Scope) -> str:
    return scope.get("request_id", "")


def problem_response(error: Rejected, scope: Scope, members: bytes = b"") -> Response:
    """The problem+json answer (RFC 9457) to a refusal; `members` are JSON, added to its own."""
    # Here, too, for answers that do not pass `RequestIds`.
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    if error.status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="linkjolt"'
    if error.status == 503 or error.reason is Reason.too_many_requests:
        headers["Retry-After"] = "1"
    if error in (_UNKNOWN_CODING, _BAD_HOST):
        # What follows may be meant as another request.
        headers["Connection"] = "close"
    if error.reason is Reason.too_many_forged:
        headers["Retry-After"] = "60"
    if error.retry_after_seconds:
        headers["Retry-After"] = str(error.retry_after_seconds)
    if error.reason is Reason.unsupported_media_type:
        # RFC 9110, 15.5.16: no encoding of a body is read.
        headers["Accept-Encoding"] = "identity"
    body = encode(error.problem(request_id(scope)))
    if members:
        body = b"%b,%b}" % (body[:-1], members)
    return Response(body, error.status, headers=headers, media_type="application/problem+json")


def refusal_of(error: Exception) -> Rejected:
    """How an expected error is answered: a refusal, Redis away, a body that did not end."""
    match error:
        case Rejected():
            return error
        case RedisError():
            message = "Redis cannot be reached now: nothing was changed, try again"
            return Rejected(Reason.unavailable, message)
        case ClientDisconnect():
            # Nobody reads it; without it a hang-up would be logged as a fault of ours.
            return Rejected(Reason.bad_request, "the body did not end")
        case _:
            return Rejected(Reason.internal, "the request failed")


async def _refused(request: Request, error: Exception) -> Response:
    return problem_response(refusal_of(error), request.scope)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    reason = _BY_STATUS.get(error.status_code, Reason.bad_request)
    response = problem_response(Rejected(reason, str(error.detail)), request.scope)
    for name, value in (error.headers or {}).items():
        response.headers[name] = value
    return response


EXCEPTION_HANDLERS: dict[int | type[Exception], ExceptionHandler] = {
    Rejected: _refused,
    HTTPException: _http_error,
    RedisError: _refused,
    ClientDisconnect: _refused,
    500: _refused,
}


@lru_cache(256)
def is_host(value: bytes) -> bool:
    """Returns True for the value of a Host header: a name or an address, and perhaps a port."""
    return _match_host(value) is not None


def refused_head(scope: Scope) -> Rejected | None:
    """Returns the refusal of a head that is over the bounds, or has no one meaning."""
    if len(scope["raw_path"]) + len(scope["query_string"]) > URL_MAX_BYTES:
        return Rejected(Reason.url_too_long, f"the URL is over {URL_MAX_BYTES} bytes")
    if sum(map(len, chain.from_iterable(scope["headers"]))) > HEAD_MAX_BYTES:
        return HEAD_TOO_LARGE
    fields = _fields(scope)
    if len(fields) == len(scope["headers"]) and b"transfer-encoding" not in fields:
        # Most heads.
        host = fields.get(b"host")
        if host is not None:
            return None if is_host(host) else _BAD_HOST
    codings, hosts = _values(scope, b"transfer-encoding"), _values(scope, b"host")
    if codings and [coding.lower() for coding in codings] != [b"chunked"]:
        return _UNKNOWN_CODING
    if not hosts and scope["http_version"] in ("0.9", "1.0"):
        return None
    return None if len(hosts) == 1 and is_host(hosts[0]) else _BAD_HOST


def header(scope: Scope, name: bytes, default: str = "") -> str:
    """The first value under a lower-case name."""
    value = _fields(scope).get(name)
    return default if value is None else value.decode("latin-1")


def _fields(scope: Scope) -> dict[bytes, bytes]:
    """The first value under each name, kept with the request."""
    fields: dict[bytes, bytes] | None = scope.get(_FIELDS)
    if fields is None:
        fields = scope[_FIELDS] = dict(reversed(scope["headers"]))
    return fields


def _values(scope: Scope, name: bytes) -> list[bytes]:
    """Every value under a lower-case name."""
    fields = _fields(scope)
    if name not in fields:
        return []
    if len(fields) == len(scope["headers"]):
        return [fields[name]]
    return [value for found, value in scope["headers"] if found == name]


def check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        raise Rejected(Reason.body_too_large, f"the body is over {max_bytes} bytes")


async def chunks(scope: Scope, receive: Receive, max_bytes: int) -> AsyncGenerator[bytes]:
    """The body as it comes; Rejected as soon as it is known to be over `max_bytes`.

    Raises as `chunk_of`.
    """
    check_declared(scope, max_bytes)
    size, more = 0, True
    while more:
        chunk, more = chunk_of(await receive(), scope)
        size += len(chunk)
        check_size(size, max_bytes)
        yield chunk


def check_declared(scope: Scope, max_bytes: int) -> None:
    """Rejected where the head declares a body over `max_bytes`, or one that is encoded."""
    for length in _values(scope, b"content-length"):
        check_size(_declared_size(length), max_bytes)
    for encoding in _values(scope, b"content-encoding"):
        _check_encoding(encoding)


def chunk_of(message: Message, scope: Scope) -> tuple[bytes, bool]:
    """What a message brings of the body, and whether there is more to come.

    ClientDisconnect where it does not end; Rejected where it arrives too slowly
    (`BoundedProtocol`).
    """
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    if refusal := scope.get(BODY_REFUSAL):
        raise Rejected(Reason.body_timeout, refusal)
    return message.get("body", b""), message.get("more_body", False)


def _declared_size(value: bytes) -> int:
    if not value.isdigit() or len(value) > _LENGTH_DIGITS_MAX:
        raise Rejected(Reason.bad_request, "Content-Length is no whole number")
    return int(value)


def _check_encoding(value: bytes) -> None:
    encoding = value.decode("latin-1").strip().lower()
    if encoding not in ("", "identity"):
        message = f"the body is encoded as {encoding[:64]}: send it without Content-Encoding"
        raise Rejected(Reason.unsupported_media_type, message)


async def read_body(request: Request, max_bytes: int = BODY_MAX_BYTES) -> bytes:
    """The whole body, read by `chunks`."""
    found = [chunk async for chunk in chunks(request.scope, request.receive, max_bytes)]
    return b"".join(found)


def media_type(scope: Scope, default: str = "application/json") -> str:
    """How the body is declared, in lower case; the default where it is not."""
    declared = header(scope, b"content-type", default)
    return declared if declared == default else declared.partition(";")[0].strip().lower()


def require_json(request: Request) -> None:
    """Rejected unless the body is declared as JSON (or not declared at all)."""
    declared = media_type(request.scope)
    if declared != "application/json":
        message = f"send application/json, not {declared[:64]}"
        raise Rejected(Reason.unsupported_media_type, message)


def check_repeated_names(body: bytes) -> None:
    """Rejected where an object of JSON, at most 32 levels deep, has a name twice.

    Parsers disagree on the value that counts, and msgspec takes the last one.
    """
    try:
        value: object = msgspec.json.decode(body.removeprefix(BYTE_ORDER_MARK))
    except (msgspec.DecodeError, UnicodeDecodeError):
        value = None
    if not has_every_name(value, body):
        _refuse_repeated_name(body)


def _refuse_repeated_name(body: bytes) -> None:
    try:
        json.loads(body, object_pairs_hook=_check_names, parse_int=str, parse_float=str)
    except _RepeatedNameError:
        path = _repeated_path(json.loads(body, object_pairs_hook=tuple, parse_int=str)) or "body"
        raise Rejected(Reason.invalid_field, "is given twice", field=path) from None
    except ValueError:
        # Not valid after all: whoever decodes it says where.
        return


def has_every_name(value: object, body: bytes) -> bool:
    """Returns True if `value`, decoded from `body`, cannot have lost a repeated name.

    Each name and each colon in a text is a colon, unless that is escaped (`\\u003a`).
    """
    return b"\\u003" not in body and encode(value).count(b":") == body.count(b":")


class _RepeatedNameError(Exception):
    """An object has a name twice."""


def _check_names(pairs: list[tuple[str, object]]) -> None:
    if len(dict(pairs)) != len(pairs):
        raise _RepeatedNameError


def _repeated_path(value: object, path: str = "") -> str | None:
    """The path of the first repeated name; objects are tuples of pairs."""
    if isinstance(value, list):
        items = cast(list[object], value)
        paths = (_repeated_path(item, f"{path}[{at}]") for at, item in enumerate(items))
        return next((found for found in paths if found), None)
    if not isinstance(value, tuple):
        return None
    names: set[str] = set()
    for name, member in cast(tuple[tuple[str, object], ...], value):
        member_path = _join(path, name[:_SHOWN_MAX])
        if name in names:
            return member_path
        names.add(name)
        if found := _repeated_path(member, member_path):
            return found
    return None


def decode(body: bytes, kind: type[T]) -> T:
    """JSON as `kind`; Rejected, naming the field, for anything else, also for repeated names."""
    check_depth(body)
    value = decode_value(body, kind)
    check_repeated_names(body)
    return value


def decode_value(body: bytes, kind: type[T]) -> T:
    """As `decode`, for JSON whose depth and names are checked elsewhere."""
    try:
        return msgspec.json.decode(body.removeprefix(BYTE_ORDER_MARK), type=kind)
    except msgspec.ValidationError as error:
        raise invalid(error) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Reason.malformed_json, f"the body is not JSON: {error}") from None


def invalid(error: msgspec.ValidationError) -> Rejected:
    """msgspec's message as a refusal that names the field."""
    text = str(error)
    at = _AT.fullmatch(text)
    message, path = (at[1], at[2]) if at else (text, "")
    named = _NAMED.search(message)
    # As much of a name as tells which it is: it may be as long as the body.
    name = named[1][:_SHOWN_MAX] if named else ""
    if named and "missing required field" in message:
        return Rejected(Reason.missing_field, "is required", field=_join(path, name))
    if named and "unknown field" in message:
        return Rejected(Reason.unknown_field, "is not a known field", field=_join(path, name))
    return Rejected(Reason.invalid_field, _predicate(message), field=path or "body")


def _predicate(message: str) -> str:
    """msgspec's message as a predicate of the field: "Expected `int`, got `str`" and the like."""
    text = message.replace("`", "")
    if text.startswith("Expected "):
        return f"must be {text.removeprefix('Expected ').replace(', got ', ', not ')}"
    if text.startswith("Invalid "):
        return f"has an {text[:1].lower()}{text[1:]}"
    return f"cannot be read: {text}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
