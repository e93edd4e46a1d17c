"""Reads the fields of a request to ClickHouse's HTTP interface, and refuses as a server does."""

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import unquote_plus

import msgspec

_BOUNDARY = re.compile(r'multipart/form-data;.*boundary="?([^";]+)')
_NAME = re.compile(rb'[; ]name="([^"]*)"')
_FILE = re.compile(rb"[; ]filename=")
# How a server renders what its parser of forms throws.
_FORM_ERROR = "Poco::Exception. Code: 1000, e.code() = 0, HTML Form Exception: {}"
_HALF_ERROR = "Code: 33. DB::Exception: Unexpected EOF, did not find the last boundary"
_FILE_ERROR = "Code: 48. DB::Exception: External tables are not supported. (NOT_IMPLEMENTED)"


class RequestRefused(Exception):
    """A request that a server does not read; its text begins with the code of the error."""


class HttpLimits(msgspec.Struct, frozen=True):
    """A server's limits on requests; the names are those of its settings."""

    http_max_uri_size: int
    http_max_fields: int
    http_max_field_name_size: int
    http_max_field_value_size: int

    def fields(self, pairs: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        """Passes the fields of a URL or a form on; RequestRefused at the first beyond a limit."""
        for count, (name, value) in enumerate(pairs, 1):
            if count > self.http_max_fields:
                raise RequestRefused(_FORM_ERROR.format("Too many form fields"))
            if len(name) > self.http_max_field_name_size:
                raise RequestRefused(_FORM_ERROR.format("Field name too long"))
            if len(value) > self.http_max_field_value_size:
                raise RequestRefused(_FORM_ERROR.format("Field value too long"))
            yield name, value


def read_query(raw: bytes, limits: HttpLimits) -> dict[str, str]:
    """Reads the parameters of a URL, whose limits count what is sent, escapes and all."""
    return {
        unquote_plus(name.decode()): unquote_plus(value.decode())
        for name, value in limits.fields(map(_parameter, filter(None, raw.split(b"&"))))
    }


def _parameter(text: bytes) -> tuple[bytes, bytes]:
    name, _, value = text.partition(b"=")
    return name, value


def read_form(content_type: str, body: bytes, limits: HttpLimits) -> Mapping[str, str] | None:
    """Reads the fields of a multipart form; None for any other body."""
    boundary = _BOUNDARY.match(content_type)
    if boundary is None:
        return None
    _, *parts, end = (b"\r\n" + body).split(b"\r\n--" + boundary[1].encode())
    if not end.startswith(b"--"):
        raise RequestRefused(_HALF_ERROR)
    return {name.decode(): value.decode() for name, value in limits.fields(map(_field, parts))}


def _field(part: bytes) -> tuple[bytes, bytes]:
    head, _, value = part.partition(b"\r\n\r\n")
    if _FILE.search(head):
        raise RequestRefused(_FILE_ERROR)
    name = _NAME.search(head)
    return name[1] if name else b"", value
