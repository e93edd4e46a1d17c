"""Serves ClickHouse's HTTP interface over the embedded engine, as a process that can be killed.

`python -m tests.clickhouse_front PATH PORT`. It only implements the protocol: every answer and
error is the engine's, and requests are bounded by the engine's settings. Sessions, users, external
tables and the compression of answers are not supported.
"""

import asyncio
import gzip
import re
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Protocol, cast

import chdb
import lz4.frame
import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from tests.clickhouse_forms import HttpLimits, RequestRefused, read_form, read_query

# URL parameters that a server takes for itself; every other one is a setting.
_RESERVED_PARAMETERS = re.compile(
    "query|database|query_id|session_id|session_check|session_timeout|user|password|quota_key|role"
    "|compress|decompress|buffer_size|wait_end_of_query|client_protocol_version|default_format"
    "|stacktrace|param_.*"
)
_DECOMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "lz4": cast("Callable[[bytes], bytes]", lz4.frame.decompress),  # pyright: ignore[reportUnknownMemberType]
}
_CODE = re.compile(r"Code: (\d+)[.,]")
# The statuses of a server for its exception codes; 500 for any other.
_STATUSES = {60: 404, 81: 404, 62: 400, 27: 400, 36: 400, 53: 400, 164: 403, 48: 501}
_as_json = msgspec.json.encode


class Result(Protocol):
    """An answer of the engine; the counts of rows and bytes are those of tables."""

    def bytes(self) -> bytes | None: ...
    def storage_rows_read(self) -> int: ...
    def storage_bytes_read(self) -> int: ...
    def rows_written(self) -> int: ...
    def bytes_written(self) -> int: ...


class _Connection(Protocol):
    def query(
        self, query: str | bytes, format: str = "CSV", params: Mapping[str, str] | None = None
    ) -> Result: ...
    def close(self) -> None: ...


_connect = cast("Callable[[str], _Connection]", chdb.connect)  # pyright: ignore[reportUnknownMemberType]


class Statement(msgspec.Struct, frozen=True):
    """The statement of one request: SQL followed by its data, parameters, settings, database."""

    text: bytes
    parameters: Mapping[str, str]
    settings: Mapping[str, str]
    database: str


def read_statement(
    method: str, query: Mapping[str, str], form: Mapping[str, str] | None, body: bytes
) -> Statement:
    """Reads the statement of a request whose body is already decompressed, or is a form."""
    rest = body if form is None else form.get("query", "").encode()
    parts = [part for part in (query.get("query", "").encode(), rest) if part]
    settings = {name: v for name, v in query.items() if not _RESERVED_PARAMETERS.fullmatch(name)}
    if method == "GET":
        settings["readonly"] = "2"
    fields = {**query, **(form or {})}
    parameters = {name[6:]: v for name, v in fields.items() if name.startswith("param_")}
    return Statement(b"\n".join(parts), parameters, settings, query.get("database", ""))


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def execute(path: str, statement: Statement) -> Result:
    """Executes a statement; raises RuntimeError with the engine's text if it refuses.

    Each statement has its own connection (1.5 ms): settings and the rest of a failed answer
    would persist in a shared one.
    """
    connection = _connect(path)
    try:
        if statement.database:
            connection.query(f"USE `{statement.database}`")
        if statement.settings:
            pairs = (f"{name} = {_quoted(value)}" for name, value in statement.settings.items())
            connection.query(f"SET {', '.join(pairs)}")
        return connection.query(statement.text, "TabSeparated", dict(statement.parameters))
    finally:
        connection.close()


def _answer(result: Result, started_ns: int) -> Response:
    summary = {
        "read_rows": str(result.storage_rows_read()),
        "read_bytes": str(result.storage_bytes_read()),
        "written_rows": str(result.rows_written()),
        "written_bytes": str(result.bytes_written()),
        "elapsed_ns": str(time.monotonic_ns() - started_ns),
    }
    body = result.bytes() or b""
    headers = {"X-ClickHouse-Summary": _as_json(summary).decode()}
    if body:
        headers["X-ClickHouse-Format"] = "TabSeparated"
    return Response(body, headers=headers)


def _refusal(text: str) -> Response:
    found = _CODE.search(text)
    code = int(found[1]) if found else 1001
    headers = {"X-ClickHouse-Exception-Code": str(code)}
    return PlainTextResponse(text + "\n", _STATUSES.get(code, 500), headers=headers)


def read_limits(path: str) -> HttpLimits:
    """Reads the limits that a server of the engine's version has."""
    sql = b"SELECT name, value FROM system.settings WHERE name LIKE 'http_max_%'"
    rows = execute(path, Statement(sql, {}, {}, "")).bytes() or b""
    settings = dict(line.split("\t") for line in rows.decode().splitlines())
    return msgspec.convert(settings, HttpLimits, strict=False)


async def read_request(request: Request, query: Mapping[str, str], limits: HttpLimits) -> Statement:
    """Reads the statement of a request; RequestRefused if a server would not."""
    decompress = _DECOMPRESS.get(request.headers.get("Content-Encoding", ""))
    if decompress is None:
        raise RequestRefused("Code: 48. DB::Exception: Unknown compression. (NOT_IMPLEMENTED)")
    body = decompress(await request.body())
    form = read_form(request.headers.get("Content-Type", ""), body, limits)
    return read_statement(request.method, query, form, body)


def create_app(path: str) -> Starlette:
    """Creates the interface to the engine's data under `path`, for one statement at a time."""
    turn = asyncio.Lock()

    async def ping(_: Request) -> Response:
        return PlainTextResponse("Ok.\n")

    async def run(request: Request) -> Response:
        started_ns = time.monotonic_ns()
        limits: HttpLimits = request.state.limits
        url_query: bytes = request.scope["query_string"]
        if len("/?") + len(url_query) > limits.http_max_uri_size:
            return Response(status_code=400, headers={"Connection": "close"})
        query: Mapping[str, str] = {}
        try:
            query = read_query(url_query, limits)
            statement = await read_request(request, query, limits)
            async with turn:
                result = await asyncio.to_thread(execute, path, statement)
        except (RequestRefused, RuntimeError) as error:
            response = _refusal(str(error))
        else:
            response = _answer(result, started_ns)
        identity = query.get("query_id") or secrets.token_hex(16)
        response.headers["X-ClickHouse-Query-Id"] = identity
        return response

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[Mapping[str, HttpLimits]]:
        # The engine lives as long as a connection is open.
        engine = _connect(path)
        yield {"limits": await asyncio.to_thread(read_limits, path)}
        engine.close()

    routes = [Route("/ping", ping), Route("/", run, methods=["GET", "POST"])]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        create_app(sys.argv[1]),
        port=int(sys.argv[2]),
        log_level="error",
        # Idle connections stay open for 10 s, as on a server.
        timeout_keep_alive=10,
        # httptools refuses a URL over 64 KiB.
        http="h11",
        h11_max_incomplete_event_size=2 << 20,
    )
